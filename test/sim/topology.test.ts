import { describe, expect, it } from 'vitest'
import type { Connection } from '../../src/index.ts'
import { World } from '../../src/sim/index.ts'
import type { Host } from '../../src/sim/index.ts'
import { MODULE_BUILT } from '../native/built.ts'
import { connected, transfer, withPair } from './programs.ts'

/** A connection from one host to another, both with default addresses. */
async function join(world: World, from: Host, to: Host): Promise<{ near: Connection; far: Connection }> {
  const tls = world.identity(to.name)
  const atServer = await to.bind({ server: { ...tls, alpn: 'sink' } })
  const incoming = atServer.incoming()
  const near = await (await from.bind()).connect(atServer.local[0] ?? '', { alpn: 'sink', ca: tls.ca, serverName: to.name })
  return { near, far: (await incoming.next()).value as Connection }
}

describe.skipIf(!MODULE_BUILT)('hosts and routers', () => {
  it('reach each other over routers by the shortest way', async () => {
    const world = new World()
    const [alice, bob] = [world.host('alice'), world.host('bob')]
    const [left, right, detour] = ['left', 'right', 'detour'].map((name) => world.router(name)) as [{ name: string }, { name: string }, { name: string }]
    world.link(alice, left, { delayMs: 5 })
    world.link(right, bob, { delayMs: 5 })
    const direct = world.link(left, right, { delayMs: 10, name: 'direct' })
    world.link(left, detour, { delayMs: 10 })
    world.link(detour, right, { delayMs: 10 })
    expect([alice.addresses, bob.addresses, direct.a.address]).toEqual([['198.18.1.1'], ['198.18.2.2'], '198.18.3.1'])
    const [before, after, sent] = await world.run(async () => {
      const { near, far } = await join(world, alice, bob)
      const before = (await near.opened).ms
      // Routes follow an interface that goes down; the connection does not even notice.
      direct.a.setUp(false)
      const start = world.nowMs
      const sent = await transfer(near, far, 1000)
      return [before, world.nowMs - start, sent]
    })
    expect([before, sent]).toEqual([40, 1000])
    expect(after).toBeGreaterThanOrEqual(30)
    expect(after).toBeLessThan(80)
  })

  it('choose the address that has a way to the other', async () => {
    const world = new World()
    const [middle, one, two] = [world.host('middle'), world.host('one'), world.host('two')]
    world.link(middle, one)
    world.link(middle, two)
    const local = await world.run(async () => [(await join(world, middle, two)).near.local, (await join(world, middle, one)).near.local])
    expect(local).toEqual(['10.0.2.1:4433', '10.0.1.1:4434'])
  })

  it('have IPv6 addresses where links say so', async () => {
    const world = new World()
    const [a, b] = [world.host('a'), world.host('b')]
    world.link(a, b, { addressA: 'fd00::1', addressB: 'fd00::2', delayMs: 1 })
    expect(await world.run(async () => (await join(world, a, b)).near.remote)).toBe('[fd00::2]:4433')
  })

  it('refuse what cannot be joined', () => {
    const world = new World()
    const [a, b] = [world.host('a'), world.host('b')]
    expect(() => world.host('a')).toThrow(expect.objectContaining({ code: 'QB_OPTION_INVALID', field: 'name' }))
    expect(() => world.link(a, a)).toThrow(expect.objectContaining({ code: 'QB_OPTION_INVALID' }))
    expect(() => world.link(a, new World().host('b'))).toThrow(expect.objectContaining({ field: 'b' }))
    expect(() => world.link(a, b, { addressA: '10.0.0.1:5' })).toThrow(expect.objectContaining({ field: 'addressA' }))
    expect(() => world.link(a, b, { loss: 2 })).toThrow(expect.objectContaining({ field: 'loss' }))
    expect(() => world.link(a, b, { dealyMs: 2 } as object)).toThrow(expect.objectContaining({ code: 'QB_OPTION_UNKNOWN', message: expect.stringContaining('delayMs') }))
  })

  it('refuse addresses they do not have, and ports in use', async () => {
    const { world, client } = World.pair([{}])
    await world.run(async () => {
      await expect(client.bind({ local: '10.0.1.2:5' })).rejects.toMatchObject({ code: 'QB_BIND_FAILED', message: expect.stringContaining('EADDRNOTAVAIL') })
      const first = await client.bind({ local: '0.0.0.0:7000' })
      await expect(client.bind({ local: '10.0.1.1:7000' })).rejects.toMatchObject({ code: 'QB_BIND_FAILED', message: expect.stringContaining('EADDRINUSE') })
      await first.close()
      expect((await client.bind({ local: '10.0.1.1:7000' })).local).toEqual(['10.0.1.1:7000'])
      expect((await client.bind({ local: '10.0.1.1' })).local).toEqual(['10.0.1.1:49152'])
      expect((await client.bind()).driver).toBe('sim')
    })
  })

  it('attack J6: lose a path whose interface goes down, and hear of it by an error of the socket within a second', async () => {
    const pair = World.pair([{ delayMs: 5, rateBitsPerSec: 20e6 }, { delayMs: 5, rateBitsPerSec: 20e6 }])
    const [bytes, states, noticed] = await withPair(pair, async ({ world, near, far, links }) => {
      await near.paths.ready()
      const down = world.nowMs + 100
      const noticed: number[] = []
      near.paths.events$.subscribe(({ path, type }) => path === 0 && type === 'send-error' && noticed.push(world.nowMs - down))
      world.at(down, () => links[0]?.a.setUp(false))
      const bytes = await transfer(near, far, 2_000_000)
      return [bytes, [...near.paths].map((path) => path.facts.suspect), noticed]
    })
    expect(noticed[0]).toBeLessThanOrEqual(1000)
    expect(bytes).toBe(2_000_000)
    expect(states[1]).toBe(false)
  })

  it('attack J6: go on from a new address when the old one is gone', async () => {
    const [bytes, remote] = await connected([{ delayMs: 5 }], async ({ near, far, links }) => {
      await near.confirmed
      expect(links[0]?.a.renumber()).toBe('10.0.1.3')
      await near.paths.open({ local: '10.0.1.3' })
      return [await transfer(near, far, 50_000), [...far.paths].map((path) => path.remote)] as const
    })
    expect(bytes).toBe(50_000)
    expect(remote).toContain('10.0.1.3:49152')
  })

  it('end without a word when they crash', async () => {
    const silent = await connected([{ delayMs: 5 }], async ({ near, far, server, links }) => {
      const before = links[0]?.statistics().delivered
      server.crash()
      const [ours, theirs] = await Promise.all([near.closed, far.closed])
      return { ours: ours.error, theirs: theirs.error, before }
    }, {}, { limits: { idleTimeoutMs: 5000 } })
    expect(silent.ours).toMatchObject({ code: 'QB_IDLE_TIMEOUT' })
    expect(String(silent.theirs)).toContain('the host server has crashed')
  })
})
