/** Both ends of reverse connections together, in virtual time. */
import { describe, expect, it } from 'vitest'
import { reverseConnect } from '../../src/reverse/index.ts'
import type { ReverseConnectOptions, ReverseDialler } from '../../src/reverse/index.ts'
import { World } from '../../src/sim/index.ts'
import { MODULE_BUILT } from '../native/built.ts'
import { ask, echo, inReverseWorld } from './world.ts'
import type { ReverseWorld, Serve } from './world.ts'

/** A private end of this world for `service`. */
export function dial({ to, near, tls, identity, paths }: ReverseWorld, service: string, more: Partial<ReverseConnectOptions> = {}, serve: Serve = echo): ReverseDialler {
  return reverseConnect({ to, endpoint: near, identity: identity(service), service, ...more, connection: { ca: tls.ca, serverName: 'server', paths: paths.slice(0, 1), ...more.connection } }, serve)
}

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
