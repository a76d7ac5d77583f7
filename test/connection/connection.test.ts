import { describe, expect, it } from 'vitest'
import { codeOf, connectedPair, pattern, streamPair, taken, turns, until, watchContract } from '../fake/pair.ts'
import type { BufferFacts } from '../../src/index.ts'

watchContract()

describe('opening streams', () => {
  it('counts ids by direction and role', async () => {
    const { near, far, done } = await connectedPair()
    const ids = [await near.openBidirectional(), await near.openUnidirectional(), await near.openBidirectional(), await far.openBidirectional(), await far.openUnidirectional()]
    expect(ids.map((stream) => stream.id)).toEqual([0n, 2n, 4n, 1n, 3n])
    expect(ids[0]).toMatchObject({ direction: 'bidi', initiated: 'local', state: 'idle', early: false })
    await done()
  })

  it('waits for credit in turn, and an aborted wait takes none', async () => {
    const { network, near, done } = await connectedPair({ server: { limits: { bidirectionalStreams: 1 } } })
    await near.openBidirectional()
    const abort = new AbortController()
    const gone = codeOf(near.openBidirectional({ signal: abort.signal }))
    const [second, third] = [near.openBidirectional(), near.openBidirectional()]
    abort.abort(Object.assign(new Error('x'), { code: 'MINE' }))
    expect(await gone).toBe('MINE')
    network.endpoints[1]?.connections.get(1)?.grant(0, 2)
    expect((await second).id).toBe(4n)
    network.endpoints[1]?.connections.get(1)?.grant(0, 3)
    expect((await third).id).toBe(8n)
    await done()
  })

  it('rejects those who wait when the connection ends', async () => {
    const { near, done } = await connectedPair({ server: { limits: { bidirectionalStreams: 0 } } })
    const waiting = codeOf(near.openBidirectional())
    near.destroy(new Error('why'))
    expect(await waiting).toBe('QB_CONNECTION_DESTROYED')
    expect(await codeOf(near.openUnidirectional())).toBe('QB_CONNECTION_DESTROYED')
    await done()
  })
})

describe('options of calls', () => {
  it('are refused when unknown or when the signal is none', async () => {
    const { near, server, done } = await connectedPair()
    expect(await codeOf(near.openBidirectional({ urgancy: 3 } as never))).toBe('QB_OPTION_UNKNOWN')
    expect(await codeOf(near.openBidirectional({ signal: {} } as never))).toBe('QB_OPTION_INVALID')
    expect(await codeOf(near.paths.ready({ timeout: 3 } as never))).toBe('QB_OPTION_UNKNOWN')
    expect(await codeOf(near.endpoint.connect('127.0.0.1:1', { alpn: 'x', signal: 5 as never }))).toBe('QB_OPTION_INVALID')
    expect(() => server.incoming({ sginal: 1 } as never)).toThrow(expect.objectContaining({ message: expect.stringContaining('did you mean signal') }))
    expect(() => near.close(null as never)).toThrow(expect.objectContaining({ code: 'QB_OPTION_INVALID' }))
    await done()
  })
})

describe('incoming streams', () => {
  it('come in order with their first bytes, and end with the connection', async () => {
    const { near, far, done } = await connectedPair()
    const streams = await Promise.all([near.openUnidirectional(), near.openUnidirectional()])
    streams[0]?.write(pattern(3))
    streams[1]?.write(pattern(5))
    await until(() => far.statistics().paths > 0)
    await turns(5)
    const seen: [bigint, number][] = []
    for await (const stream of far.incomingUnidirectional()) {
      seen.push([stream.id, stream.bytesReceived])
      if (seen.length === 2) void near.close()
    }
    expect(seen).toEqual([[2n, 3], [6n, 5]])
    await done()
  })

  it('that were reset at once are supplied too', async () => {
    const { near, far, done } = await connectedPair()
    const stream = await near.openUnidirectional()
    stream.finished.catch(() => {})
    stream.reset(3)
    const incoming = await taken(far.incomingUnidirectional())
    expect((await incoming.closed).error).toMatchObject({ code: 'QB_STREAM_RESET', errorCode: 3n })
    await done()
  })

  it('are shared between loops, and an aborted loop rejects with its reason', async () => {
    const { near, far, done } = await connectedPair()
    const abort = new AbortController()
    const gone = codeOf(far.incomingBidirectional({ signal: abort.signal }).next())
    abort.abort(Object.assign(new Error('x'), { code: 'MINE' }))
    expect(await gone).toBe('MINE')
    const loops = [far.incomingBidirectional().next(), far.incomingBidirectional().next()]
    for (let index = 0; index < 2; index++) (await near.openBidirectional()).write(pattern(1))
    expect((await Promise.all(loops)).map(({ value }) => value?.id)).toEqual([0n, 4n])
    await done()
  })
})

describe('the end', () => {
  it('by close() sends what was accepted and tells both sides code and reason', async () => {
    const { near, far, done } = await connectedPair()
    const stream = await near.openUnidirectional()
    stream.write(pattern(200_000))
    stream.end()
    const closing = near.close({ code: 5n, reason: 'done' })
    expect(near.state).toBe('closing')
    expect(near.close()).toBe(closing)
    expect(await codeOf(near.openBidirectional())).toBe('QB_CONNECTION_CLOSED')
    expect(await closing).toMatchObject({ by: 'local', errorCode: 5n, reason: 'done', error: null })
    await stream.finished
    expect((await (await taken(far.incomingUnidirectional())).bytes()).length).toBe(200_000)
    expect(await far.closed).toMatchObject({ by: 'peer', errorCode: 5n, error: { code: 'QB_APPLICATION_CLOSED' } })
    expect(near.state).toBe('closed')
    expect(await codeOf(far.openBidirectional())).toBe('QB_APPLICATION_CLOSED')
    await done()
  })

  it('by destroy() is at once, with the cause, and its second call does nothing', async () => {
    const { near, far, done } = await connectedPair()
    const cause = new Error('cause')
    near.destroy(cause, { code: 9, reason: 'now' })
    near.destroy()
    expect(near.state).toBe('closed')
    expect(await near.closed).toMatchObject({ by: 'local', errorCode: 9n, error: { code: 'QB_CONNECTION_DESTROYED', cause } })
    expect((await far.closed).error).toMatchObject({ code: 'QB_APPLICATION_CLOSED', errorCode: 9n })
    expect(await near.close()).toBe(await near.closed)
    await done()
  })

  it('leaves confirmed and opened settled, and nothing unhandled', async () => {
    const { client, server, network, done } = await connectedPair()
    network.hold()
    const connecting = codeOf(client.connect(server.local[0] ?? '', { alpn: 'test', ca: 'ca' }))
    await turns(2)
    const pending = [...client.connections].find((connection) => connection.state === 'handshaking')
    pending?.destroy()
    expect(await connecting).toBe('QB_CONNECTION_DESTROYED')
    expect(await codeOf(pending?.confirmed ?? Promise.resolve())).toBe('QB_CONNECTION_DESTROYED')
    network.release()
    await done()
  })

  it('keeps the last numbers and still explains', async () => {
    const { near, done } = await connectedPair()
    const before = near.statistics()
    expect(String(near.explain())).toContain('nothing to send')
    near.destroy()
    expect(near.statistics()).toEqual(before)
    expect(String(near.explain())).toContain('destroyed')
    expect(near.updateKey()).toBe(false)
    await done()
  })

  it('is refused with a bad code or reason before anything is sent', async () => {
    const { network, near, done } = await connectedPair()
    expect(() => near.close({ code: -1 })).toThrow(expect.objectContaining({ code: 'QB_OPTION_INVALID', field: 'code' }))
    expect(() => near.close({ reason: 'x'.repeat(1025) })).toThrow(expect.objectContaining({ field: 'reason' }))
    expect(() => near.destroy(undefined, { code: 1n << 62n })).toThrow(expect.objectContaining({ field: 'code' }))
    expect(network.endpoints[1]?.connections.get(1)?.orders).toEqual([])
    await done()
  })
})

describe('facts', () => {
  it('tells streams and key updates as they happen', async () => {
    const pair = await connectedPair()
    const events: string[] = []
    pair.far.events$.subscribe((event) => events.push(event.type === 'stream' ? `${event.type} ${event.id} ${event.direction} ${event.initiated}` : event.type))
    await streamPair(pair)
    await pair.far.openUnidirectional()
    pair.network.endpoints[0]?.queue.event(1, { type: 'key-update', atMs: 4 })
    pair.network.endpoints[0]?.queue.event(1, { type: 'multipath', atMs: 4, mode: 'none', reason: 'peer did not offer' })
    await until(() => events.includes('multipath'))
    expect(events).toEqual(['stream 0 bidi peer', 'stream 3 uni local', 'key-update', 'multipath'])
    expect(pair.far.multipath).toBe('none')
    expect(pair.near.updateKey()).toBe(true)
    await pair.done()
  })

  it('samples metrics$ only while somebody looks, with replay, and completes', async () => {
    const { near, done } = await connectedPair({ endpoint: { metricsIntervalMs: 10 } })
    const one: number[] = []
    let completed = false
    const subscription = near.metrics$.subscribe((metrics) => one.push(metrics.bytesSent))
    await new Promise((resolve) => setTimeout(resolve, 60))
    subscription.unsubscribe()
    expect(one.length).toBeGreaterThan(2)
    const late: number[] = []
    near.metrics$.subscribe({ next: (metrics) => late.push(metrics.bytesSent), complete: () => (completed = true) })
    expect(late.length).toBeGreaterThan(0)
    near.destroy()
    expect(completed).toBe(true)
    await done()
  })

  /** mux R14, R61. */
  it('tells on buffers$ what is held and what blocked, at most ten times a second and only while somebody looks', async () => {
    const { near, done } = await connectedPair({ endpoint: { metricsIntervalMs: 10 } })
    const seen: BufferFacts[] = []
    const began = performance.now()
    const subscription = near.buffers$.subscribe((facts) => seen.push(facts))
    await new Promise((resolve) => setTimeout(resolve, 250))
    subscription.unsubscribe()
    const count = seen.length
    expect(count).toBeGreaterThan(0)
    expect(count).toBeLessThanOrEqual((performance.now() - began) / 100 + 1)
    const reasons = ['RX_BUF', 'TX_BUF', 'RX_FULL', 'CONN_CREDIT', 'STREAM_CREDIT', 'GATE', 'CWND', 'PACING', 'ANTI_AMPLIFICATION']
    expect(Object.keys(seen[0]!.blockedMs)).toEqual(reasons)
    // The engine of the tests says the place of each number.
    expect(seen[0]).toMatchObject({ usedBytes: 23, waiting: true, blockedMs: { RX_BUF: 25, ANTI_AMPLIFICATION: 33 } })
    near.destroy()
    expect(seen).toHaveLength(count)
    await done()
  })

  it('survives a subscriber that throws', async () => {
    const pair = await connectedPair()
    const before = process.listeners('uncaughtException')
    process.removeAllListeners('uncaughtException')
    const thrown: unknown[] = []
    const note = (error: Error): void => void thrown.push(error)
    process.on('uncaughtException', note)
    pair.far.events$.subscribe((event) => {
      if (event.type === 'stream') throw new Error('subscriber')
    })
    const { theirs } = await streamPair(pair)
    expect(theirs.id).toBe(0n)
    await new Promise((resolve) => setTimeout(resolve, 5))
    process.off('uncaughtException', note)
    for (const listener of before) process.on('uncaughtException', listener)
    expect(thrown.length).toBeGreaterThan(0)
    await pair.done()
  })
})
