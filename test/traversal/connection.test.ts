/** `Connection.traversal` over the fake engine: which addresses are told, what is told of rounds, who gets which error (api 2.8, traversal §6 and §7). */
import { describe, expect, it } from 'vitest'
import type { NativePunchAddress, NativePunchContext } from '../../src/binding/index.ts'
import type { NativeOrder, NativeQuestion } from '../../src/binding/messages.ts'
import type { TraversalEvent, TraversalOptions } from '../../src/traversal/index.ts'
import type { FakeConnection } from '../fake/connection.ts'
import type { FakeEndpoint } from '../fake/endpoint.ts'
import { nativeError } from '../fake/records.ts'
import { connectedPair, turns, until, watchContract } from '../fake/pair.ts'
import type { Pair } from '../fake/pair.ts'
import { FEATURES, ordersOf } from './bench.ts'

watchContract()

type Announce = Extract<NativeQuestion, { ask: 'announce' }>

const THEIRS: NativePunchAddress = { seq: 3, kind: 'mapped', address: '203.0.113.5:7000', relay: null, tier: 0, nat: 'restricted-port' }
const OURS: NativePunchAddress = { seq: 0, kind: 'mapped', address: '198.51.100.7:5000', relay: null, tier: 0, nat: 'restricted-port' }
const CONTEXT: NativePunchContext = { role: 'client', as: 'active', local: { ...OURS, portStep: null }, remote: THEIRS, rttMs: 40, round: 1, portSearch: false }

interface Meeting extends Pair {
  native: FakeEndpoint
  side: FakeConnection
  announced: Announce[]
  events: TraversalEvent[]
  /** What the engine tells of the connection. */
  tell(event: object): void
  orders(): NativeOrder[]
  /** Servers see the socket so, each by its name. */
  seen(mapped: Record<string, string>): void
}

async function meeting(traversal: TraversalOptions = {}, refusals: Record<string, string> = {}): Promise<Meeting> {
  const pair = await connectedPair({ features: FEATURES, connect: { traversal }, endpoint: { local: '127.0.0.1:0' } })
  const native = pair.network.endpoints[1] as FakeEndpoint
  const side = native.connections.get(1) as FakeConnection
  const announced: Announce[] = []
  const events: TraversalEvent[] = []
  pair.near.traversal.events$.subscribe((event) => events.push(event))
  native.onAsk = (_key, question) => {
    if (question.ask === 'traversal') return { state: 'on', running: 0, probesSent: 7, local: [], remote: [] }
    if (question.ask !== 'announce') return null
    const refused = refusals[question.kind] ?? refusals[question.address]
    if (refused !== undefined) return { refused }
    announced.push(question)
    return { seq: announced.length - 1 }
  }
  return {
    ...pair, native, side, announced, events, orders: () => side.orders as NativeOrder[],
    tell: (event) => native.queue.event(1, { atMs: 5, ...event }),
    seen: (mapped) => {
      for (const { ticket, local, server } of ordersOf(native, 'nat-keep')) native.queue.event(0, { type: 'nat-mapping', atMs: 1, ticket, local, mapped: mapped[server] ?? null })
    },
  }
}

async function on(at: Meeting): Promise<void> {
  at.tell({ type: 'traversal', state: 'on', profile: 'braid', reason: '' })
  await until(() => at.near.traversal.state === 'on')
}

const STUN = ['192.0.2.1:3478', '192.0.2.2:3478']

describe('the traversal of a connection', () => {
  it('waits for the peer, and is off where that does not offer it', async () => {
    const at = await meeting({ sources: [] })
    expect(at.near.traversal.state).toBe('negotiating')
    at.tell({ type: 'traversal', state: 'off', profile: null, reason: 'the peer did not offer it' })
    await until(() => at.near.traversal.state === 'off')
    expect(() => at.near.traversal.addresses.announce('192.0.2.9:1')).toThrow(expect.objectContaining({ code: 'QB_TRAVERSAL_OFF', message: expect.stringContaining('did not offer') as unknown }))
    await at.done()
  })

  /** traversal T-73, T-75: the provisional kind is right towards every cone. */
  it('tells what servers see, as port-restricted where they agree and as symmetric where not', async () => {
    for (const [second, nat] of [['198.51.100.7:5000', 'restricted-port'], ['198.51.100.7:5001', 'symmetric']] as const) {
      const at = await meeting({ stun: STUN, sources: ['stun'] })
      await until(() => ordersOf(at.native, 'nat-keep').length === 2)
      await on(at)
      at.seen({ [STUN[0] ?? '']: '198.51.100.7:5000' })
      // One of two is silent as far as is known: no word about its NAT yet.
      await turns(3)
      at.seen({ [STUN[0] ?? '']: '198.51.100.7:5000', [STUN[1] ?? '']: second })
      await until(() => at.announced.length > 0 && at.announced.at(-1)?.nat === nat)
      expect(at.announced.at(-1)).toMatchObject({ address: '198.51.100.7:5000', kind: 'mapped', nat, relay: null, tier: 0 })
      await at.done()
    }
  })

  /** traversal T-78. */
  it('withdraws and tells again when the NAT turns out to be of another kind, once', async () => {
    const at = await meeting({ stun: STUN, sources: ['stun'] })
    await until(() => ordersOf(at.native, 'nat-keep').length === 2 && ordersOf(at.native, 'nat-detect').length === 1)
    await on(at)
    at.seen({ [STUN[0] ?? '']: '198.51.100.7:5000', [STUN[1] ?? '']: '198.51.100.7:5000' })
    await until(() => at.announced.length === 1)
    const [{ ticket, local, servers }] = ordersOf(at.native, 'nat-detect') as [Extract<NativeOrder, { do: 'nat-detect' }>]
    expect(servers).toEqual(STUN)
    const report = { kind: 'full-cone', mapping: 'endpoint-independent', filtering: 'endpoint-independent', hairpin: null, ports: { allocation: 'preserving', step: null }, afterContact: 'keeps', mappingLifeMs: null, local, mapped: '198.51.100.7:5000', natted: true, observations: [] }
    at.native.queue.event(0, { type: 'nat-report', atMs: 9, ticket, report })
    await until(() => at.announced.length === 2)
    expect(at.announced[1]).toMatchObject({ nat: 'full-cone' })
    expect(at.orders()).toContainEqual({ do: 'withdraw', seq: 0 })
    expect(at.events).toContainEqual({ atMs: 0, type: 'nat', report })
    at.seen({ [STUN[0] ?? '']: '198.51.100.7:5000', [STUN[1] ?? '']: '198.51.100.7:5000' })
    await turns(5)
    expect(at.announced.length).toBe(2)
    await at.done()
  })

  /** traversal T-78: an engine that withdraws in its next turn takes the same address for a duplicate until then. */
  it('tells again what was a duplicate when that is withdrawn', async () => {
    const refusals: Record<string, string> = {}
    const at = await meeting({ stun: STUN, sources: ['stun'] }, refusals)
    await until(() => ordersOf(at.native, 'nat-keep').length === 2)
    await on(at)
    at.seen({ [STUN[0] ?? '']: '198.51.100.7:5000', [STUN[1] ?? '']: '198.51.100.7:5000' })
    await until(() => at.announced.length === 1)
    refusals['198.51.100.7:5000'] = 'duplicate'
    at.seen({ [STUN[0] ?? '']: '198.51.100.7:5000', [STUN[1] ?? '']: '198.51.100.7:5001' })
    await until(() => at.orders().some((order) => order.do === 'withdraw'))
    delete refusals['198.51.100.7:5000']
    await turns(5)
    expect(at.announced.length).toBe(1)
    at.tell({ type: 'punch-address', side: 'local', change: 'removed', address: OURS })
    await until(() => at.announced.length === 2)
    expect(at.announced[1]).toMatchObject({ address: '198.51.100.7:5000', nat: 'symmetric' })
    await at.done()
  })

  it('throws nowhere when an address is to be withdrawn from a connection whose end is not told yet', async () => {
    const at = await meeting({ stun: [STUN[0] ?? ''], sources: ['stun'] })
    await until(() => ordersOf(at.native, 'nat-keep').length === 1)
    await on(at)
    at.seen({ [STUN[0] ?? '']: '198.51.100.7:5000' })
    await until(() => at.announced.length === 1)
    const tell = at.native.tell.bind(at.native)
    let tries = 0
    at.native.tell = (key, json) => {
      if (key === 0) return tell(key, json)
      tries += 1
      throw nativeError({ code: 'QB_CONNECTION_CLOSED', message: 'the connection has ended' })
    }
    at.seen({ [STUN[0] ?? '']: '198.51.100.7:6000' })
    await until(() => tries === 1)
    at.native.tell = tell
    await turns(3)
    await at.done()
  })

  it('tells another mapping when the NAT has made one, and none that nobody vouches for', async () => {
    const at = await meeting({ stun: [STUN[0] ?? ''], sources: ['stun'] })
    await until(() => ordersOf(at.native, 'nat-keep').length === 1)
    await on(at)
    at.seen({ [STUN[0] ?? '']: '198.51.100.7:5000' })
    await until(() => at.announced.length === 1)
    at.seen({ [STUN[0] ?? '']: '198.51.100.7:6000' })
    await until(() => at.announced.length === 2)
    expect(at.orders()).toContainEqual({ do: 'withdraw', seq: 0 })
    at.seen({})
    await until(() => at.orders().some((order) => order.do === 'withdraw' && order.seq === 1))
    expect(at.announced.map(({ address }) => address)).toEqual(['198.51.100.7:5000', '198.51.100.7:6000'])
    await at.done()
  })

  it('tells addresses of the host only from sources that are asked for; loopback among loopback', async () => {
    const at = await meeting({ sources: ['host'] })
    await on(at)
    await until(() => at.announced.length === 1)
    expect(at.announced[0]).toMatchObject({ address: at.client.local[0], kind: 'host', nat: 'full-cone' })
    expect(ordersOf(at.native, 'nat-keep')).toEqual([])
    await at.done()
  })

  /** traversal T-79: what was refused as private is told when the peer may be of our site. */
  it('asks again about what was private when the peer tells another address', async () => {
    const refusals: Record<string, string> = { host: 'private' }
    const at = await meeting({ sources: ['host'] }, refusals)
    await on(at)
    await turns(3)
    expect(at.announced).toEqual([])
    delete refusals['host']
    at.tell({ type: 'punch-address', side: 'remote', change: 'added', address: THEIRS })
    await until(() => at.announced.length === 1)
    await at.done()
  })

  it('has an address book that follows the engine, and takes addresses by hand', async () => {
    const at = await meeting({ sources: [] })
    const { addresses } = at.near.traversal
    await on(at)
    const seen: number[][] = []
    addresses.remote$.subscribe((list) => seen.push(list.map(({ seq }) => seq)))
    at.tell({ type: 'punch-address', side: 'remote', change: 'added', address: THEIRS })
    at.tell({ type: 'punch-address', side: 'remote', change: 'removed', address: THEIRS })
    await until(() => seen.length === 3)
    expect(seen).toEqual([[], [3], []])
    expect(addresses.announce('198.51.100.9:4000', { tier: 2, nat: 'restricted-cone' })).toEqual({ kind: 'mapped', address: '198.51.100.9:4000', relay: null, tier: 2, nat: 'restricted-cone', seq: 0 })
    addresses.withdraw(0)
    expect(at.orders().at(-1)).toEqual({ do: 'withdraw', seq: 0 })
    for (const bad of [['x'], ['1.2.3.4'], ['1.2.3.4:5', { tier: -1 }], ['1.2.3.4:5', { nat: 'odd' }], ['[2001:db8::1]:5']] as const) {
      expect(() => addresses.announce(...(bad as unknown as [string])), String(bad[0])).toThrow(expect.objectContaining({ code: 'QB_OPTION_INVALID' }))
    }
    await at.done()
  })

  it('says why an address cannot be told', async () => {
    for (const [why, code] of [['duplicate', 'QB_OPTION_INVALID'], ['private', 'QB_PUNCH_FORBIDDEN'], ['full', 'QB_PUNCH_BUDGET'], ['off', 'QB_TRAVERSAL_OFF'], ['unknown-local', 'QB_OPTION_INVALID']] as const) {
      const at = await meeting({ sources: [] }, { '10.0.0.1:5': why })
      await on(at)
      expect(() => at.near.traversal.addresses.announce('10.0.0.1:5')).toThrow(expect.objectContaining({ code }))
      await at.done()
    }
  })
})

describe('a punch by hand', () => {
  it('resolves with the direct path that comes of it', async () => {
    const at = await meeting({ sources: [], auto: false })
    await on(at)
    at.tell({ type: 'punch-address', side: 'remote', change: 'added', address: THEIRS })
    await turns(2)
    const { puncher } = at.near.traversal
    const punching = puncher.punch({ ...THEIRS })
    await until(() => at.orders().some((order) => order.do === 'punch'))
    expect(at.orders().at(-1)).toEqual({ do: 'punch', ticket: 1, remote: 3, own: false })
    at.tell({ type: 'punch-round', localSeq: 0, remoteSeq: 3, as: 'active', state: 'started', number: 1, plan: 'A6', probes: 0, reason: '' })
    await until(() => puncher.running === 1)
    at.tell({ type: 'punch-round', localSeq: 0, remoteSeq: 3, as: 'active', state: 'done', number: 1, plan: 'A6', probes: 2, reason: 'hello' })
    expect(await punching).toMatchObject({ id: 0, relayed: false })
    expect([puncher.running, puncher.probesSent]).toEqual([0, 7])
    expect(at.events.filter(({ type }) => type === 'round')).toEqual([
      { atMs: 5, type: 'round', state: 'started', punch: '0-3', as: 'active', plan: 'A6', probes: 0, reason: '' }, { atMs: 5, type: 'round', state: 'done', punch: '0-3', as: 'active', plan: 'A6', probes: 2, reason: 'hello' },
    ])
    await at.done()
  })

  it('fails with the code of what stood in its way', async () => {
    const at = await meeting({ sources: [] })
    await on(at)
    at.tell({ type: 'punch-address', side: 'remote', change: 'added', address: THEIRS })
    await turns(2)
    const { puncher } = at.near.traversal
    await expect(puncher.punch({ ...THEIRS, seq: 9 })).rejects.toMatchObject({ code: 'QB_OPTION_INVALID' })
    for (const [reason, code] of [['silence', 'QB_PUNCH_FAILED'], ['probe budget is spent', 'QB_PUNCH_BUDGET'], ['address must not be probed', 'QB_PUNCH_FORBIDDEN'], ['nothing to try between these NATs', 'QB_PUNCH_FAILED']] as const) {
      const failing = puncher.punch(THEIRS)
      at.tell({ type: 'punch-round', localSeq: 0, remoteSeq: 3, as: 'active', state: 'failed', number: 1, plan: 'A6', probes: 5, reason })
      await expect(failing).rejects.toMatchObject({ code })
    }
    const before = at.orders().filter((order) => order.do === 'punch').length
    const none = puncher.punch(THEIRS)
    await until(() => at.orders().filter((order) => order.do === 'punch').length === before + 1)
    at.tell({ type: 'punch-refused', ticket: before + 1, reason: 'no-pair' })
    await expect(none).rejects.toMatchObject({ code: 'QB_PUNCH_FAILED' })
    await at.done()
  })

  it('given up cancels its round; the end of the connection ends it', async () => {
    const at = await meeting({ sources: [] })
    await on(at)
    at.tell({ type: 'punch-address', side: 'remote', change: 'added', address: THEIRS })
    await turns(2)
    const { puncher } = at.near.traversal
    const abort = new AbortController()
    const given = puncher.punch(THEIRS, { signal: abort.signal })
    at.tell({ type: 'punch-round', localSeq: 0, remoteSeq: 3, as: 'active', state: 'started', number: 1, plan: 'A6', probes: 0, reason: '' })
    await until(() => puncher.running === 1)
    const reason = new Error('enough')
    abort.abort(reason)
    await expect(given).rejects.toBe(reason)
    expect(at.orders().at(-1)).toEqual({ do: 'punch-cancel', localSeq: 0, remoteSeq: 3 })
    const other = puncher.punch(THEIRS)
    at.near.destroy()
    await expect(other).rejects.toMatchObject({ code: 'QB_CONNECTION_DESTROYED' })
    await at.done()
  })

  it('may have a strategy of its own, whose steps go to the engine; what it throws ends the round', async () => {
    const at = await meeting({ sources: [] })
    const failed: unknown[] = []
    at.near.events$.subscribe((event) => event.type === 'callback-failed' && failed.push(event.callback))
    await on(at)
    at.tell({ type: 'punch-address', side: 'remote', change: 'added', address: THEIRS })
    await turns(2)
    const contexts: unknown[] = []
    const punching = at.near.traversal.puncher.punch(THEIRS, { strategy: function* (context) {
      contexts.push({ role: context.role, remote: context.remote.address, round: context.round, random: context.random() < 1 })
      yield { do: 'tell-peer' }
      throw new Error('no idea')
    } })
    await until(() => at.orders().some((order) => order.do === 'punch' && order.own))
    at.tell({ type: 'punch-round', localSeq: 0, remoteSeq: 3, as: 'active', state: 'started', number: 1, plan: 'own', probes: 0, reason: '' })
    at.tell({ type: 'punch-wants-steps', localSeq: 0, remoteSeq: 3, context: CONTEXT })
    await until(() => at.orders().some((order) => order.do === 'punch-steps'))
    expect(at.orders().at(-1)).toEqual({ do: 'punch-steps', localSeq: 0, remoteSeq: 3, steps: [], more: false })
    at.tell({ type: 'punch-round', localSeq: 0, remoteSeq: 3, as: 'active', state: 'failed', number: 1, plan: 'own', probes: 0, reason: 'silence' })
    await expect(punching).rejects.toMatchObject({ code: 'QB_PUNCH_FAILED' })
    expect([contexts, failed]).toEqual([[{ role: 'client', remote: THEIRS.address, round: 1, random: true }], ['traversal.strategy']])
    await at.done()
  })

  it('asks the strategy of the options for the peer\'s rounds too, batch by batch', async () => {
    const at = await meeting({ sources: [], strategy: async function* () {
      yield { do: 'hello', to: 'peer' }
      yield { do: 'wait', for: 'any', ms: 50 }
    } })
    await on(at)
    at.tell({ type: 'punch-round', localSeq: 0, remoteSeq: 3, as: 'passive', state: 'started', number: 1, plan: 'own', probes: 0, reason: '' })
    const batches = (): NativeOrder[] => at.orders().filter((order) => order.do === 'punch-steps')
    for (const count of [1, 2, 3]) {
      at.tell({ type: 'punch-wants-steps', localSeq: 0, remoteSeq: 3, context: { ...CONTEXT, as: 'passive' } })
      await until(() => batches().length === count)
    }
    expect(batches().map((order) => (order.do === 'punch-steps' ? [order.steps.map((step) => step.do), order.more] : null))).toEqual([[['hello'], true], [['wait'], true], [[], false]])
    await at.done()
  })
})
