/** Registrations with relays (traversal T-33, T-35): who is let in, what the engine hears, renewals, losses, and strangers. */
import { describe, expect, it } from 'vitest'
import { encodeRelayFrame, RELAY_ALPN } from '../../src/nat/index.ts'
import { registerRelay } from '../../src/traversal/index.ts'
import { codeOf, until, watchContract } from '../fake/pair.ts'
import { bench, ordersOf, seenAs } from './bench.ts'

watchContract()

const OUTER = '198.51.100.7:5000'

describe('registering with a relay', () => {
  /** traversal T-35. */
  it('tells the relay\'s engine whom to forward to, and ours which relay knows us', async () => {
    const at = bench()
    const asked: unknown[] = []
    const { relay, native: atRelay } = await at.relay({ authorize: (client) => void asked.push(client), registrationMs: 30_000 })
    const { endpoint, native } = at.endpoint()
    seenAs(native, OUTER)
    const { address } = await registerRelay(endpoint, relay.address, { token: Buffer.from('key'), tls: { ca: 'ca' } })
    const [local = ''] = endpoint.local
    // The reply names the address that the relay's own connection has, which is what counts.
    expect(address).toBe(`${relay.address}-${local}`)
    expect(asked).toEqual([{ address: local, token: Uint8Array.from(Buffer.from('key')), peer: null }])
    expect(ordersOf(atRelay, 'relay-admit')).toEqual([{ do: 'relay-admit', client: local, forMs: 30_000 }])
    expect(ordersOf(native, 'register')[0]).toEqual({ do: 'register', local, relay: relay.address, outer: OUTER })
    expect(native.connects[0]).toMatchObject({ tls: { alpn: [RELAY_ALPN] }, transport: { multipath: 'off' }, paths: [{ local }] })
    await at.done()
  })

  it('needs no STUN where the relay answers none: its reply says the same', async () => {
    const at = bench()
    const { relay } = await at.relay()
    const { endpoint, native } = at.endpoint()
    seenAs(native, null)
    const { address } = await registerRelay(endpoint, relay.address, { tls: { ca: 'ca' } })
    expect(address).toBe(`${relay.address}-${endpoint.local[0]}`)
    await at.done()
  })

  it('is refused by a throw, a rejection, and silence; with a reason, and nothing is admitted', async () => {
    for (const authorize of [() => { throw new Error('who?') }, async () => { throw new Error('who?') }]) {
      const at = bench()
      const { relay, native: atRelay } = await at.relay({ authorize })
      const { endpoint, native } = at.endpoint()
      seenAs(native, OUTER)
      const refused = registerRelay(endpoint, relay.address, { tls: { ca: 'ca' } })
      await expect(refused).rejects.toMatchObject({ code: 'QB_RELAY_REFUSED', value: { relay: relay.address, reason: 'not welcome' } })
      await expect(refused).rejects.not.toThrow(/who\?/)
      expect(ordersOf(atRelay, 'relay-admit')).toEqual([])
      expect(ordersOf(native, 'unregister').length).toBe(ordersOf(native, 'register').length)
      await at.done()
    }
  })

  it('ends with the last who wants it: the relay forgets, the engine too', async () => {
    const at = bench()
    const { relay, native: atRelay } = await at.relay()
    const { endpoint, native } = at.endpoint()
    seenAs(native, OUTER)
    const [one, two] = [await registerRelay(endpoint, relay.address, { tls: { ca: 'ca' } }), await registerRelay(endpoint, relay.address)]
    expect([one.address, native.connects.length]).toEqual([two.address, 1])
    await one.stop()
    await one.stop()
    expect(ordersOf(native, 'unregister')).toEqual([])
    await two.stop()
    await until(() => ordersOf(atRelay, 'relay-forget').length === 1)
    expect(ordersOf(native, 'unregister').at(-1)).toMatchObject({ relay: relay.address })
    expect(endpoint.connections.size).toBe(0)
    await at.done()
  })

  it('renews itself before it runs out, and every renewal is judged', async () => {
    const at = bench()
    let welcome = true
    let judged = 0
    const { relay, native: atRelay } = await at.relay({ registrationMs: 10_000, authorize: () => {
      judged += 1
      if (!welcome) throw new Error('not any more')
    } })
    const { endpoint, native } = at.endpoint()
    seenAs(native, OUTER)
    const held = await registerRelay(endpoint, relay.address, { tls: { ca: 'ca' } })
    await at.clock.advance(5000)
    await until(() => ordersOf(atRelay, 'relay-admit').length === 2)
    welcome = false
    await until(() => at.clock.size === 1)
    await at.clock.advance(5000)
    await until(() => ordersOf(atRelay, 'relay-forget').length === 1)
    await until(() => ordersOf(native, 'unregister').length > 0)
    expect(judged).toBe(3)
    await held.stop()
    await at.done()
  })

  it('is made again after the relay was lost, with growing pauses, and stays the same to those who hold it', async () => {
    const at = bench()
    const first = await at.relay()
    const { endpoint, native } = at.endpoint()
    seenAs(native, OUTER)
    const held = await registerRelay(endpoint, first.relay.address, { tls: { ca: 'ca' } })
    const { address } = held
    await first.relay.close()
    first.endpoint.destroy()
    await first.endpoint.closed
    await until(() => ordersOf(native, 'unregister').length > 0 && endpoint.connections.size === 0)
    expect(held.address).toBe(address)
    for (const ms of [1000, 2000]) {
      const before = native.connects.length
      await at.clock.advance(ms - 1)
      expect(native.connects.length).toBe(before)
      await at.clock.advance(1)
      await until(() => native.connects.length === before + 1 && at.clock.size === 1)
    }
    const port = Number(address.split('-')[0]?.split(':')[1])
    const again = at.endpoint({ local: `127.0.0.1:${port}` })
    const { Relay } = await import('../../src/traversal/index.ts')
    again.native.onAsk = () => ({ stun: null, relay: null })
    const relay = await Relay.listen({ tls: { cert: 'cert', key: 'key' }, authorize: () => {} }, again.endpoint)
    await at.clock.advance(4000)
    await until(() => ordersOf(again.native, 'relay-admit').length === 1)
    expect(relay.address).toBe(first.relay.address)
    await at.done()
  })

  it('follows a mapping that changes: the relay is asked anew, the engine told', async () => {
    const at = bench()
    const { relay, native: atRelay } = await at.relay()
    const { endpoint, native } = at.endpoint()
    seenAs(native, endpoint.local[0] ?? '')
    await registerRelay(endpoint, relay.address, { tls: { ca: 'ca' } })
    await until(() => ordersOf(native, 'nat-keep').length === 1)
    const { ticket, local } = ordersOf(native, 'nat-keep')[0] ?? { ticket: 0, local: '' }
    native.queue.event(0, { type: 'nat-mapping', atMs: 9, ticket, local, mapped: '198.51.100.7:6000' })
    await until(() => ordersOf(native, 'register').some(({ outer }) => outer === '198.51.100.7:6000') && ordersOf(atRelay, 'relay-admit').length === 2)
    await at.done()
  })

  /** traversal T-36, attacks G11: the relay is told whose it was; nobody moves what another holds. */
  it('moves with the connection that holds it, and takes nothing from a client that has its address since', async () => {
    const at = bench()
    const { native: atRelay, relay } = await at.relay({ registrationMs: 30_000 })
    const held: string[] = []
    for (let count = 0; count < 2; count++) {
      const { endpoint, native } = at.endpoint()
      seenAs(native, null)
      await registerRelay(endpoint, relay.address, { tls: { ca: 'ca' } })
      held.push(endpoint.local[0] ?? '')
    }
    const [first = '', second = ''] = held
    const [one, other] = [...atRelay.connections.values()]
    const moveTo = (connection: typeof one, remote: string): void => {
      if (connection !== undefined) at.network.path(connection, 0, 'open', null, { type: 'rebound', by: 'peer', local: '127.0.0.1:1', remote }, {}, { remote })
    }
    const told = (): unknown[] => atRelay.orders.flatMap((order): unknown[] => (order.do === 'relay-admit' ? [[order.client, order.formerly]] : order.do === 'relay-forget' ? [order.client] : []))
    expect(told()).toEqual([[first, undefined], [second, undefined]])
    moveTo(one, '198.51.100.7:6000')
    await until(() => told().length === 3)
    // The NAT gives the second client the address of the first, which then is mapped anew: it moves nothing along.
    moveTo(other, '198.51.100.7:6000')
    await until(() => told().length === 5)
    moveTo(one, '198.51.100.7:6001')
    await until(() => told().length === 6)
    expect(told().slice(2)).toEqual([['198.51.100.7:6000', first], '198.51.100.7:6000', ['198.51.100.7:6000', second], ['198.51.100.7:6001', undefined]])
    await at.done()
  })

  it('can be given up; nothing is left then', async () => {
    const at = bench()
    const { relay } = await at.relay()
    const { endpoint, native } = at.endpoint()
    at.network.hold()
    const abort = new AbortController()
    const waiting = registerRelay(endpoint, relay.address, { tls: { ca: 'ca' }, signal: abort.signal })
    const reason = new Error('enough')
    abort.abort(reason)
    await expect(waiting).rejects.toBe(reason)
    at.network.release()
    await until(() => endpoint.connections.size === 0)
    expect(ordersOf(native, 'register')).toEqual([])
    await at.done()
  })

  it('tells what is wrong with its options before anything is sent', async () => {
    const at = bench()
    const { endpoint, native } = at.endpoint()
    expect(await codeOf(registerRelay(endpoint, 'host'))).toBe('QB_OPTION_INVALID')
    expect(await codeOf(registerRelay(endpoint, 'host:1', { token: 'text' as never }))).toBe('QB_OPTION_INVALID')
    expect(await codeOf(registerRelay(endpoint, 'host:1', { tls: { alpn2: 'x' } as never }))).toBe('QB_OPTION_UNKNOWN')
    expect(await codeOf(registerRelay({} as never, 'host:1'))).toBe('QB_OPTION_INVALID')
    expect(native.connects).toEqual([])
    await at.done()
  })
})

describe('a relay', () => {
  it('serves STUN and forwards by what it was told; its numbers have the words of the contract', async () => {
    const at = bench()
    const { relay, native, endpoint } = await at.relay({ rateBitsPerSecPerClient: 8e6, allowPrivateTargets: true })
    expect(ordersOf(native, 'stun-serve')).toEqual([{ do: 'stun-serve', config: { sockets: [...endpoint.local], neighbours: [], forms: ['rfc5780', 'dquic', 'dquic-0.5'] } }])
    expect(ordersOf(native, 'relay-serve')).toEqual([{ do: 'relay-serve', config: { agent: [...endpoint.local], allow: [], allowPrivate: true, bytesPerSecond: 1e6, burstBytes: 196_608 } }])
    expect(relay.statistics()).toEqual({ registrations: 1, forwardedDatagrams: 2, forwardedBytes: 3, drops: { unregistered: 3, private: 0, rate: 0, 'too-large': 5, loop: 4 } })
    const seen: number[] = []
    let complete = false
    relay.metrics$.subscribe({ next: ({ forwardedBytes }) => seen.push(forwardedBytes), complete: () => { complete = true } })
    await relay.close()
    expect([seen.at(-1), complete, endpoint.listening]).toEqual([3, true, false])
    expect(ordersOf(native, 'relay-serve').at(-1)).toEqual({ do: 'relay-serve', config: null })
    expect(relay.statistics().forwardedBytes).toBe(3)
    await at.done()
  })

  it('is never open: without `authorize` it is none', async () => {
    const at = bench()
    expect(await codeOf(at.relay({ authorize: undefined as never }))).toBe('QB_OPTION_INVALID')
    expect(await codeOf(at.relay({ registrationMs: 10 }))).toBe('QB_OPTION_INVALID')
    expect(await codeOf(at.relay({ listen: '127.0.0.1:1' }))).toBe('QB_OPTION_INVALID')
    expect(await codeOf(at.relay({ alternate: '127.0.0.1:9' }))).toBe('QB_OPTION_INVALID')
    await at.done()
  })

  /** attacks R1. */
  it('ends the connection of who speaks something else, and serves the others', async () => {
    const at = bench()
    const { relay } = await at.relay()
    const { endpoint } = at.endpoint()
    for (const bytes of [Buffer.from('GET / HTTP/1.1\r\n\r\n'), encodeRelayFrame({ type: 'registered', forMs: 1, outer: OUTER }), Buffer.alloc(5000, 0xff), Buffer.from('000101', 'hex')]) {
      const connection = await endpoint.connect(relay.address, { alpn: RELAY_ALPN, ca: 'ca' })
      const stream = await connection.openBidirectional()
      stream.write(bytes)
      expect(await connection.closed).toMatchObject({ by: 'peer', errorCode: 1n })
    }
    const many = await endpoint.connect(relay.address, { alpn: RELAY_ALPN, ca: 'ca' })
    const stream = await many.openBidirectional()
    stream.write(Buffer.concat(Array.from({ length: 40 }, () => encodeRelayFrame({ type: 'register', token: null }))))
    expect(await many.closed).toMatchObject({ by: 'peer', errorCode: 1n })
    seenAs(at.network.endpoints[1] as never, OUTER)
    await registerRelay(endpoint, relay.address, { tls: { ca: 'ca' } })
    await at.done()
  })
})
