/** Failover and path policies over real sockets, with the user-space relay between the ends: a path falls silent, and nobody is told. */
import { afterEach, describe, expect, it } from 'vitest'
import { Relay } from '../../src/binding/relay.ts'
import type { Connection, PathEvent } from '../../src/index.ts'
import { MODULE_BUILT } from './built.ts'
import { closeAll, nativePair, until } from './pair.ts'
import type { NativePair } from './pair.ts'

/** Nothing here depends on how quick the machine is; so long may a slow one take. */
const PATIENCE_MS = 40_000

let relays: Relay[] = []

afterEach(async () => {
  await closeAll()
  for (const relay of relays) relay.stop()
  relays = []
})

interface Braided extends NativePair {
  relay: Relay
  near: Connection
  far: Connection
  events: PathEvent[]
}

/** A connection over two links of 80 Mbit/s and 5 ms. */
async function braided(failover: { maxStallMs?: number; abandonAfterMs?: number }): Promise<Braided> {
  const pair = await nativePair({ server: { failover: { abandonAfterMs: 300_000 } } })
  const target = pair.server.local[0] ?? ''
  const link = { listen: '127.0.0.1:0', target, delayMs: 5, rateBitsPerSec: 80e6 }
  const relay = new Relay({ links: [link, { ...link, listen: '127.0.0.2:0' }] })
  relays.push(relay)
  const [first = '', second = ''] = relay.statistics().links.map(({ listen }) => listen)
  const incoming = pair.server.incoming()
  const near = await pair.client.connect(first, { alpn: 'test', ca: pair.own.cert, serverName: 'localhost', scheduler: 'round-robin', failover, paths: [{ local: '127.0.0.1', remote: first }, { local: '127.0.0.2', remote: second }] })
  const far = (await incoming.next()).value as Connection
  const events: PathEvent[] = []
  near.paths.events$.subscribe((event) => events.push(event))
  await near.paths.ready({ count: 2, timeoutMs: PATIENCE_MS })
  return { ...pair, relay, near, far, events }
}

const told = (events: readonly PathEvent[], path: number, type: string): PathEvent | undefined => events.find((event) => event.path === path && event.type === type)

describe.skipIf(!MODULE_BUILT)('failover', () => {
  it('moves the data of a silent path to the other, tells it, and takes the path back when it answers', async () => {
    const { relay, near, far, events } = await braided({ maxStallMs: 300, abandonAfterMs: 300_000 })
    const stream = await near.openUnidirectional()
    const total = 24 * 1_048_576
    const sending = (async () => {
      for (let left = total; left > 0; await stream.ready()) left -= stream.write(new Uint8Array(Math.min(left, 65_536)))
      stream.end()
    })()
    const reading = far.incomingUnidirectional().next().then(({ value }) => value?.bytes({ maxBytes: total }))
    await until(() => [...near.paths].every((path) => path.statistics().bytesSent > 1_000_000), PATIENCE_MS)
    relay.command({ do: 'cut', link: 1 })
    await until(() => told(events, 1, 'suspect') !== undefined, PATIENCE_MS)
    await until(() => near.statistics().bytesReinjected > 0, PATIENCE_MS)
    expect((await reading)?.length).toBe(total)
    await sending
    expect(near.paths.get(1)?.facts).toMatchObject({ state: 'open', suspect: true })
    relay.command({ do: 'restore', link: 1 })
    await until(() => told(events, 1, 'recovered') !== undefined, PATIENCE_MS)
    expect(near.paths.get(1)?.facts.suspect).toBe(false)
    expect(near.paths.get(1)?.statistics().bytesReinjected).toBeGreaterThan(0)
    expect(near.state).toBe('open')
  }, 2 * PATIENCE_MS)

  it('abandons a path that stays silent for abandonAfterMs, and the connection goes on', async () => {
    const { relay, near, far, events } = await braided({ abandonAfterMs: 400 })
    const stream = await near.openUnidirectional()
    const reading = far.incomingUnidirectional().next().then(({ value }) => value?.bytes({ maxBytes: 1_000_000 }))
    relay.command({ do: 'cut', link: 1 })
    const writer = stream.writable.getWriter()
    await writer.write(new Uint8Array(500_000))
    await writer.close()
    expect((await reading)?.length).toBe(500_000)
    await until(() => told(events, 1, 'abandoning') !== undefined, PATIENCE_MS)
    expect(told(events, 1, 'abandoning')).toMatchObject({ by: 'timer', reason: expect.stringContaining('silent') })
    expect(told(events, 1, 'suspect')?.atMs).toBeLessThan(told(events, 1, 'abandoning')?.atMs ?? 0)
    expect([...near.paths].filter(({ facts }) => facts.state === 'open').map(({ id }) => id)).toEqual([0])
    expect(near.state).toBe('open')
  }, 2 * PATIENCE_MS)
})
