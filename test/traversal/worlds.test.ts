/** Two peers behind NATs, a relay between them, in virtual time: the whole way with the real engine (traversal §6, §7, T-33, T-35, T-99). */
import { createHash } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import type { Connection, Endpoint, ReceiveStream } from '../../src/index.ts'
import { World } from '../../src/sim/index.ts'
import type { Host, Link, Nat, NatOptions } from '../../src/sim/index.ts'
import { NatProbe, Relay, registerRelay, StunServer } from '../../src/traversal/index.ts'
import type { RelayOptions, TraversalEvent, TraversalOptions } from '../../src/traversal/index.ts'
import { loadNative } from '../../src/binding/index.ts'
import { MODULE_BUILT } from '../native/built.ts'

const HAS_ALL = MODULE_BUILT && ['nat', 'relay', 'traversal'].every((feature) => loadNative().features().includes(feature))
const CONE: NatOptions = { mapping: 'endpoint-independent', filtering: 'address-port' }
const SYMMETRIC: NatOptions = { mapping: 'address-port', filtering: 'address-port', ports: 'random' }
/** One way: host to its NAT's outside, to the relay. */
const [HOME_MS, RELAY_MS] = [20, 15]
const RELAY_RTT_MS = 2 * (HOME_MS + 2 * RELAY_MS + HOME_MS)

interface Town {
  world: World
  hosts: [Host, Host]
  nats: [Nat, Nat]
  /** Alice's side to Bob's, past the relay. */
  across: Link
  relayHost: Host
  relay: Relay
  traversal: TraversalOptions
  id: { cert: string; key: string; ca: string }
  tls: { cert: string; key: string; ca: string }
}

/** alice ─ nat ─ west ─ east ─ nat ─ bob, and a relay behind both. */
async function town<T>(main: (place: Town) => Promise<T>, options: { nats?: [NatOptions, NatOptions]; seed?: number; relay?: Partial<RelayOptions> } = {}): Promise<T> {
  const world = new World({ seed: options.seed ?? 1 })
  const [west, east, middle] = [world.router('west'), world.router('east'), world.router('middle')]
  const across = world.link(west, east)
  const relayHost = world.host('relay')
  world.link(relayHost, middle)
  world.link(west, middle, { delayMs: RELAY_MS })
  world.link(east, middle, { delayMs: RELAY_MS })
  const [one, other] = options.nats ?? [CONE, CONE]
  const home = (name: string, nat: NatOptions, core: typeof west): [Host, Nat] => {
    const [host, box] = [world.host(name), world.nat(`${name}-nat`, nat)]
    world.link(host, box.inside)
    world.link(box.outside, core, { delayMs: HOME_MS })
    return [host, box]
  }
  const [[alice, aliceNat], [bob, bobNat]] = [home('alice', one, west), home('bob', other, east)]
  const id = world.identity('bob')
  const tls = world.identity('relay', ...relayHost.addresses)
  return world.run(async () => {
    const relay = await Relay.listen({ tls, authorize: () => {}, ...options.relay }, await relayHost.bind())
    const traversal = { relays: [relay.address], relayTls: { ca: tls.ca } }
    return main({ world, hosts: [alice, bob], nats: [aliceNat, bobNat], across, relayHost, relay, traversal, id, tls })
  })
}

interface Meeting { near: Connection; far: Connection; client: Endpoint; server: Endpoint; address: string; events: TraversalEvent[] }

async function meet({ hosts, relay, traversal, id }: Town, own: { near?: TraversalOptions; far?: TraversalOptions } = {}): Promise<Meeting> {
  const server = await hosts[1].bind({ server: { ...id, alpn: 'chat', traversal: { ...traversal, ...own.far } } })
  const { address } = await registerRelay(server, relay.address, { tls: traversal.relayTls ?? {} })
  const client = await hosts[0].bind()
  const events: TraversalEvent[] = []
  client.connections$.subscribe((connection) => connection.traversal.events$.subscribe((event) => events.push(event)))
  const incoming = server.incoming()
  const near = await client.connect(address, { alpn: 'chat', ca: id.ca, serverName: 'bob', traversal: { ...traversal, ...own.near } })
  return { near, far: (await incoming.next()).value as Connection, client, server, address, events }
}

/** Bytes with their sum, while `meanwhile` happens. */
async function transfer(near: Connection, far: Connection, length: number, meanwhile: () => Promise<void>): Promise<number> {
  const sums = [createHash('sha256'), createHash('sha256')]
  const stream = await near.openUnidirectional()
  const reading = (async () => {
    for await (const batch of (await far.incomingUnidirectional().next()).value as ReceiveStream) for (const bytes of batch) sums[1]?.update(bytes)
  })()
  const events = meanwhile()
  for (let at = 0; at < length;) {
    const chunk = new Uint8Array(Math.min(16_384, length - at)).fill(at & 0xff)
    const taken = stream.write(chunk)
    sums[0]?.update(chunk.subarray(0, taken))
    at += taken
    if (taken < chunk.length) await stream.ready()
  }
  stream.end()
  await Promise.all([reading, events])
  expect(sums[1]?.digest('hex')).toBe(sums[0]?.digest('hex'))
  return far.statistics().maxStallMs
}

describe.skipIf(!HAS_ALL)('a peer behind a relay', () => {
  /** traversal T-35: registering costs one round trip to the relay, and no more. */
  it('is reached one round trip to the relay later than one that is not', async () => {
    await town(async (place) => {
      const { world, hosts, id, relay } = place
      const server = await hosts[1].bind({ server: { ...id, alpn: 'chat' } })
      const { address } = await registerRelay(server, relay.address, { tls: place.traversal.relayTls ?? {} })
      const client = await hosts[0].bind()
      const start = world.nowMs
      const connection = await client.connect(address, { alpn: 'chat', ca: id.ca, serverName: 'bob', traversal: place.traversal })
      expect(world.nowMs - start).toBeLessThanOrEqual(RELAY_RTT_MS + 2 * (HOME_MS + RELAY_MS) + 2)
      expect([...connection.paths].map(({ relayed, remote }) => [relayed, remote])).toEqual([[true, address]])
      expect(relay.statistics()).toMatchObject({ registrations: 2, drops: { unregistered: 0 } })
    })
  })

  it('is not reached by who is refused, who has no way to answer, or when nobody is registered there', async () => {
    await town(async (place) => {
      const { hosts, id, traversal } = place
      const server = await hosts[1].bind({ server: { ...id, alpn: 'chat' } })
      const { address } = await registerRelay(server, place.relay.address, { tls: traversal.relayTls ?? {}, token: Buffer.from('good') })
      const client = await hosts[0].bind()
      const dial = (to: string, relayToken?: Uint8Array): Promise<unknown> => client.connect(to, { alpn: 'chat', ca: id.ca, serverName: 'bob', limits: { handshakeTimeoutMs: 3000 }, traversal: { ...traversal, ...(relayToken === undefined ? {} : { relayToken }) } })
      await expect(dial(address)).rejects.toMatchObject({ code: 'QB_RELAY_REFUSED' })
      await expect(dial(`${place.relay.address}-198.18.99.9:5000`, Buffer.from('good'))).rejects.toMatchObject({ code: 'QB_CONNECT_TIMEOUT' })
      expect(place.relay.statistics().drops.unregistered).toBeGreaterThan(0)
      expect(await dial(address, Buffer.from('good'))).toMatchObject({ state: 'open' })
    }, { relay: { authorize: ({ token }) => { if (Buffer.from(token ?? []).toString() !== 'good') throw new Error('no') } } })
  })

  it('registers again when the relay has come back', async () => {
    await town(async (place) => {
      const { world, hosts, id, traversal, relay, relayHost, tls } = place
      const server = await hosts[1].bind({ server: { ...id, alpn: 'chat' } })
      const registration = await registerRelay(server, relay.address, { tls: traversal.relayTls ?? {} })
      relayHost.crash()
      await world.sleep(60_000)
      const again = await Relay.listen({ tls, authorize: () => {} }, await relayHost.bind())
      expect(again.address).toBe(relay.address)
      await world.sleep(60_000)
      expect(again.statistics().registrations).toBe(1)
      const near = await (await hosts[0].bind()).connect(registration.address, { alpn: 'chat', ca: id.ca, serverName: 'bob', traversal })
      expect([...near.paths][0]?.relayed).toBe(true)
      await registration.stop()
      await world.sleep(1000)
      expect(again.statistics().registrations).toBe(1)
    })
  })
})

describe.skipIf(!HAS_ALL)('two peers behind NATs', () => {
  /** traversal T-78. */
  it('try again when what was found out about a NAT is told, without a probe beforehand', async () => {
    await town(async (place) => {
      const other = await StunServer.listen({}, await place.relayHost.bind())
      const stun = { stun: [place.relay.address, other.addresses[0] ?? ''] }
      const { near, events } = await meet(place, { near: stun, far: stun })
      await near.traversal.direct().catch(() => {})
      const told = events.flatMap((event) => (event.type === 'address' && event.side === 'remote' && event.address.kind === 'mapped' ? [event.change] : []))
      expect(told).toEqual(['added', 'removed', 'added'])
      expect(events.filter((event) => event.type === 'round' && event.state === 'started').length).toBeGreaterThan(1)
    }, { nats: [CONE, { mapping: 'address-port', filtering: 'address-port', ports: 'sequential' }] })
  })

  it('have no gateway to ask for a port, and are told so', async () => {
    const world = new World()
    await world.run(async () => {
      const endpoint = await world.host('alone').bind()
      await expect(endpoint.connect('10.0.0.1:1', { traversal: { sources: ['port-mapping'] } })).rejects.toMatchObject({ code: 'QB_OPTION_INVALID', field: 'traversal.sources' })
    })
  })

  /** traversal T-99: the upgrade and its way back cost no byte; the upgrade no pause over 300 ms. */
  it('move a transfer from the relay to a direct path, and back when that goes dark', async () => {
    await town(async (place) => {
      const { near, far, events } = await meet(place)
      const upgrading = await transfer(near, far, 3_000_000, async () => {
        const direct = await near.traversal.direct()
        expect([direct.relayed, direct.facts.state]).toEqual([false, 'open'])
        expect(await far.traversal.direct()).toMatchObject({ relayed: false })
      })
      const changes = (): string[] => events.filter(({ type }) => type === 'upgraded' || type === 'fell-back').map(({ type }) => type)
      expect(changes()).toEqual(['upgraded'])
      expect(upgrading).toBeLessThanOrEqual(300)
      const fallingBack = await transfer(near, far, 3_000_000, async () => {
        await place.world.sleep(100)
        place.across.set({ loss: 1 })
        await place.world.sleep(5000)
      })
      expect(changes().slice(0, 2)).toEqual(['upgraded', 'fell-back'])
      expect(near.state).toBe('open')
      // Half of it is the way over this relay (70 ms) and the probe timeout of the direct path.
      expect(fallingBack).toBeLessThanOrEqual(400)
    })
  })

  /** traversal T-36: the name that was dialled stays, though the NAT has other ports behind it. */
  it.each([['alice dials and sends', 0, 'near'], ['bob was dialled and receives', 1, 'near'], ['bob was dialled and sends', 1, 'far']] as const)('go on with a transfer when a NAT forgets everything: %s', async (_what, who, sender) => {
    for (const nats of [[CONE, CONE], [SYMMETRIC, SYMMETRIC]] as [NatOptions, NatOptions][]) {
      await town(async (place) => {
        const { near, far, server, address } = await meet(place)
        if (nats[0] === CONE) await near.traversal.direct()
        const before = place.world.nowMs
        const [from, to] = sender === 'near' ? [near, far] : [far, near]
        await transfer(from, to, 3_000_000, async () => {
          await place.world.sleep(100)
          place.nats[who].rebind()
        })
        expect(near.state).toBe('open')
        // Silence is noticed within two seconds; who sent into it goes on with its next probe, which has doubled its wait meanwhile.
        expect(place.world.nowMs - before).toBeLessThan(who === 1 && sender === 'near' ? 15_000 : 6000)
        // Nothing but the name stays: who dials it still finds it.
        const again = await near.endpoint.connect(address, { alpn: 'chat', ca: place.id.ca, serverName: 'bob', traversal: place.traversal })
        expect([again.state, server.connections.size > 0]).toEqual(['open', true])
      }, { nats })
    }
  })

  it('stay on the relay where nothing can be done, and say so', async () => {
    await town(async (place) => {
      const { near, far } = await meet(place)
      await expect(near.traversal.direct()).rejects.toMatchObject({ code: 'QB_PUNCH_FAILED', message: expect.stringContaining('nothing is left to try') as unknown })
      await transfer(near, far, 200_000, async () => {})
    }, { nats: [SYMMETRIC, SYMMETRIC] })
  })

  /** traversal T-101: strategies as code, in place of the matrix. */
  it('meet by a strategy of the user\'s, whose throw fails only its round', async () => {
    await town(async (place) => {
      const seen: string[] = []
      const strategy: TraversalOptions['strategy'] = function* ({ role, round, remote, relayRttMs }) {
        seen.push(`${role} ${round} ${remote.nat} ${relayRttMs === null}`)
        yield { do: 'hello', to: 'peer' }
        yield { do: 'tell-peer' }
        yield { do: 'wait', for: 'any', ms: 400 }
        yield { do: 'hello', to: 'peer', count: 5, everyMs: 100 }
        yield { do: 'wait', for: 'any', ms: 2000 }
      }
      const { near } = await meet(place, { near: { strategy, sources: ['stun', 'relay'] }, far: { auto: false, sources: ['stun', 'relay'] } })
      expect(await near.traversal.direct()).toMatchObject({ relayed: false })
      expect(seen[0]).toBe('client 1 restricted-port false')
    })
    await town(async (place) => {
      const failed: string[] = []
      const { near } = await meet(place, { near: { auto: false, sources: ['stun', 'relay'] }, far: { auto: false, sources: ['stun', 'relay'] } })
      near.events$.subscribe((event) => event.type === 'callback-failed' && failed.push(event.callback))
      await place.world.sleep(2000)
      const remotes: { seq: number; kind: string }[] = []
      near.traversal.addresses.remote$.subscribe((list) => remotes.splice(0, remotes.length, ...list))
      const mapped = remotes.find(({ kind }) => kind === 'mapped')
      await expect(near.traversal.puncher.punch(mapped as never, { strategy: () => { throw new Error('no idea') } })).rejects.toMatchObject({ code: 'QB_PUNCH_FAILED' })
      expect(failed).toEqual(['traversal.strategy'])
      expect(near.state).toBe('open')
    })
  })

  it('run the same way twice', async () => {
    const hash = (): Promise<string> => town(async (place) => {
      const { near } = await meet(place)
      await near.traversal.direct()
      return place.world.traceHash()
    }, { seed: 5 })
    expect(await hash()).toBe(await hash())
  })
})

describe.skipIf(!HAS_ALL)('a probe', () => {
  it('tells what stands before a socket, as it goes and at the end', async () => {
    await town(async ({ hosts, relay }) => {
      const endpoint = await hosts[0].bind()
      const probe = new NatProbe(endpoint, { servers: [relay.address] })
      const report = await probe.classify()
      expect(report).toMatchObject({ natted: true, local: endpoint.local[0], mapped: expect.stringMatching(/^198\.18\./) as unknown })
      const tests: string[] = []
      await new Promise<void>((complete, error) => probe.observations$.subscribe({ next: ({ test }) => tests.push(test), complete, error }))
      expect(tests).toEqual(report.observations.map(({ test }) => test))
    })
  })

  it('says so when no server answers', async () => {
    await town(async ({ hosts }) => {
      const probe = new NatProbe(await hosts[0].bind(), { servers: ['198.18.77.7:3478'] })
      await expect(probe.classify()).rejects.toMatchObject({ code: 'QB_NAT_NO_SERVER', value: ['198.18.77.7:3478'] })
    })
  })
})
