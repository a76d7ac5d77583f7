/** Messages over the ring's words alone; `test/native/datagrams.test.ts` has them over sockets. */
import { describe, expect, it } from 'vitest'
import type { Engine } from '../../src/binding/index.ts'
import { createDatagrams } from '../../src/datagram/index.ts'
import type { DatagramSink, Datagrams } from '../../src/datagram/index.ts'
import { ConnectionError } from '../../src/errors/index.ts'
import { turn } from '../fake/pair.ts'

interface Setup { datagrams: Datagrams; sink: DatagramSink; sent: unknown[][]; traces: unknown[]; end(): void }

function setUp(size = 1200): Setup {
  const sent: unknown[][] = []
  const traces: unknown[] = []
  let error: ConnectionError | null = null
  const engine = { outbox: { datagram: (...facts: unknown[]) => void sent.push(facts) } } as unknown as Engine
  const { datagrams, sink } = createDatagrams({ engine, key: 5, error: () => error, hasPath: (path) => path === 0, trace: (...facts) => traces.push(facts) })
  if (size > 0) sink.onRoom(0, size)
  const end = (): void => {
    error = new ConnectionError('QB_CONNECTION_CLOSED', 'over')
    sink.end(error)
  }
  return { datagrams, sink, sent, traces, end }
}

const arrive = (sink: DatagramSink, ...messages: string[]): void => {
  for (const message of messages) sink.onDatagram(0, Buffer.from(`..${message}..`), 2, 2 + message.length)
}
const text = (messages: Iterable<Uint8Array>): string[] => [...messages].map((message) => Buffer.from(message).toString())

describe('sending', () => {
  it('counts ids, names paths and ages, and takes a batch whole or not at all', () => {
    const { datagrams, sent } = setUp()
    expect(datagrams.send(Buffer.from('a'), { path: 0, expiresMs: 2.5 })).toBe(1)
    expect(() => datagrams.sendBatch([Buffer.from('b'), new Uint8Array(1201)])).toThrow(expect.objectContaining({ code: 'QB_DATAGRAM_TOO_LARGE' }))
    expect(datagrams.sendBatch([Buffer.from('c'), Buffer.from('d')])).toEqual([2, 3])
    expect(sent.map(([key, id, data, path, expires]) => [key, id, String(data), path, expires])).toEqual([[5, 1, 'a', 0, 3], [5, 2, 'c', null, 0], [5, 3, 'd', null, 0]])
    expect(() => datagrams.send(Buffer.from('x'), { path: 1 })).toThrow(expect.objectContaining({ code: 'QB_PATH_UNKNOWN' }))
    for (const nonsense of [{ expiresMs: -1 }, { expires: 5 }]) expect(() => datagrams.send(Buffer.from('x'), nonsense as object)).toThrow(/expires/)
    expect(() => datagrams.send('text' as unknown as Uint8Array)).toThrow(expect.objectContaining({ code: 'QB_OPTION_INVALID' }))
  })

  it('waits in the writable stream from a window on, until half of it has left', async () => {
    const { datagrams, sink, sent } = setUp()
    const writer = datagrams.writable.getWriter()
    for (let index = 0; index < 40; index++) void writer.write(Buffer.from('x')).catch(() => {})
    await turn()
    expect(sent.length).toBe(32)
    sink.onRoom(16, 1200)
    await turn()
    expect(sent.length).toBe(40)
  })

  it('has a window of one message where they are large', async () => {
    const { datagrams, sent } = setUp(60_000)
    const writer = datagrams.writable.getWriter()
    for (let index = 0; index < 3; index++) void writer.write(Buffer.from('x')).catch(() => {})
    await turn()
    expect(sent.length).toBe(1)
  })

  it('knows the messages that may be replays', async () => {
    const { datagrams, sink } = setUp(0)
    sink.onDatagram(4, Buffer.from('early'), 0, 5)
    sink.onDatagram(0, Buffer.from('later'), 0, 5)
    const [early, later] = (await datagrams.batches().next()).value as Uint8Array[]
    expect([datagrams.isEarly(early as Uint8Array), datagrams.isEarly(later as Uint8Array), datagrams.isEarly(Buffer.from('early'))]).toEqual([true, false, false])
  })

  it('tells fates only while somebody watches, and sizes from the start', () => {
    const { datagrams, sink, traces } = setUp(0)
    const [fates, sizes]: [unknown[], number[]] = [[], []]
    datagrams.maxDatagramSize$.subscribe((size) => sizes.push(size))
    const watching = datagrams.status$.subscribe((status) => fates.push(status))
    sink.onRoom(0, 1200)
    sink.onRoom(0, 1200)
    sink.onFate(3, 1, 2)
    sink.onFate(4, 2, null)
    watching.unsubscribe()
    expect([fates, sizes, traces]).toEqual([[{ id: 3, status: 'lost', path: 2 }, { id: 4, status: 'abandoned', path: null }], [0, 1200], [[4, true], [4, false]]])
  })

  it('ends with the error of the connection', async () => {
    const { datagrams, end } = setUp()
    const writer = datagrams.writable.getWriter()
    end()
    await expect(writer.closed).rejects.toMatchObject({ code: 'QB_CONNECTION_CLOSED' })
    expect(() => datagrams.send(Buffer.from('x'))).toThrow(/over/)
    expect(datagrams.maxDatagramSizeBytes).toBe(0)
  })
})

describe('receiving', () => {
  it('makes one batch of what one drain brought, and shares it between loops', async () => {
    const { datagrams, sink, end } = setUp()
    const [one, two] = [datagrams.batches(), datagrams.batches()]
    const first = one.next()
    arrive(sink, 'a', 'b', '')
    expect(text((await first).value)).toEqual(['a', 'b', ''])
    const second = two.next()
    arrive(sink, 'c')
    expect(text((await second).value)).toEqual(['c'])
    arrive(sink, 'd')
    end()
    expect(text((await one.next()).value)).toEqual(['d'])
    expect(await one.next()).toEqual({ done: true, value: undefined })
    expect(await two.next()).toEqual({ done: true, value: undefined })
  })

  it('gives a reader one message each time, and closes when the rest was read', async () => {
    const { datagrams, sink, end } = setUp()
    const reader = datagrams.readable.getReader()
    arrive(sink, 'a', 'b')
    expect(Buffer.from((await reader.read()).value ?? []).toString()).toBe('a')
    end()
    expect(Buffer.from((await reader.read()).value ?? []).toString()).toBe('b')
    expect((await reader.read()).done).toBe(true)
    expect(() => datagrams.batches()).toThrow(expect.objectContaining({ code: 'QB_STREAM_LOCKED' }))
  })

  it('keeps the newest 1,024 messages and the newest mebibyte (attacks L14)', async () => {
    const { datagrams, sink } = setUp()
    arrive(sink, ...Array.from({ length: 1030 }, (_, index) => String(index)))
    const many = text((await datagrams.batches().next()).value)
    expect([many.length, many[0], many.at(-1)]).toEqual([1024, '6', '1029'])
    const large = setUp()
    for (let index = 0; index < 20; index++) large.sink.onDatagram(0, Buffer.alloc(65_535), 0, 65_535)
    expect((await large.datagrams.batches().next()).value.length).toBe(16)
  })

  it('leaves what waits to the next loop when one is aborted', async () => {
    const { datagrams, sink } = setUp()
    const abort = new AbortController()
    const waiting = datagrams.batches({ signal: abort.signal }).next()
    abort.abort(new Error('enough'))
    await expect(waiting).rejects.toThrow('enough')
    arrive(sink, 'a')
    expect(text((await datagrams.batches().next()).value)).toEqual(['a'])
  })
})
