import { describe, expect, it } from 'vitest'
import type { Connection, ConnectionOptions } from '../../src/index.ts'
import { World } from '../../src/sim/index.ts'
import type { Nat, NatOptions } from '../../src/sim/index.ts'
import { MODULE_BUILT } from '../native/built.ts'
import { transfer } from './programs.ts'

/** A client behind a translator, a server outside, and a connection between them. */
function behind<T>(options: NatOptions, main: (world: World, near: Connection, far: Connection, nat: Nat) => Promise<T>, more: ConnectionOptions = {}): Promise<T> {
  const world = new World()
  const [client, server, nat] = [world.host('client'), world.host('server'), world.nat('home', options)]
  world.link(client, nat.inside, { delayMs: 1 })
  world.link(nat.outside, server, { delayMs: 10 })
  const tls = world.identity('server')
  return world.run(async () => {
    const atServer = await server.bind({ server: { ...tls, alpn: 'sink' } })
    const incoming = atServer.incoming()
    const near = await (await client.bind()).connect('server:4433', { alpn: 'sink', ca: tls.ca, ...more })
    return main(world, near, (await incoming.next()).value as Connection, nat)
  })
}

describe.skipIf(!MODULE_BUILT)('an address translator', () => {
  it('shows the server its outside address', async () => {
    const seen = await behind({}, async (_world, near, far, nat) => [near.local, far.remote, nat.mappings()])
    expect(seen).toEqual(['10.0.1.1:4433', '198.18.2.1:4433', [{ inside: '10.0.1.1:4433', outside: '198.18.2.1:4433' }]])
  })

  it('may forget a connection, which goes on from another port', async () => {
    const [bytes, remote, mappings] = await behind({}, async (_world, near, far, nat) => {
      await near.confirmed
      nat.rebind()
      return [await transfer(near, far, 100_000), far.remote, nat.mappings().length]
    })
    expect([bytes, remote, mappings]).toEqual([100_000, '198.18.2.1:4434', 1])
  })

  it('forgets what is idle, unless keep-alives leave in time', async () => {
    const mappings = (keepAliveMs?: number): Promise<number> =>
      behind({ timeoutMs: 5000 }, async (world, _near, _far, nat) => {
        await world.sleep(12_000)
        return nat.mappings().length
      }, keepAliveMs === undefined ? {} : { limits: { keepAliveMs } })
    expect([await mappings(), await mappings(4000)]).toEqual([0, 1])
  })

  it('drops everything when it blocks, and says so', async () => {
    const world = new World()
    const [client, server, nat] = [world.host('client'), world.host('server'), world.nat('wall', { blocked: true })]
    world.link(client, nat.inside)
    world.link(nat.outside, server)
    const fates: string[] = []
    world.events$.subscribe(({ fate }) => fates.push(fate))
    const lost = world.run(async () => (await client.bind()).connect('server:4433', { alpn: 'x', verify: 'none' }))
    await expect(lost).rejects.toMatchObject({ code: 'QB_CONNECT_TIMEOUT' })
    expect(new Set(fates)).toEqual(new Set(['delivered', 'nat']))
  })

  it('is checked like everything else', () => {
    const world = new World()
    expect(() => world.nat('a', { mapping: 'any' as 'address' })).toThrow(expect.objectContaining({ code: 'QB_OPTION_INVALID', field: 'mapping' }))
    const nat = world.nat('b')
    expect(() => nat.set({ port: 'random' } as NatOptions)).toThrow(expect.objectContaining({ code: 'QB_OPTION_UNKNOWN' }))
    expect(() => world.router('b')).toThrow(expect.objectContaining({ field: 'name' }))
  })
})
