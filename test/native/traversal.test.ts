/** The traversal of a connection through the native contract: over a relay, then straight through two NATs (traversal §7). */
import { afterEach, describe, expect, it } from 'vitest'
import type { NativeAnnounced, NativeNatStatistics, NativePunchState, NativeTraversal } from '../../src/binding/index.ts'
import { MODULE_BUILT } from './built.ts'
import { Loopback, RawWorld, nativeModule } from './raw-ends.ts'
import type { Identity, RawEnd } from './raw-ends.ts'

const FEATURES = MODULE_BUILT ? nativeModule().features() : []
const HAS_ALL = ['nat', 'relay', 'traversal'].every((feature) => FEATURES.includes(feature))
const RELAY = '203.0.113.1:4434'
const TRAVERSAL: NativeTraversal = { profile: 'braid', auto: true, ownStrategy: false, portSearch: false, privateTargets: 'always', stun: [RELAY], stunForm: 'rfc5780' }
const CONE = { mapping: 'endpoint-independent', filtering: 'address-port' }

let loopback: Loopback | null = null

afterEach(async () => {
  await loopback?.close()
  loopback = null
})

/** Makes `relay` a relay and a STUN server, and lets it and the ends know each other; what each end is called from outside. */
async function introduce(ground: RawWorld | Loopback, relay: RawEnd, ends: RawEnd[]): Promise<string[]> {
  relay.tell(0, { do: 'stun-serve', config: { sockets: [relay.local], neighbours: [], forms: ['rfc5780'] } })
  relay.tell(0, { do: 'relay-serve', config: { agent: [relay.local], allow: [], allowPrivate: true, bytesPerSecond: 10_000_000, burstBytes: 1_000_000 } })
  const outers: string[] = []
  for (const end of ends) {
    end.tell(0, { do: 'nat-keep', ticket: 1, local: end.local, server: relay.local, form: 'rfc5780' })
    const { mapped, local } = await ground.told(end, 'nat-mapping')
    relay.tell(0, { do: 'relay-admit', client: mapped ?? '', forMs: 3_600_000 })
    end.tell(0, { do: 'register', local, relay: relay.local, outer: mapped ?? '' })
    outers.push(mapped ?? '')
  }
  return outers
}

interface Town {
  world: RawWorld
  own: Identity
  near: RawEnd
  far: RawEnd
  relay: RawEnd
  /** From outside: near, far. */
  outers: [string, string]
}

/** Two hosts behind translators, a relay between them, both ends registered with it. */
async function town(nearNat: object = CONE, farNat: object = CONE, seed = 1): Promise<Town> {
  const world = new RawWorld(seed)
  const { native } = world
  const core = native.router()
  const home = (nat: object, inner: string, outer: string): RawEnd => {
    const [host, box] = [native.host(), native.nat(JSON.stringify(nat))]
    world.link(host, box, 1, { insideB: true, addressA: inner })
    world.link(box, core, 9, { addressA: outer })
    return world.bind(host, [`${inner}:4433`])
  }
  const [near, far] = [home(nearNat, '10.0.1.2', '192.0.2.7'), home(farNat, '10.0.2.2', '198.51.100.9')]
  const middle = native.host()
  world.link(middle, core, 5, { addressA: '203.0.113.1' })
  const relay = world.bind(middle, [RELAY])
  const outers = await introduce(world, relay, [near, far])
  return { world, own: world.identity(), near, far, relay, outers: [outers[0] ?? '', outers[1] ?? ''] }
}

/** A connection over the relay, its key at both ends. */
async function connected({ world, own, near, far, outers }: Town, traversal: Partial<NativeTraversal> = {}): Promise<[near: number, far: number]> {
  const options = { traversal: { ...TRAVERSAL, ...traversal } }
  far.listen(own, options)
  const key = near.connect(own, [`${RELAY}-${outers[1]}`], options)
  const { remote } = await world.told(near, 'opened')
  expect(remote).toBe(`${RELAY}-${outers[1]}`)
  const incoming = await world.told(far, 'connection')
  expect(incoming.remote).toBe(`${RELAY}-${outers[0]}`)
  for (const end of [near, far]) {
    expect(await world.told(end, 'traversal')).toMatchObject({ state: 'on', profile: 'braid' })
    await world.told(end, 'confirmed')
  }
  return [key, incoming.key]
}

function announce(end: RawEnd, key: number, address: string): NativeAnnounced {
  return end.ask(key, { ask: 'announce', local: end.local, address, kind: 'mapped', relay: null, tier: 0, nat: 'restricted-port', portStep: null })
}

describe.skipIf(!HAS_ALL)('a connection over a relay', () => {
  it('becomes a direct one when both ends have announced where they are', async () => {
    const place = await town()
    const { world, near, far, relay, outers } = place
    const [a, b] = await connected(place)
    expect(announce(near, a, outers[0])).toEqual({ seq: 0 })
    expect(announce(far, b, outers[1])).toEqual({ seq: 0 })
    expect(await world.told(near, 'punch-address', ({ side }) => side === 'remote')).toMatchObject({
      change: 'added', address: { seq: 0, kind: 'mapped', address: outers[1], relay: null, tier: 0, nat: 'restricted-port' },
    })
    const direct = await world.told(near, 'path', ({ path, facts }) => path !== 0 && facts.state === 'open')
    expect([direct.local, direct.remote]).toEqual([near.local, outers[1]])
    expect(await world.told(near, 'punch-hole')).toMatchObject({ key: a, localSeq: 0, remoteSeq: 0, local: near.local, remote: outers[1] })
    const rounds = near.all('punch-round').map(({ state }) => state)
    expect([rounds[0], rounds.at(-1)]).toEqual(['started', 'done'])
    expect((await world.told(near, 'observed-address', ({ path }) => path === direct.path)).address).toBe(outers[0])
    const state = near.ask<NativePunchState>(a, { ask: 'traversal' })
    expect(state).toMatchObject({ state: 'on', running: 0, local: [{ seq: 0, address: outers[0] }], remote: [{ seq: 0, address: outers[1] }] })
    expect(state.probesSent).toBeGreaterThan(0)
    expect(relay.ask<NativeNatStatistics>(0, { ask: 'nat-statistics' }).relay?.forwardedDatagrams).toBeGreaterThan(10)
    near.tell(a, { do: 'punch', ticket: 5, remote: 0, own: false })
    expect(await world.told(near, 'punch-refused')).toMatchObject({ ticket: 5, reason: 'direct' })
    // Addresses that stand for ways through relays stay inside.
    expect(JSON.stringify([near.told, far.told])).not.toMatch(/"240\.0\./u)
  })

  it('punches when it is told to, by the plan that is asked of JavaScript', async () => {
    const place = await town()
    const { world, near, far, outers } = place
    const [a, b] = await connected(place, { auto: false })
    near.tell(a, { do: 'punch', ticket: 1, remote: 0, own: true })
    expect(await world.told(near, 'punch-refused')).toMatchObject({ ticket: 1, reason: 'no-pair' })
    announce(near, a, outers[0])
    announce(far, b, outers[1])
    await world.told(near, 'punch-address', ({ side }) => side === 'remote')
    near.tell(a, { do: 'punch', ticket: 2, remote: 0, own: true })
    const { context } = await world.told(near, 'punch-wants-steps', ({ localSeq, remoteSeq }) => localSeq === 0 && remoteSeq === 0)
    expect(context).toMatchObject({ role: 'client', as: 'active', round: 1, portSearch: false, local: { seq: 0, address: outers[0], portStep: null }, remote: { seq: 0, address: outers[1] } })
    expect(context.rttMs).toBeGreaterThan(50)
    near.tell(a, { do: 'punch-steps', localSeq: 0, remoteSeq: 0, more: false, steps: [
      { do: 'hello', to: 'peer', count: 1, everyMs: 0, doubling: false, ttl: 64 },
      { do: 'tell-peer' },
      { do: 'wait', for: 'any', ms: 3000, orFail: true },
    ] })
    await world.told(near, 'punch-hole')
    expect((await world.told(near, 'path', ({ path, facts }) => path !== 0 && facts.state === 'open')).remote).toBe(outers[1])
    expect(await world.told(far, 'punch-round')).toMatchObject({ as: 'passive', state: 'started' })
  })

  it('gives a punch up, and withdraws what it announced', async () => {
    const place = await town()
    const { world, near, far, outers } = place
    const [a, b] = await connected(place, { auto: false })
    announce(near, a, outers[0])
    announce(far, b, outers[1])
    await world.told(near, 'punch-address', ({ side }) => side === 'remote')
    near.tell(a, { do: 'punch', ticket: 1, remote: 0, own: true })
    await world.told(near, 'punch-wants-steps')
    near.tell(a, { do: 'punch', ticket: 2, remote: 0, own: true })
    expect(await world.told(near, 'punch-refused')).toMatchObject({ ticket: 2, reason: 'running' })
    near.tell(a, { do: 'punch-cancel', localSeq: 0, remoteSeq: 0 })
    expect(await world.told(near, 'punch-round', ({ state }) => state === 'failed')).toMatchObject({ reason: 'cancelled' })
    near.tell(a, { do: 'withdraw', seq: 0 })
    near.tell(a, { do: 'withdraw', seq: 7 })
    for (const [end, side] of [[near, 'local'], [far, 'remote']] as const) {
      expect(await world.told(end, 'punch-address', (event) => event.side === side && event.change === 'removed')).toMatchObject({ address: { seq: 0, address: outers[0] } })
    }
    expect(announce(near, a, outers[0])).toEqual({ seq: 1 })
  })

  it('stays on the relay between two symmetric translators, and says why', async () => {
    const symmetric = { mapping: 'address-port', filtering: 'address-port', ports: 'random' }
    const place = await town(symmetric, symmetric)
    const { world, near, far, outers } = place
    const [a, b] = await connected(place)
    for (const [end, key, address] of [[near, a, outers[0]], [far, b, outers[1]]] as const) {
      end.ask(key, { ask: 'announce', local: end.local, address, kind: 'mapped', relay: null, tier: 0, nat: 'symmetric', portStep: null })
    }
    const failed = await world.told(near, 'punch-round', ({ state }) => state === 'failed')
    expect(failed).toMatchObject({ probes: 0, reason: 'nothing to try between these NATs' })
  })

  it('refuses addresses with a reason', async () => {
    const place = await town()
    const { near, outers } = place
    const [a] = await connected(place, { privateTargets: 'never' })
    const ask = { ask: 'announce', local: near.local, address: outers[0], kind: 'mapped', relay: null, tier: 0, nat: 'full-cone', portStep: 1 } as const
    expect(near.ask(a, ask)).toEqual({ seq: 0 })
    expect(near.ask(a, ask)).toEqual({ refused: 'duplicate' })
    expect(near.ask(a, { ...ask, local: '10.9.9.9:1' })).toEqual({ refused: 'unknown-local' })
    expect(near.ask(a, { ...ask, address: '10.0.1.2:4433', kind: 'host' })).toEqual({ refused: 'private' })
    expect(() => near.native.ask(a, JSON.stringify({ ...ask, nat: 'brick-wall' }))).toThrow(/cannot be read/u)
    expect(() => near.ask(77, { ask: 'traversal' })).toThrow(/QB_CONNECTION_CLOSED/u)
  })
})

describe.skipIf(!HAS_ALL)('traversal', () => {
  it('is off without the option at both ends, and says so', async () => {
    const place = await town()
    const { world, own, near, far, outers } = place
    far.listen(own)
    const key = near.connect(own, [`${RELAY}-${outers[1]}`], { traversal: TRAVERSAL })
    expect(await world.told(near, 'traversal')).toMatchObject({ state: 'off', profile: null, reason: 'the peer does not offer it' })
    await world.told(near, 'confirmed')
    expect(announce(near, key, outers[0])).toEqual({ refused: 'off' })
    near.tell(key, { do: 'punch', ticket: 1, remote: 0, own: false })
    expect(await world.told(near, 'punch-refused')).toMatchObject({ reason: 'off' })
    const server = await world.told(far, 'connection')
    expect(far.ask(server.key, { ask: 'traversal' })).toEqual({ state: 'off', running: 0, probesSent: 0, local: [], remote: [] })
    expect(far.all('traversal')).toEqual([])
  })

  it('goes over a relay of kernel sockets as well', async () => {
    const ground = (loopback = new Loopback())
    const [near, far, relay] = [ground.bind(), ground.bind(), ground.bind()]
    const own = ground.identity()
    await introduce(ground, relay, [near, far])
    far.listen(own, { traversal: { ...TRAVERSAL, stun: [relay.local] } })
    const key = near.connect(own, [`${relay.local}-${far.local}`], { traversal: { ...TRAVERSAL, stun: [relay.local] } })
    expect((await ground.told(near, 'opened')).remote).toBe(`${relay.local}-${far.local}`)
    expect(await ground.told(near, 'traversal')).toMatchObject({ state: 'on' })
    await ground.told(near, 'confirmed')
    near.tell(key, { do: 'open-path', ticket: 3, spec: { remote: far.local } })
    const direct = await ground.told(near, 'path', ({ ticket, facts }) => ticket === 3 && facts.state === 'open')
    expect(direct.remote).toBe(far.local)
    const { relay: counted } = relay.ask<NativeNatStatistics>(0, { ask: 'nat-statistics' })
    expect(counted?.registrations).toBe(2)
    expect(counted?.forwardedDatagrams).toBeGreaterThan(3)
  })
})
