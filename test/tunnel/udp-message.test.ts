/** Messages of UDP in DATAGRAM frames, and where they go: without a network (docs/spec/tunnel.md section 10). */
import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { Connection } from '../../src/index.ts'
import type { Timing } from '../../src/config/index.ts'
import { Ledger } from '../../src/tunnel/ledger.ts'
import { MAX_UDP_BYTES, headBytes, readMessage, writeMessage } from '../../src/tunnel/udp-message.ts'
import { UdpSwitch } from '../../src/tunnel/udp-switch.ts'
import type { FlowEnd } from '../../src/tunnel/udp-switch.ts'

const flow = fc.oneof(fc.constantFrom(0, 63, 64, 16_383, 16_384, 2 ** 30 - 1, 2 ** 30, 2 ** 50), fc.integer({ min: 0, max: 2 ** 30 }), fc.maxSafeInteger().map(Math.abs))

function written(of: number, payload: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(headBytes(of) + payload.length)
  expect(writeMessage(bytes, of, payload)).toBe(bytes.length)
  return bytes
}

/** tunnel T72 */
describe('a message', () => {
  it('has these bytes', () => {
    expect([...written(5, Uint8Array.of(7, 8))]).toEqual([5, 0, 7, 8])
    expect([...written(64, Uint8Array.of(9))]).toEqual([0x40, 64, 0, 9])
    expect([...written(16_384, new Uint8Array(0))]).toEqual([0x80, 0, 0x40, 0, 0])
    expect([...written(2 ** 30, Uint8Array.of(1))]).toEqual([0xc0, 0, 0, 0, 0x40, 0, 0, 0, 0, 1])
  })

  it('comes back as it was written', () => {
    fc.assert(fc.property(flow, fc.uint8Array({ maxLength: 40 }), (of, payload) => {
      expect(readMessage(written(of, payload))).toEqual({ flow: of, payload })
    }), { numRuns: 1000 })
  })

  it('is read without a throw, whatever comes', () => {
    fc.assert(fc.property(fc.uint8Array({ maxLength: 24 }), (bytes) => {
      const message = readMessage(bytes)
      if (typeof message === 'object') expect(message.payload.length).toBeLessThan(bytes.length)
    }), { numRuns: 5000 })
  })

  it('is read in longer forms of its numbers too', () => {
    expect(readMessage(Uint8Array.of(0x40, 5, 0x40, 0, 1))).toEqual({ flow: 5, payload: Uint8Array.of(1) })
    expect(readMessage(Uint8Array.of(0xc0, 0, 0, 0, 0, 0, 0, 5, 0xc0, 0, 0, 0, 0, 0, 0, 0))).toEqual({ flow: 5, payload: new Uint8Array(0) })
  })

  it('that is cut short, or of a stream that cannot be, is none', () => {
    for (const bytes of [[], [5], [0x40], [0x40, 5], [0xc0, 0, 0, 0, 0, 0, 0], [5, 0x40], [5, 0xc0, 0, 0], [0xd0, 0, 0, 0, 0, 0, 0, 0, 0], [0xff, 255, 255, 255, 255, 255, 255, 255, 0]]) {
      expect(readMessage(Uint8Array.from(bytes)), String(bytes)).toBe('malformed')
    }
    // The last stream there can be.
    expect(readMessage(Uint8Array.of(0xcf, 255, 255, 255, 255, 255, 255, 255, 0))).toEqual({ flow: 2 ** 60, payload: new Uint8Array(0) })
  })

  it('of another context says so, and one that is longer than UDP too', () => {
    for (const bytes of [[5, 1], [5, 0x40, 64, 1, 2], [5, 0xc0, 0, 0, 0, 0, 0, 0, 1]]) expect(readMessage(Uint8Array.from(bytes))).toBe('context')
    expect(readMessage(new Uint8Array(MAX_UDP_BYTES + 2))).toMatchObject({ payload: { length: MAX_UDP_BYTES } })
    expect(readMessage(new Uint8Array(MAX_UDP_BYTES + 3))).toEqual({ flow: 0, payload: 'oversize' })
  })
})

/** tunnel T73 */
describe('messages at the server', () => {
  it('that come before their stream are held for a second, and handed on in order', () => {
    const { flows, ledger, receive, pass, end } = switchOf('server')
    receive(3, 'a')
    receive(4, 'x')
    receive(3, 'b')
    const [three, four] = [end(), end()]
    flows.expect(3)
    receive(3, 'c')
    flows.join(3, three)
    expect(three.got).toEqual(['a', 'b', 'c'])
    receive(3, 'd')
    expect(three.got).toEqual(['a', 'b', 'c', 'd'])
    pass(1000)
    expect(ledger.udpDrops.unknownFlow).toBe(1)
    flows.join(4, four)
    expect(four.got).toEqual([])
  })

  it('are held up to 64, and 64 KiB: the oldest go', () => {
    const { flows, ledger, receive, end } = switchOf('server')
    for (let count = 0; count < 65; count++) receive(1, String(count))
    const one = end()
    flows.join(1, one)
    expect([one.got.length, one.got[0], ledger.udpDrops.unknownFlow]).toEqual([64, '1', 1])
    const [two, three] = [end(), end()]
    for (let count = 0; count < 4; count++) receive(2, 'y'.repeat(16_384))
    receive(3, 'z')
    flows.join(2, two)
    flows.join(3, three)
    expect([two.got.length, three.got, ledger.udpDrops.unknownFlow]).toEqual([3, ['z'], 2])
    // What is handed on counts no more.
    for (let count = 0; count < 4; count++) receive(4, 'y'.repeat(16_384))
    expect(ledger.udpDrops.unknownFlow).toBe(2)
  })

  it('of a stream that was no flow, or is none any more, are dropped and counted', () => {
    const { flows, ledger, receive, end } = switchOf('server')
    flows.expect(2)
    receive(2, 'early')
    flows.forget(2)
    for (const of of [0, 1, 2]) receive(of, 'x')
    const two = end()
    flows.join(2, two)
    flows.leave(2)
    receive(2, 'late')
    expect([two.got, ledger.udpDrops.unknownFlow]).toEqual([[], 5])
  })

  it('go away one by one, each after its second', () => {
    const { ledger, receive, pass } = switchOf('server')
    receive(1, 'a')
    pass(600)
    receive(1, 'b')
    pass(400)
    expect(ledger.udpDrops.unknownFlow).toBe(1)
    pass(599)
    expect(ledger.udpDrops.unknownFlow).toBe(1)
    pass(1)
    expect(ledger.udpDrops.unknownFlow).toBe(2)
  })

  it('of another context are dropped; of a length that UDP has not, they end the flow; that are none, the connection', () => {
    const { flows, ledger, raw, end, closed } = switchOf('server')
    const one = end()
    flows.expect(1)
    flows.join(1, one)
    raw(Uint8Array.of(1, 2, 7))
    raw(Uint8Array.of(1, ...new Uint8Array(MAX_UDP_BYTES + 2)))
    expect([one.got, one.aborted, closed]).toEqual([[], ['bad-init'], []])
    raw(new Uint8Array(0))
    expect([ledger.udpDrops, closed]).toEqual([{ tooLarge: 0, unknownFlow: 0, unknownContext: 1, malformed: 2, queue: 0, flows: 0 }, [0x547_1908n]])
  })
})

/** tunnel T73 */
it('a client holds nothing: it knows its streams', () => {
  const { ledger, receive } = switchOf('client')
  receive(9, 'x')
  expect(ledger.udpDrops.unknownFlow).toBe(1)
})

/** tunnel T74 */
it('what does not fit, and what cannot be sent at all, is told apart', () => {
  const { flows, sent, room } = switchOf('client')
  room(10)
  expect(flows.send(1, new Uint8Array(8))).toBe('sent')
  expect(flows.send(1, new Uint8Array(9))).toBe('too-large')
  expect(flows.send(64, new Uint8Array(8))).toBe('too-large')
  expect(sent.map((bytes) => bytes.length)).toEqual([10])
  room(0)
  expect(flows.send(1, new Uint8Array(0))).toBe('gone')
})

interface End extends FlowEnd {
  got: string[]
  aborted: string[]
}

/** A switch on a connection that is none, with a clock that stands still until `pass`. */
function switchOf(side: 'client' | 'server') {
  let [nowMs, size] = [0, 1200]
  let timers: { atMs: number; run: () => void }[] = []
  const timing = {
    after: (ms: number, run: () => void) => {
      const timer = { atMs: nowMs + ms, run }
      timers.push(timer)
      return () => void (timers = timers.filter((other) => other !== timer))
    },
  } as unknown as Timing
  const ledger = new Ledger(() => nowMs, { after: () => () => {}, everyMs: 1000 } as never, () => ({ short: 0, type: 0, noListener: 0, noTunnel: 0 }))
  const sent: Uint8Array[] = []
  const closed: bigint[] = []
  const connection = {
    close: ({ code }: { code: bigint }) => void closed.push(code),
    datagrams: {
      get maxDatagramSizeBytes() {
        return size
      },
      isEarly: () => false,
      send: (bytes: Uint8Array) => sent.push(Uint8Array.from(bytes)),
    },
  } as unknown as Connection
  const flows = new UdpSwitch(connection, side, ledger, timing)
  const raw = (bytes: Uint8Array): void => flows.onMessage(bytes)
  return {
    flows, ledger, sent, closed, raw,
    room: (bytes: number) => void (size = bytes),
    receive: (of: number, text: string) => raw(written(of, Buffer.from(text))),
    pass: (ms: number) => {
      for (const until = nowMs + ms; ;) {
        const next = timers.toSorted((a, b) => a.atMs - b.atMs)[0]
        if (next === undefined || next.atMs > until) {
          nowMs = until
          break
        }
        nowMs = next.atMs
        timers = timers.filter((other) => other !== next)
        next.run()
      }
    },
    end: (): End => {
      const end: End = { got: [], aborted: [], onMessage: (payload) => void end.got.push(Buffer.from(payload).toString()), abort: (_, reason) => void end.aborted.push(reason) }
      return end
    },
  }
}
