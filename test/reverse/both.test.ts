/** Both ends of reverse connections together, in virtual time. */
import { describe, expect, it } from 'vitest'
import { World } from '../../src/sim/index.ts'
import { MODULE_BUILT } from '../native/built.ts'
import { ask, dial, echo, inReverseWorld } from './world.ts'

describe.skipIf(!MODULE_BUILT)('both ends', { timeout: 60_000 }, () => {
  /** reverse V1, V2, V10, V41 */
  it('meet: a pool of three, and requests over all of them', async () => {
    await inReverseWorld(async (world) => {
      const { listener, events } = world
      const dialler = dial(world, 'web', { pool: 3 })
      const stream = await listener.pool('web').request('web', { waitForMs: 5000 })
      expect(await ask(stream, 'first')).toBe('first')
      await world.world.sleep(1000)
      expect([listener.pool('web').size, listener.pool().size, listener.health()]).toEqual([3, 3, { ok: true, keys: { web: 3 } }])
      const requests = await Promise.all(Array.from({ length: 30 }, () => listener.pool().request('web')))
      expect(new Set(requests.map(({ connection }) => connection)).size).toBe(3)
      expect(requests.every(({ connection }) => connection.requester === 'local')).toBe(true)
      expect(await Promise.all(requests.map((request, index) => ask(request, String(index))))).toEqual(requests.map((_, index) => String(index)))
      await dialler.stop({ drainMs: 1000 })
      await world.world.sleep(100)
      expect([listener.pool('web').size, listener.health().ok]).toEqual([0, false])
      expect(events.map(({ type }) => type)).toEqual(['accepted', 'accepted', 'accepted', 'draining', 'draining', 'draining', 'closed', 'closed', 'closed'])
    })
  })

  /** reverse V16, V48 */
  it('leave at the same time: what is under way ends, whole, and neither waits for the other longer than that', async () => {
    let go = (): void => {}
    const gone = new Promise<void>((resolve) => void (go = resolve))
    await inReverseWorld(async (world) => {
      const { listener, events, near } = world
      const dialler = dial(world, 'web', {}, async (stream) => {
        await gone
        await echo(stream)
      })
      const answer = ask(await listener.pool('web').request('web', { waitForMs: 5000 }), 'slow')
      await world.world.sleep(100)
      const since = world.world.nowMs
      const leaving = Promise.all([dialler.stop({ drainMs: 5000 }), listener.close({ drainMs: 5000 })])
      await world.world.sleep(1000)
      go()
      expect(await answer).toBe('slow')
      await leaving
      expect(world.world.nowMs - since).toBeLessThan(2500)
      expect([events.map(({ type, reason }) => [type, reason]), near.connections.size]).toEqual([[['accepted', null], ['draining', 'none'], ['closed', 'none']], 0])
    })
  })

  /** reverse V53 */
  it('keep their place in the pool, and the request under way, when the NAT before the private end forgets it', async () => {
    const world = new World()
    const [client, server, nat] = [world.host('client'), world.host('server'), world.nat('home')]
    const links = [world.link(client, nat.inside, { delayMs: 1 }), world.link(nat.outside, server, { delayMs: 10, rateBitsPerSec: 20_000_000 })]
    const paths = [{ local: links[0]?.a.address ?? '', remote: `${links[1]?.b.address}:4433` }]
    await inReverseWorld(async (ends) => {
      const { listener, events } = ends
      const dialler = dial(ends, 'web')
      const request = await listener.pool().request('web', { waitForMs: 5000 })
      const { connection } = request
      const [id, remote] = [connection.id, connection.remote]
      const body = Buffer.alloc(500_000, 'x')
      const answer = request.bytes()
      const writing = (async () => {
        for (let at = request.write(body); at < body.length; at += request.write(body.subarray(at))) await request.ready()
        request.end()
      })()
      await world.sleep(50)
      nat.rebind()
      await writing
      expect(Buffer.from(await answer).equals(body)).toBe(true)
      expect(connection.remote).not.toBe(remote)
      const again = await listener.pool().request('web')
      expect([again.connection, again.connection.id, listener.health().keys, events.length]).toEqual([connection, id, { web: 1 }, 1])
      expect(await ask(again, 'x')).toBe('x')
      await dialler.stop({ drainMs: 100 })
    }, { pair: { world, client, server, links, paths, tls: world.identity('server') } })
  })
})
