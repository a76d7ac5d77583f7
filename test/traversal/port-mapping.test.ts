/** The source 'port-mapping' (traversal T-68): a port of the gateway is asked for, told, renewed and released; what goes wrong is an event. */
import { describe, expect, it } from 'vitest'
import type { NativeQuestion } from '../../src/binding/messages.ts'
import type { Logger } from '../../src/config/index.ts'
import { systemPortMapper } from '../../src/nat/index.ts'
import { gatewayOf } from '../../src/nat/port-mapper.ts'
import { PortMappings } from '../../src/nat/port-mappings.ts'
import type { PortState } from '../../src/nat/port-mappings.ts'
import { locationIn } from '../../src/nat/upnp.ts'
import type { UpnpLibrary } from '../../src/nat/upnp.ts'
import { InterfaceWatch } from '../../src/path/index.ts'
import type { TraversalEvent, TraversalOptions } from '../../src/traversal/index.ts'
import { FakeClock } from '../fake/clock.ts'
import type { FakeConnection } from '../fake/connection.ts'
import type { FakeEndpoint } from '../fake/endpoint.ts'
import { connectedPair, turns, until, watchContract } from '../fake/pair.ts'
import type { Pair } from '../fake/pair.ts'
import { FEATURES, ordersOf } from './bench.ts'
import { FakeMapper, natPmpGateway, upnpGateway } from './gateway.ts'

watchContract()

type Announce = Extract<NativeQuestion, { ask: 'announce' }>

const REQUEST = { internal: ['127.0.0.1:5000'], protocol: 'udp', lifetimeMs: 7_200_000, external: null } as const
const STUN = '192.0.2.1:3478'
const PACKAGE: string = '@achingbrain/nat-port-mapper'
/** null: not installed here. */
const library: unknown = await import(PACKAGE).catch(() => null)

interface Meeting extends Pair {
  native: FakeEndpoint
  announced: Announce[]
  withdrawn: () => unknown[]
  events: TraversalEvent[]
}

async function meeting(mapper: FakeMapper, traversal: TraversalOptions, clock = new FakeClock()): Promise<Meeting> {
  const pair = await connectedPair({ features: FEATURES, connect: { traversal, paths: [{ local: '10.0.0.5:5000' }] }, endpoint: { local: '10.0.0.5:5000' }, at: '10.0.0.9:443', world: { clock, interfaces: () => [], portMapper: async () => mapper } })
  const native = pair.network.endpoints[1] as FakeEndpoint
  const side = native.connections.get(1) as FakeConnection
  const announced: Announce[] = []
  const events: TraversalEvent[] = []
  pair.near.traversal.events$.subscribe((event) => events.push(event))
  native.onAsk = (_key, question) => {
    if (question.ask !== 'announce') return null
    announced.push(question)
    return { seq: announced.length - 1 }
  }
  native.queue.event(1, { type: 'traversal', atMs: 5, state: 'on', profile: 'braid', reason: '' })
  await until(() => pair.near.traversal.state === 'on')
  return { ...pair, native, announced, events, withdrawn: () => side.orders.filter((order) => (order as { do: string }).do === 'withdraw') }
}

describe("the source 'port-mapping'", () => {
  it('tells the address at the gateway as mapped and open to everybody, and releases it with the connection', async () => {
    const mapper = new FakeMapper()
    const at = await meeting(mapper, { sources: ['port-mapping'] })
    await until(() => at.announced.length === 1)
    expect(mapper.asked).toEqual([{ internal: ['10.0.0.5:5000'], protocol: 'udp', lifetimeMs: 7_200_000, external: null }])
    expect(at.announced[0]).toMatchObject({ local: '10.0.0.5:5000', address: '198.51.100.7:5000', kind: 'mapped', nat: 'full-cone', relay: null, tier: 0 })
    await until(() => at.events.some(({ type }) => type === 'port-mapping'))
    expect(at.events.find(({ type }) => type === 'port-mapping')).toMatchObject({ local: '10.0.0.5:5000', state: 'mapped', external: '198.51.100.7:5000', reason: '' })
    at.near.destroy()
    await until(() => mapper.released.length === 1)
    await at.done()
  })

  it('tells an address that servers see too only once, as what the gateway opened', async () => {
    const at = await meeting(new FakeMapper(), { sources: ['stun', 'port-mapping'], stun: [STUN] })
    await until(() => at.announced.length === 1)
    for (const { ticket, local } of ordersOf(at.native, 'nat-keep')) at.native.queue.event(0, { type: 'nat-mapping', atMs: 1, ticket, local, mapped: '198.51.100.7:5000' })
    await turns(5)
    expect(at.announced.map(({ nat }) => nat)).toEqual(['full-cone'])
    for (const { ticket, local } of ordersOf(at.native, 'nat-keep')) at.native.queue.event(0, { type: 'nat-mapping', atMs: 1, ticket, local, mapped: '198.51.100.7:6000' })
    await until(() => at.announced.length === 2)
    expect(at.announced[1]).toMatchObject({ address: '198.51.100.7:6000', nat: 'restricted-port' })
    await at.done()
  })

  it('tells a refusal as an event and asks again; the connection goes on', async () => {
    const [mapper, clock] = [new FakeMapper(), new FakeClock()]
    mapper.refusal = 'it does not allow mappings'
    const at = await meeting(mapper, { sources: ['port-mapping'] }, clock)
    await until(() => at.events.some(({ type }) => type === 'port-mapping'))
    expect(at.events.find(({ type }) => type === 'port-mapping')).toMatchObject({ state: 'failed', external: null, reason: 'it does not allow mappings' })
    expect([at.announced, at.near.state]).toEqual([[], 'open'])
    mapper.refusal = null
    await clock.advance(30_000)
    await until(() => at.announced.length === 1)
    await at.done()
  })

  it('is asked for once for all connections of an endpoint', async () => {
    const mapper = new FakeMapper()
    const at = await meeting(mapper, { sources: ['port-mapping'] })
    await until(() => at.announced.length === 1)
    const other = await at.client.connect(at.server.local[0] ?? '', { alpn: 'test', ca: 'ca', paths: [{ local: '10.0.0.5:5000' }], traversal: { sources: ['port-mapping'] } })
    await turns(5)
    at.near.destroy()
    await turns(5)
    expect([mapper.asked.length, mapper.released.length]).toEqual([1, 0])
    other.destroy()
    await until(() => mapper.released.length === 1)
    await at.done()
  })

  it('is refused by name where there is no gateway', async () => {
    await expect(connectedPair({ features: FEATURES, connect: { traversal: { sources: ['port-mapping'] } }, world: { portMapper: null } })).rejects.toMatchObject({ code: 'QB_OPTION_INVALID', field: 'traversal.sources', message: expect.stringContaining("'port-mapping'") as unknown })
  })

  it('without its package is an error of connect that names what to install', async () => {
    const missing = systemPortMapper(Promise.reject(new Error('Cannot find package')))
    await expect(connectedPair({ features: FEATURES, connect: { traversal: { sources: ['port-mapping'] } }, world: { portMapper: () => missing } })).rejects.toMatchObject({ code: 'QB_OPTION_INVALID', field: 'traversal.sources', message: expect.stringContaining(`npm install ${PACKAGE}`) as unknown })
  })
})

describe('a mapping', () => {
  function watched(mapper: FakeMapper): { clock: FakeClock; states: PortState[]; stop: () => void } {
    const [clock, states] = [new FakeClock(), [] as PortState[]]
    const mappings = new PortMappings(async () => mapper, { clock, logger: {} as Logger, interfaces: new InterfaceWatch(() => [], clock) })
    return { clock, states, stop: mappings.watch(['10.0.0.5:5000'], (state) => states.push(state)) }
  }

  it('is renewed at half its lifetime, and tells only what is new', async () => {
    const mapper = new FakeMapper()
    const { clock, states, stop } = watched(mapper)
    await clock.advance(3_600_000)
    expect(mapper.asked.map(({ external }) => external)).toEqual([null, '198.51.100.7:5000', '198.51.100.7:5000'])
    mapper.external = '198.51.100.7:5001'
    await clock.advance(1_800_000)
    expect(states.map(({ external }) => external)).toEqual(['198.51.100.7:5000', '198.51.100.7:5001'])
    stop()
    await clock.advance(3_600_000)
    expect([mapper.released, mapper.asked.length]).toEqual([['198.51.100.7:5001'], 4])
  })

  it('that cannot be renewed is told as lost when its time is over, not before', async () => {
    const mapper = new FakeMapper()
    const { clock, states, stop } = watched(mapper)
    await clock.advance(0)
    mapper.refusal = 'it does not answer'
    await clock.advance(3_599_999)
    expect(states.map(({ state }) => state)).toEqual(['mapped'])
    await clock.advance(1)
    expect(states.at(-1)).toEqual({ state: 'lost', external: null, reason: 'it does not answer' })
    stop()
    expect(mapper.released).toEqual([])
  })

  it('that is granted when nobody wants it any more is given back', async () => {
    const mapper = new FakeMapper()
    const { clock, states, stop } = watched(mapper)
    stop()
    await clock.advance(0)
    expect([states, mapper.released]).toEqual([[], ['198.51.100.7:5000']])
  })
})

describe('the gateway of this host', () => {
  const none = { upnpNat: () => { throw new Error('not asked') } } as UpnpLibrary

  it('grants and takes back a port by NAT-PMP; what is no answer is passed over', async () => {
    const gateway = await natPmpGateway((answer) => [Buffer.alloc(0), Buffer.of(0), Buffer.alloc(16), answer.subarray(0, 9), answer])
    const mapper = await systemPortMapper(Promise.resolve(none), { natPmp: gateway.at, upnp: [] })
    const mapping = await mapper.map(REQUEST)
    expect(mapping).toMatchObject({ external: '198.51.100.9:5001', lifetimeMs: 3_600_000 })
    expect([...gateway.table]).toEqual([[5001, '5000, 3600']])
    await mapping.release()
    expect(gateway.table.size).toBe(0)
    await gateway.close()
  })

  it('is asked again by NAT-PMP when an answer is lost', async () => {
    const gateway = await natPmpGateway((answer, count) => (count % 2 === 0 ? [] : [answer]))
    const mapper = await systemPortMapper(Promise.resolve(none), { natPmp: gateway.at, upnp: [] })
    expect((await mapper.map(REQUEST)).external).toBe('198.51.100.9:5001')
    await gateway.close()
  })

  it('says why it does not', async () => {
    const gateway = await natPmpGateway((answer) => [Buffer.concat([answer.subarray(0, 2), Buffer.of(0, 2), answer.subarray(4)])])
    const ask = async (natPmp: string | null, internal = REQUEST.internal[0]): Promise<unknown> => (await systemPortMapper(Promise.resolve(none), { natPmp, upnp: [] })).map({ ...REQUEST, internal: [internal] })
    await expect(ask(gateway.at)).rejects.toThrow('it does not allow mappings')
    await expect(ask(gateway.at, '10.0.0.5:5000' as '127.0.0.1:5000')).rejects.toThrow('where the socket is not bound')
    await expect(ask(null)).rejects.toThrow('no gateway answers')
    await gateway.close()
  })

  it('is the one of the default route', () => {
    const route = (line: string): string => `Iface\tDestination\tGateway\tFlags\n${line}\n`
    expect(gatewayOf(route('eth0\t00000000\t0100A8C0\t0003'))).toBe('192.168.0.1:5351')
    expect(['', route('eth0\t0000A8C0\t00000000\t0001'), route('tun0\t00000000\t00000000\t0001'), route('x'), route('eth0\t00000000\tzz\t1')].map(gatewayOf)).toEqual([null, null, null, null, null])
  })

  it('describes itself at its own address, or not at all', () => {
    const answer = (location: string, st = 'urn:schemas-upnp-org:device:InternetGatewayDevice:2', status = '200 OK'): string => `HTTP/1.1 ${status}\r\nST: ${st}\r\nLocation: ${location}\r\n\r\n`
    expect(locationIn(answer('http://192.168.0.1:5000/root.xml'), '192.168.0.1')?.href).toBe('http://192.168.0.1:5000/root.xml')
    for (const wrong of ['', 'NOTIFY * HTTP/1.1\r\n', answer('http://192.168.0.2/'), answer('https://192.168.0.1/'), answer('no url'), answer('http://192.168.0.1/', 'ssdp:all'), answer('http://192.168.0.1/', undefined, '404 No')]) expect(locationIn(wrong, '192.168.0.1')).toBeNull()
  })

  it.skipIf(library === null)('grants and takes back a port by UPnP, through the library', async () => {
    const gateway = await upnpGateway()
    const mapper = await systemPortMapper(undefined, { natPmp: null, upnp: [new URL(gateway.at)] })
    const mapping = await mapper.map(REQUEST)
    expect(mapping).toMatchObject({ external: '198.51.100.9:20000', lifetimeMs: 7_200_000 })
    expect([...gateway.table]).toEqual([[20_000, '127.0.0.1:5000, 7200']])
    await mapping.release()
    expect(gateway.table.size).toBe(0)
    await gateway.close()
  })
})
