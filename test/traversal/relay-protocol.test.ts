/** What clients and relays say to each other (traversal T-35): round trips, every cut, and bytes of strangers (attacks R1). */
import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { encodeRelayFrame, RelayFault, RelayReader } from '../../src/nat/index.ts'
import type { RelayFrame } from '../../src/nat/index.ts'

const port = fc.integer({ min: 1, max: 65_535 })
const outer = fc.oneof(
  fc.tuple(fc.ipV4(), port).map(([ip, at]) => `${ip}:${at}`),
  fc.tuple(fc.uint8Array({ minLength: 16, maxLength: 16 }), port).map(([bytes, at]) => `[${canonical(bytes)}]:${at}`),
)
const frame: fc.Arbitrary<RelayFrame> = fc.oneof(
  fc.record({ type: fc.constant('register' as const), token: fc.option(fc.uint8Array({ maxLength: 1024 })) }),
  fc.record({ type: fc.constant('registered' as const), forMs: fc.integer({ min: 0, max: 0xffff_ffff }), outer }),
  fc.record({ type: fc.constant('refused' as const), reason: fc.string({ maxLength: 80, unit: 'grapheme' }).filter((text) => Buffer.byteLength(text) <= 256) }),
)

describe('a frame between client and relay', () => {
  /** traversal T-35. */
  it('has the bytes that the table says', () => {
    expect(encodeRelayFrame({ type: 'register', token: null }).toString('hex')).toBe('00020100')
    expect(encodeRelayFrame({ type: 'register', token: Buffer.from('ab') }).toString('hex')).toBe('000401016162')
    expect(encodeRelayFrame({ type: 'registered', forMs: 60_000, outer: '198.51.100.7:5000' }).toString('hex')).toBe('000c810000ea6004c63364071388')
    expect(encodeRelayFrame({ type: 'registered', forMs: 1, outer: '[2001:db8::1]:5000' }).toString('hex')).toBe(`00188100000001${'06'}20010db80000000000000000000000011388`)
    expect(encodeRelayFrame({ type: 'refused', reason: 'no' }).toString('hex')).toBe('0003826e6f')
  })

  it('comes out as it went in, however it is cut', () => {
    fc.assert(fc.property(fc.array(frame, { minLength: 1, maxLength: 4 }), fc.infiniteStream(fc.integer({ min: 1, max: 40 })), (frames, sizes) => {
      const bytes = Buffer.concat(frames.map(encodeRelayFrame))
      const reader = new RelayReader()
      const read: RelayFrame[] = []
      for (let at = 0; at < bytes.length;) {
        const size = sizes.next().value as number
        read.push(...reader.read(bytes.subarray(at, at + size)))
        at += size
      }
      expect(read).toEqual(frames)
      expect(reader.waiting).toBe(0)
    }))
  })

  it('of a kind that is not known is skipped', () => {
    const known = encodeRelayFrame({ type: 'register', token: null })
    expect(new RelayReader().read(Buffer.concat([Buffer.from('0003770102', 'hex'), known]))).toEqual([{ type: 'register', token: null }])
  })

  it('of another form is a fault', () => {
    const bad = ['0000', '0801', 'ffff', '000101', '0003010000', '00020102', '000181', '000c810000ea6005c63364071388', '000c810000ea6004c63364070000', '000d810000ea6004c6336407138800', `0103${'82'}${'61'.repeat(258)}`, `0403${'0101'}${'61'.repeat(1025)}`]
    for (const hex of bad) expect(() => new RelayReader().read(Buffer.from(hex, 'hex')), hex).toThrow(RelayFault)
  })

  /** attacks R1, R2. */
  it('keeps of a stranger no more than one frame, and throws nothing else', () => {
    fc.assert(fc.property(fc.array(fc.uint8Array({ maxLength: 3000 }), { maxLength: 10 }), (pieces) => {
      const reader = new RelayReader()
      try {
        for (const piece of pieces) {
          reader.read(piece)
          expect(reader.waiting).toBeLessThanOrEqual(2050)
        }
      } catch (error) {
        expect(error).toBeInstanceOf(RelayFault)
      }
    }))
  })

  it('cuts a reason between characters', () => {
    const [read] = new RelayReader().read(encodeRelayFrame({ type: 'refused', reason: 'ä'.repeat(200) }))
    expect(read).toEqual({ type: 'refused', reason: 'ä'.repeat(128) })
  })
})

function canonical(bytes: Uint8Array): string {
  // As the reader writes it: through the same one spelling.
  const hex = Array.from({ length: 8 }, (_, index) => (((bytes[index * 2] ?? 0) << 8) | (bytes[index * 2 + 1] ?? 0)).toString(16)).join(':')
  return new URL(`http://[${hex}]/`).hostname.slice(1, -1)
}
