/** The header of pseudo-ports, requests, ports, names and the PROXY header: what is read and written, without a network. */
import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { CarrierBurst, Ecn } from '../../src/index.ts'
import { Backoff } from '../../src/config/index.ts'
import { Demux } from '../../src/tunnel/demux.ts'
import { HeaderType, readHeader, writeHeader } from '../../src/tunnel/header.ts'
import { CarrierNames } from '../../src/tunnel/names.ts'
import { PortBook } from '../../src/tunnel/ports.ts'
import { proxyHeader } from '../../src/tunnel/proxy-protocol.ts'
import { RequestReader, encodeRequest } from '../../src/tunnel/request.ts'
import type { Request } from '../../src/tunnel/request.ts'

const ECNS: readonly Ecn[] = ['not-ect', 'ect1', 'ect0', 'ce']
const header = fc.record({ type: fc.constantFrom(HeaderType.TO_SERVER, HeaderType.TO_CLIENT), port: fc.integer({ min: 0, max: 65_535 }), ecn: fc.constantFrom(...ECNS) })
const ipv4 = fc.tuple(...Array.from({ length: 4 }, () => fc.integer({ min: 0, max: 255 }))).map((bytes) => bytes.join('.'))
const port = fc.integer({ min: 1, max: 65_535 })

/** tunnel T1 */
describe('the header', () => {
  it('has these bytes', () => {
    const bytes = new Uint8Array(4)
    writeHeader(bytes, 0, { type: HeaderType.TO_SERVER, port: 0x1234, ecn: 'ect0' })
    expect([...bytes]).toEqual([1, 0x12, 0x34, 2])
    writeHeader(bytes, 0, { type: HeaderType.TO_CLIENT, port: 65_535, ecn: 'ce' })
    expect([...bytes]).toEqual([2, 255, 255, 3])
  })

  it('comes back as it was written, for every value of each field', () => {
    fc.assert(fc.property(header, fc.uint8Array({ minLength: 1, maxLength: 20 }), (wanted, body) => {
      const bytes = new Uint8Array(4 + body.length)
      writeHeader(bytes, 0, wanted)
      bytes.set(body, 4)
      expect(readHeader(bytes)).toEqual(wanted)
    }), { numRuns: 1000 })
  })

  it('ignores the upper bits of the ECN byte', () => {
    expect(readHeader(Uint8Array.of(1, 0, 1, 0b1111_1101, 0))).toEqual({ type: 1, port: 1, ecn: 'ect1' })
  })
})

/** tunnel T2 */
describe('reading what is no header', () => {
  it('answers a reason for whatever bytes, and never throws', () => {
    fc.assert(fc.property(fc.uint8Array({ maxLength: 40 }), (bytes) => {
      const read = readHeader(bytes)
      if (bytes.length <= 4) expect(read).toBe('short')
      else if (bytes[0] !== 1 && bytes[0] !== 2) expect(read).toBe('type')
      else expect(read).toMatchObject({ type: bytes[0] })
    }), { numRuns: 1000 })
  })

  it('counts what it drops by reason', () => {
    const demux = new Demux(undefined)
    demux.owner = { serves: () => true, owns: () => true }
    const remote = '192.0.2.7:9'
    expect(demux.inward([{ bytes: Uint8Array.of(1, 0, 1, 0), remote }, { bytes: new Uint8Array(0), remote }, { bytes: Uint8Array.of(3, 0, 1, 0, 9), remote }])).toEqual([])
    expect(demux.drops).toEqual({ short: 2, type: 1, noListener: 0, noTunnel: 0 })
  })
})

describe('datagrams of a carrier', () => {
  const remote = '192.0.2.7:9'
  const datagram = (type: number, at: number, ecn = 0): Uint8Array => Uint8Array.of(type, at >> 8, at & 255, ecn, 0x40)

  /** tunnel T3 */
  it('to a server that nobody serves are dropped', () => {
    const demux = new Demux(undefined)
    expect(demux.inward([{ bytes: datagram(1, 5), remote }])).toEqual([])
    demux.owner = { serves: () => false, owns: () => true }
    expect(demux.inward([{ bytes: datagram(1, 5), remote }])).toEqual([])
    expect(demux.drops.noListener).toBe(2)
  })

  /** tunnel T4 */
  it('to a port that no tunnel has are dropped', () => {
    const demux = new Demux(undefined)
    demux.owner = { serves: () => true, owns: (at) => at === 5 }
    expect(demux.inward([{ bytes: datagram(2, 5), remote }, { bytes: datagram(2, 6), remote }, { bytes: datagram(2, 0), remote }])).toHaveLength(1)
    expect(demux.drops.noTunnel).toBe(2)
  })

  /** tunnel T5 */
  it('of two tunnels of one peer come from two peers; answers carry type 2 and the port that was seen', () => {
    const demux = new Demux('192.0.2.1:4433')
    demux.owner = { serves: () => true, owns: () => false }
    const [first, second] = demux.inward([{ bytes: datagram(1, 5), remote }, { bytes: datagram(1, 6), remote }])
    expect(first?.remote).not.toBe(second?.remote)
    const answer = demux.outward({ bytes: Uint8Array.of(0x40, 7), segmentBytes: 2, segments: 1, local: first?.local ?? '', remote: second?.remote ?? '', ecn: 'ect0', path: 0 })
    expect(answer).toMatchObject({ remote, local: '192.0.2.1:4433' })
    expect([...(answer?.bytes ?? [])]).toEqual([2, 0, 6, 2, 0x40, 7])
  })

  /** tunnel T6 */
  it('have the ECN of the header, unless a hop on the way has marked them', () => {
    const demux = new Demux(undefined)
    demux.owner = { serves: () => true, owns: () => true }
    const taken = demux.inward([{ bytes: datagram(1, 5, 2), remote }, { bytes: datagram(1, 5, 2), remote, ecn: 'ce' }, { bytes: datagram(2, 5, 3), remote, ecn: 'ect0' }, { bytes: datagram(1, 5, 1), remote, ecn: 'ect0' }])
    expect(taken.map(({ ecn }) => ecn)).toEqual(['ect0', 'ce', 'ce', 'ect1'])
  })

  /** tunnel T8 */
  it('have the header on every segment of a burst', () => {
    fc.assert(fc.property(fc.integer({ min: 1, max: 64 }), fc.integer({ min: 2, max: 100 }), fc.integer({ min: 1, max: 100 }), (segments, segmentBytes, last) => {
      const demux = new Demux(undefined)
      const bytes = Uint8Array.from({ length: (segments - 1) * segmentBytes + Math.min(last, segmentBytes) }, (_, index) => index & 255)
      const burst: CarrierBurst = { bytes, segmentBytes, segments, local: demux.names.client(300), remote: demux.names.server(remote) ?? '', ecn: 'ect0', path: 0 }
      const out = demux.outward(burst)
      expect(out?.segmentBytes).toBe(segmentBytes + 4)
      const back = Array.from({ length: segments }, (_, index) => out?.bytes.subarray(index * (segmentBytes + 4), (index + 1) * (segmentBytes + 4)) ?? new Uint8Array())
      for (const segment of back) expect([...segment.subarray(0, 4)]).toEqual([1, 1, 44, 2])
      expect(Buffer.concat(back.map((segment) => segment.subarray(4)))).toEqual(Buffer.from(bytes))
    }))
  })

  it('to an address that is none of the carrier go nowhere', () => {
    const demux = new Demux(undefined)
    expect(demux.outward({ bytes: Uint8Array.of(1), segmentBytes: 1, segments: 1, local: '[fd71:6270::1]:1', remote: '192.0.2.9:7', ecn: 'ce', path: null })).toBeNull()
  })
})

/** tunnel T5 */
describe('names of peers', () => {
  it('of IPv4 carriers come back as they were, and tell ports and pseudo-ports apart', () => {
    fc.assert(fc.property(ipv4, port, port, (host, at, pseudo) => {
      const names = new CarrierNames()
      const name = names.name(`${host}:${at}`, pseudo)
      expect(new CarrierNames().peer(name ?? '')).toEqual({ address: `${host}:${at}`, port: pseudo })
    }))
  })

  it('of IPv6 carriers come back while they are known; only the one of the longest silence is forgotten', () => {
    const names = new CarrierNames()
    const first = names.name('[2001:db8::1]:7', 3) ?? ''
    const second = names.name('[2001:db8::2]:7', 3) ?? ''
    expect(names.peer(first)).toEqual({ address: '[2001:db8::1]:7', port: 3 })
    for (let index = 0; index < 4094; index++) names.name(`[2001:db8:1::${index.toString(16)}]:7`, 1)
    expect(names.peer(first)?.address).toBe('[2001:db8::1]:7')
    names.name('[2001:db8:2::1]:7', 1)
    expect([names.peer(second), names.peer(first)?.address]).toEqual([null, '[2001:db8::1]:7'])
  })

  it('of IPv6 carriers stay as they are while they are heard or spoken to, whoever else sends from wherever', () => {
    const names = new CarrierNames()
    const [heard, spokenTo] = ['[2001:db8::1]:7', '[2001:db8::2]:7'].map((address) => names.name(address, 3) ?? '')
    for (let index = 0; index < 10_000; index++) {
      names.name(`[2001:db8:1::${index.toString(16)}]:7`, 1)
      expect(names.name('[2001:db8::1]:7', 3)).toBe(heard)
      expect(names.peer(spokenTo ?? '')?.address).toBe('[2001:db8::2]:7')
    }
  })
})

/** tunnel T9 */
describe('pseudo-ports', () => {
  it('go from 1 upwards and wrap; 0 is never given out', () => {
    const book = new PortBook()
    expect([book.take(0), book.take(0), book.take(0)]).toEqual([1, 2, 3])
    book.giveBack(2, 0)
    expect(book.take(10_000)).toBe(4)
    let last: number | null = 0
    while (last !== 65_535) last = book.take(10_000)
    expect(book.take(10_000)).toBe(2)
  })

  it('rest for three seconds before they are given out again', () => {
    const book = new PortBook()
    for (let index = 1; index <= 65_535; index++) book.take(0)
    expect(book.take(0)).toBeNull()
    book.giveBack(9, 1000)
    expect(book.owns(9)).toBe(false)
    expect(book.take(3999)).toBeNull()
    expect(book.take(4000)).toBe(9)
  })

  it('that are all in use are refused at once', () => {
    const book = new PortBook()
    const given = Array.from({ length: 65_535 }, () => book.take(0))
    expect(given.every((port, index) => port === index + 1)).toBe(true)
    expect(book.take(0)).toBeNull()
  })
})

/** tunnel T24 */
describe('a request', () => {
  const request = fc.record({ kind: fc.constantFrom(1 as const, 2 as const, 3 as const), port, host: fc.oneof(fc.constant(null), fc.string({ minLength: 1, maxLength: 60 })) })

  it('comes back as it was written, in whatever pieces it comes', () => {
    fc.assert(fc.property(request, fc.integer({ min: 1, max: 9 }), (wanted, piece) => {
      const bytes = encodeRequest(wanted)
      const reader = new RequestReader()
      const answers: (Request | 'bad' | null)[] = []
      for (let at = 0; at < bytes.length; at += piece) answers.push(reader.push(bytes.subarray(at, at + piece)))
      expect(answers.at(-1)).toEqual(wanted)
      expect(answers.slice(0, -1).every((answer) => answer === null)).toBe(true)
    }))
  })

  it('for port 0, of an unknown kind, or with something behind it is bad', () => {
    for (const bytes of [[1, 0, 0, 0], [6, 0, 7, 0], [0, 0, 7, 0], [1, 0, 7, 0, 1], [1, 0, 7, 1, 65, 66]]) expect(new RequestReader().push(Uint8Array.from(bytes)), String(bytes)).toBe('bad')
  })

  it('is read without a throw, whatever comes', () => {
    fc.assert(fc.property(fc.array(fc.uint8Array({ maxLength: 300 }), { maxLength: 5 }), (pieces) => {
      const reader = new RequestReader()
      for (const piece of pieces) {
        const read = reader.push(piece)
        if (read === 'bad') return
        if (read !== null) expect(read.port).toBeGreaterThan(0)
      }
    }))
  })
})

/** tunnel T61 */
it('pauses between attempts grow by the factor up to the limit, and vary by the jitter', () => {
  const pauses = (random: number): (number | null)[] => {
    const backoff = new Backoff({ minMs: 250, maxMs: 1500, factor: 2, jitter: 0.2, attempts: 5 }, () => random)
    return Array.from({ length: 6 }, () => backoff.next())
  }
  expect(pauses(0.5)).toEqual([250, 500, 1000, 1500, 1500, null])
  expect(pauses(0)).toEqual([200, 400, 800, 1200, 1200, null])
  expect(pauses(1).map((ms) => ms === null ? null : Math.round(ms))).toEqual([300, 600, 1200, 1800, 1800, null])
})

describe('the PROXY header', () => {
  const hex = (source: string, destination: string): string => Buffer.from(proxyHeader(source, destination)).toString('hex')
  const SIGNATURE = '0d0a0d0a000d0a515549540a'

  it('has these bytes for IPv4, IPv6 and a mixture', () => {
    expect(hex('192.0.2.7:4660', '198.51.100.9:80')).toBe(`${SIGNATURE}2111000cc0000207c633640912340050`)
    expect(hex('[2001:db8::7]:4660', '[::1]:80')).toBe(`${SIGNATURE}2121002420010db8000000000000000000000007${'0'.repeat(31)}112340050`)
    expect(hex('192.0.2.7:4660', '[::1]:80')).toBe(`${SIGNATURE}21210024${'0'.repeat(20)}ffffc0000207${'0'.repeat(31)}112340050`)
    expect(hex('[::ffff:192.0.2.7]:4660', '[::1]:80')).toBe(hex('192.0.2.7:4660', '[::1]:80'))
  })

  it('tells nobody where an address is none', () => {
    expect(hex('', '192.0.2.1:80')).toBe(`${SIGNATURE}20000000`)
  })
})
