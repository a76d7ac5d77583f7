/** Control messages (docs/spec/reverse.md V4): known bytes, round trips, and what is none. */
import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { MAX_MESSAGE_BYTES, MessageReader, decodeMessage, encodeMessage } from '../../src/reverse/messages.ts'
import type { ControlMessage } from '../../src/reverse/messages.ts'
import { MAX_NAME_BYTES, MAX_TEXT_BYTES, cutText, isName, shown } from '../../src/reverse/names.ts'

const RUNS = { numRuns: 500 }
const name = fc.string({ unit: 'binary', minLength: 1, maxLength: 80 }).filter(isName)
const text = fc.string({ unit: 'grapheme', maxLength: 100 }).filter((value) => Buffer.byteLength(value) <= MAX_TEXT_BYTES && Buffer.from(value).toString() === value)
const code = fc.bigInt({ min: 0n, max: (1n << 62n) - 1n })
const message: fc.Arbitrary<ControlMessage> = fc.oneof(
  fc.record({ type: fc.constant('hello' as const), version: fc.integer({ min: 0, max: 65_535 }), service: name, pool: fc.integer({ min: 0, max: 65_535 }) }),
  fc.record({ type: fc.constant('accept' as const), key: name, pingMs: fc.integer({ min: 0, max: 4_294_967_295 }), maxPerKey: fc.integer({ min: 0, max: 4_294_967_295 }) }),
  fc.record({ type: fc.constant('refuse' as const), code, text }),
  fc.record({ type: fc.constant('goaway' as const), code, text, streams: fc.option(fc.integer({ min: 0, max: Number.MAX_SAFE_INTEGER })) }),
)

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex')
const bytes = (text: string): Buffer => Buffer.from(text.replaceAll(' ', ''), 'hex')

/** Everything that a reader makes of pieces; null at the first that is malformed. */
function readAll(pieces: readonly Uint8Array[]): (ControlMessage | null)[] {
  const reader = new MessageReader()
  const found: (ControlMessage | null)[] = []
  for (const piece of pieces) {
    reader.push(piece)
    for (let next = reader.next(); next !== undefined; next = reader.next()) {
      found.push(next)
      if (next === null) return found
    }
  }
  return found
}

describe('a control message', () => {
  /** reverse V4 */
  it('has the bytes that are written down', () => {
    expect(hex(encodeMessage({ type: 'hello', version: 1, service: 'web', pool: 2 }))).toBe(bytes('0011 01 010002 0001 020003 776562 030002 0002').toString('hex'))
    expect(hex(encodeMessage({ type: 'accept', key: 'k', pingMs: 15_000, maxPerKey: 256 }))).toBe(bytes('0013 02 010001 6b 020004 00003a98 030004 00000100').toString('hex'))
    expect(hex(encodeMessage({ type: 'refuse', code: 2n, text: 'no' }))).toBe(bytes('0011 03 010008 0000000000000002 020002 6e6f').toString('hex'))
    expect(hex(encodeMessage({ type: 'goaway', code: 0n, text: '', streams: 3 }))).toBe(bytes('001a 04 010008 0000000000000000 020000 030008 0000000000000003').toString('hex'))
    expect(hex(encodeMessage({ type: 'goaway', code: 7n, text: '', streams: null }))).toBe(bytes('000f 04 010008 0000000000000007 020000').toString('hex'))
  })

  /** reverse V4 */
  it('comes back as it was, however its bytes are cut', () => {
    fc.assert(fc.property(fc.array(message, { minLength: 1, maxLength: 4 }), fc.integer({ min: 1, max: 50 }), (messages, size) => {
      const all = Buffer.concat(messages.map(encodeMessage))
      const pieces = Array.from({ length: Math.ceil(all.length / size) }, (_, index) => all.subarray(index * size, (index + 1) * size))
      expect(readAll(pieces)).toEqual(messages)
    }), RUNS)
  })

  it('never throws for bytes that are none, and a cut one is malformed or not complete', () => {
    fc.assert(fc.property(fc.uint8Array({ maxLength: 300 }), (random) => {
      decodeMessage(random)
      readAll([random])
    }), { numRuns: 2000 })
    fc.assert(fc.property(message, fc.nat(), (whole, at) => {
      const all = encodeMessage(whole)
      const cut = all.subarray(0, at % all.length)
      expect(readAll([cut])).toEqual([])
      // Of those two, every field must be there.
      if (whole.type === 'hello' || whole.type === 'accept') expect(decodeMessage(cut.subarray(2))).toBeNull()
    }), RUNS)
  })

  /** reverse V4 */
  it('has fields that are not known skipped', () => {
    expect(decodeMessage(bytes('01 010002 0001 020003 776562 030002 0002 ff0003 010203 800000'))).toEqual({ type: 'hello', version: 1, service: 'web', pool: 2 })
    expect(decodeMessage(bytes('01 990001 00 030002 0002 020003 776562 010002 0001'))).toEqual({ type: 'hello', version: 1, service: 'web', pool: 2 })
  })

  it.each([
    ['nothing', ''], ['an unknown type', '05 010002 0001'], ['a missing field', '01 010002 0001 020003 776562'], ['a field twice', '01 010002 0001 010002 0001 020003 776562 030002 0002'],
    ['a field of a wrong length', '01 010001 01 020003 776562 030002 0002'], ['a field that does not fit', '01 010002 0001 020003 776562 030003 0002'], ['half a head of a field', '01 010002 0001 020003 776562 030002 0002 04'],
    ['no UTF-8', '01 010002 0001 020003 77ff62 030002 0002'], ['a name of no bytes', '01 010002 0001 020000 030002 0002'], ['a name that breaks the line', '01 010002 0001 020003 770a62 030002 0002'],
    ['a code of more than 62 bits', '03 010008 4000000000000000'], ['more streams than there can be', '04 010008 0000000000000000 030008 1000000000000001'],
  ])('is malformed with %s', (_, text) => {
    expect(decodeMessage(bytes(text))).toBeNull()
  })

  /** reverse V4; attacks H6 */
  it('attack H6: is malformed as soon as its length is over 4 KiB', () => {
    const reader = new MessageReader()
    reader.push(Uint8Array.of(0x10, 0x01))
    expect(reader.next()).toBeNull()
    const most = new MessageReader()
    most.push(Uint8Array.of(0x10, 0x00))
    expect([most.next(), MAX_MESSAGE_BYTES]).toEqual([undefined, 0x1000])
    most.push(Buffer.concat([bytes('03 010008 0000000000000002'), bytes('ee0fee'), Buffer.alloc(4096 - 12 - 3, 1), bytes('0000')]).subarray(0, 4096))
    expect(most.next()).not.toBeUndefined()
  })

  /** attacks H6 */
  it('attack H6: has names of at most 255 bytes that people can read', () => {
    const long = (length: number): Buffer => Buffer.concat([bytes('01 010002 0001 02'), Buffer.from([length >> 8, length & 255]), Buffer.alloc(length, 'x'), bytes('030002 0002')])
    expect(decodeMessage(long(MAX_NAME_BYTES))).toMatchObject({ service: 'x'.repeat(255) })
    expect(decodeMessage(long(MAX_NAME_BYTES + 1))).toBeNull()
    for (const bad of ['', 'a\nb', 'a\u0000', '\u001b[2J', 'a\u202eb', 'a\u2028', '\ud800', 'x'.repeat(256), 'ü'.repeat(128)]) expect(isName(bad), JSON.stringify(bad)).toBe(false)
    for (const good of ['web', 'ü', 'a b', 'x'.repeat(255), '服务']) expect(isName(good), good).toBe(true)
    expect(shown('a\nb\u001b[2J')).toBe('a\ufffdb\ufffd[2J')
  })

  it('has words of at most 512 bytes, cut at a character', () => {
    fc.assert(fc.property(fc.string({ unit: 'grapheme', maxLength: 400 }), (words) => {
      const cut = cutText(words)
      expect(Buffer.byteLength(cut)).toBeLessThanOrEqual(MAX_TEXT_BYTES)
      expect(Buffer.from(words).toString().startsWith(Buffer.from(cut).toString())).toBe(true)
    }), RUNS)
    expect(decodeMessage(encodeMessage({ type: 'refuse', code: 0n, text: '€'.repeat(1000) }).subarray(2))).toMatchObject({ text: '€'.repeat(170) })
  })
})
