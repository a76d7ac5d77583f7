/** The I/O thread dies while everything is under way: every promise settles with a stable code, every iterator ends, nothing hangs. */
import { describe, expect, it } from 'vitest'
import { isQuicbraidError } from '../../src/errors/index.ts'
import { connectedPair, streamPair, turns, watchContract } from '../fake/pair.ts'

watchContract()

/** How a promise ended: a code, or what it was fulfilled with. */
async function fate(promise: Promise<unknown>): Promise<string> {
  const never = new Promise<string>((resolve) => setTimeout(() => resolve('pending'), 10_000).unref())
  const settled = promise.then((value) => `fulfilled: ${JSON.stringify(value, (_, item: unknown) => (typeof item === 'bigint' ? Number(item) : item))}`, (error: unknown) => (isQuicbraidError(error) ? error.code : `foreign: ${String(error)}`))
  return Promise.race([settled, never])
}

describe('a client whose I/O thread dies', () => {
  it('settles everything that waits, and says why', async () => {
    const heard: string[] = []
    const pair = await connectedPair({ features: ['ping', 'datagrams', 'raw'], endpoint: { logger: { error: (message) => heard.push(message) } } })
    const { network, client, server, near } = pair
    const { mine } = await streamPair(pair)
    const reader = mine.readable.getReader()
    const written = (await near.openUnidirectional()).writable.getWriter()
    network.hold()
    const waiting: Record<string, Promise<unknown>> = {
      connect: client.connect(server.local[0] ?? '', { alpn: 'test', ca: 'ca' }),
      read: reader.read(),
      write: (async () => { for (;;) await written.write(new Uint8Array(262_144)) })(),
      finished: mine.finished,
      ping: near.ping(),
      streams: near.incomingBidirectional().next(),
      halves: near.incomingUnidirectional().next(),
      closed: near.closed,
      end: client.closed,
    }
    const ends = Object.entries(waiting).map(async ([name, promise]) => [name, await fate(promise)])
    const completed: string[] = []
    near.events$.subscribe({ complete: () => completed.push('events') })
    near.metrics$.subscribe({ complete: () => completed.push('metrics') })
    client.events$.subscribe({ complete: () => completed.push('endpoint events') })
    client.raw$.subscribe({ complete: () => completed.push('raw') })
    client.connections$.subscribe({ complete: () => completed.push('connections') })
    await turns(2)
    network.endpoints[1]?.breakDown()
    await turns(5)
    const fates = Object.fromEntries(await Promise.all(ends)) as Record<string, string>
    expect(fates).toMatchObject({ connect: 'QB_INTERNAL', read: 'QB_INTERNAL', write: 'QB_INTERNAL', finished: 'QB_INTERNAL', ping: 'QB_INTERNAL', streams: 'fulfilled: {"done":true}', halves: 'fulfilled: {"done":true}', end: 'fulfilled: undefined' })
    expect(fates['closed']).toContain('QB_INTERNAL')
    expect(completed.sort()).toEqual(['connections', 'endpoint events', 'events', 'metrics', 'raw'])
    expect(heard).toContain('the endpoint has broken')
    expect(client.connections.size).toBe(0)
    network.release()
    server.destroy()
    await server.closed
  })

  it('refuses further calls as a closed endpoint does', async () => {
    const { network, client, server, near } = await connectedPair({ features: ['raw'] })
    network.endpoints[1]?.breakDown()
    await client.closed
    expect(await fate(client.connect('127.0.0.1:1', { alpn: 'x' }))).toBe('QB_ENDPOINT_CLOSED')
    expect(await fate(near.openBidirectional())).toBe('QB_INTERNAL')
    expect(() => client.sendRaw('127.0.0.1:1', Uint8Array.of(1))).toThrow(expect.objectContaining({ code: 'QB_ENDPOINT_CLOSED' }))
    expect(() => client.listen({ alpn: 'x', cert: 'c', key: 'k' })).toThrow(expect.objectContaining({ code: 'QB_ENDPOINT_CLOSED' }))
    expect(client.statistics().connections).toBeGreaterThanOrEqual(0)
    await client.close()
    client.destroy()
    await near.close()
    server.destroy()
    await server.closed
  })
})

describe('a server whose I/O thread dies', () => {
  it('ends its loops', async () => {
    const { network, client, server } = await connectedPair({ features: ['admit'] })
    const loops = [server.incoming().next(), server.attempts().next()]
    await turns(1)
    network.endpoints[0]?.breakDown()
    await server.closed
    expect(await Promise.all(loops.map(fate))).toEqual(['fulfilled: {"done":true}', 'fulfilled: {"done":true}'])
    expect(server.listening).toBe(false)
    client.destroy()
    await client.closed
  })
})
