/** Rules of docs/spec/reverse.md about who is accepted at a public end, in virtual time, with private ends that say what the test says. */
import { describe, expect, it } from 'vitest'
import type { PeerIdentity } from '../../src/index.ts'
import { REVERSE_ALPN, reverseListen } from '../../src/reverse/index.ts'
import type { ReverseListenOptions } from '../../src/reverse/index.ts'
import { encodeMessage } from '../../src/reverse/messages.ts'
import { TUNNEL_ALPN, TunnelManager } from '../../src/tunnel/index.ts'
import { codeOf } from '../fake/pair.ts'
import { MODULE_BUILT } from '../native/built.ts'
import { ask, hello, inReverseWorld } from './world.ts'
import type { Caller, ReverseWorld } from './world.ts'

/** What a private end gets that is not accepted: REFUSE, if it came, and CLOSE. */
async function refused({ connection, hear }: Caller): Promise<{ code: bigint | null; closed: bigint }> {
  const message = await hear().catch(() => null)
  const info = await connection.closed
  return { code: message?.type === 'refuse' ? message.code : null, closed: info.errorCode }
}

const nothingLeft = ({ listener }: ReverseWorld): unknown => {
  const { pending, connections, draining, streamsOpen, waiting } = listener.statistics()
  return { pending, connections, draining, streamsOpen, waiting }
}
const NOTHING = { pending: 0, connections: 0, draining: 0, streamsOpen: 0, waiting: 0 }

describe.skipIf(!MODULE_BUILT)('a public end', { timeout: 60_000 }, () => {
  /** reverse V1, V4 */
  it('sends requests to who has dialled it', async () => {
    await inReverseWorld(async ({ listener, join, events }) => {
      const { accepted, requests } = await join('web')
      expect(accepted).toEqual({ type: 'accept', key: 'web', pingMs: 15_000, maxPerKey: 256 })
      const stream = await listener.pool().request('web', { waitForMs: 1000 })
      expect([stream.id, stream.initiated, stream.connection.requester]).toEqual([1n, 'local', 'local'])
      expect(await ask(stream, 'hello')).toBe('hello')
      expect(requests.map(({ id, initiated }) => [id, initiated])).toEqual([[1n, 'peer']])
      expect(events.map(({ type, key, service, reason, size }) => [type, key, service, reason, size])).toEqual([['accepted', 'web', 'web', null, 1]])
    })
  })

  /** reverse V4 */
  it.each([
    ['is malformed', Buffer.from('000105', 'hex')],
    ['is longer than 4 KiB', Buffer.concat([Buffer.from('1001', 'hex'), Buffer.alloc(100)])],
    ['is not HELLO', encodeMessage({ type: 'goaway', code: 0n, text: '', streams: null })],
    ['has another version', encodeMessage({ type: 'hello', version: 2, service: 'web', pool: 1 })],
  ])('ends a connection whose first message %s', async (_, bytes) => {
    await inReverseWorld(async (world) => {
      const caller = await world.call()
      caller.control.stream.write(bytes)
      expect(await refused(caller)).toEqual({ code: 1n, closed: 1n })
      expect([world.listener.statistics().refused, nothingLeft(world)]).toEqual([{ protocol: 1 }, NOTHING])
    })
  })

  /** reverse V4 */
  it('ends a connection that says something else after ACCEPT, or whose control stream is reset', async () => {
    await inReverseWorld(async ({ listener, join }) => {
      const [chatty, silent] = [await join('web'), await join('web')]
      await chatty.say(hello())
      silent.control.stream.reset(9)
      expect([(await chatty.connection.closed).errorCode, (await silent.connection.closed).errorCode]).toEqual([1n, 1n])
      expect(listener.pool('web').size).toBe(0)
    })
  })

  /** reverse V5; attacks H6 */
  it('attack H6: refuses who shows no certificate even for a name that would be allowed', async () => {
    let asked = 0
    await inReverseWorld(async (world) => {
      const caller = await world.call({ names: null })
      await caller.say(hello('web'))
      expect(await refused(caller)).toEqual({ code: 2n, closed: 2n })
      expect([asked, nothingLeft(world), world.events.map(({ type, reason, service }) => [type, reason, service])]).toEqual([0, NOTHING, [['refused', 'auth', 'web']]])
    }, { listen: { accept: () => void (asked += 1), poolKey: () => 'web' } })
  })

  /** reverse V5 */
  it('refuses a certificate that nobody trusts in the handshake', async () => {
    await inReverseWorld(async ({ call }) => {
      const result = await call({ names: ['stranger'] }).then(({ connection }) => connection.closed.then(({ error }) => error), (error: unknown) => error)
      expect(result).toMatchObject({ code: 'QB_TLS_ALERT' })
    })
  })

  /** reverse V40; attacks H6 */
  it('attack H6: refuses a name that the certificate does not stand for', async () => {
    await inReverseWorld(async (world) => {
      const caller = await world.call({ names: ['other'] })
      await caller.say(hello('web'))
      expect(await refused(caller)).toEqual({ code: 3n, closed: 3n })
      expect([world.listener.pool('web').size, nothingLeft(world)]).toEqual([0, NOTHING])
    })
  })

  /** attacks H6 */
  it('attack H6: ends a connection with a name of 64 KiB before it has all of it', async () => {
    await inReverseWorld(async (world) => {
      const caller = await world.call()
      const name = Buffer.alloc(65_535, 'x')
      caller.control.stream.write(Buffer.concat([Buffer.from('ffff', 'hex'), Buffer.from('0102ffff', 'hex'), name]))
      expect(await refused(caller)).toEqual({ code: 1n, closed: 1n })
      expect(nothingLeft(world)).toEqual(NOTHING)
    })
  })

  /** reverse V42; attacks H6 */
  it('attack H6: takes connections with one name for one pool up to its limit', async () => {
    await inReverseWorld(async ({ listener, join, call }) => {
      await join('web')
      await join('web')
      const third = await call()
      await third.say(hello('web'))
      expect(await refused(third)).toEqual({ code: 4n, closed: 4n })
      expect([listener.pool('web').size, listener.pool().size, listener.statistics().refused]).toEqual([2, 2, { full: 1 }])
    }, { listen: { limits: { maxPerKey: 2 } } })
  })

  /** reverse V22; attacks H6 */
  it('attack H6: ends who registers and never allows a stream', async () => {
    await inReverseWorld(async (world) => {
      const { listener, join, events } = world
      const since = world.world.nowMs
      const { connection } = await join('web', { streams: 0 })
      expect([listener.pool('web').size, await codeOf(listener.pool().request('web'))]).toEqual([0, 'QB_REVERSE_NO_CONNECTION'])
      expect((await connection.closed).errorCode).toBe(6n)
      expect(world.world.nowMs - since).toBeCloseTo(5050, -2)
      await world.world.sleep(0)
      expect([nothingLeft(world), events.map(({ type, reason }) => [type, reason])]).toEqual([NOTHING, [['refused', 'timeout']]])
    })
  })

  /** reverse V51 */
  it('ends who opens a connection and says nothing, or not all of HELLO', async () => {
    await inReverseWorld(async (world) => {
      const { near, to, tls, identity, call } = world
      const { cert, key } = identity('web')
      const mute = await near.connect(to, { alpn: REVERSE_ALPN, ca: tls.ca, serverName: 'server', cert, key })
      const slow = await call()
      slow.control.stream.write(encodeMessage(hello()).subarray(0, 10))
      const infos = await Promise.all([mute.closed, slow.connection.closed])
      expect(infos.map(({ errorCode }) => errorCode)).toEqual([6n, 6n])
      expect(world.world.nowMs).toBeCloseTo(5060, -2)
      await world.world.sleep(100)
      expect([nothingLeft(world), world.listener.statistics().refused]).toEqual([NOTHING, { timeout: 2 }])
    })
  })

  /** reverse V26 */
  it.each<[string, Partial<ReverseListenOptions>, bigint]>([
    ['accept throws', { accept: () => { throw new Error('not today') } }, 2n],
    ['accept rejects late', { accept: async () => { await Promise.resolve(); throw new Error('not today') } }, 2n],
    ['accept is silent', { accept: () => new Promise(() => {}), acceptTimeoutMs: 300 }, 6n],
    ['poolKey throws', { poolKey: () => { throw new Error('not today') } }, 3n],
    ['poolKey has no key', { poolKey: () => undefined }, 3n],
    ['poolKey is silent', { poolKey: () => new Promise(() => {}), acceptTimeoutMs: 300 }, 6n],
    ['poolKey answers what is no key', { poolKey: () => 'a\nb' }, 3n],
  ])('refuses, and frees the connection once, when %s', async (_, listen, code) => {
    await inReverseWorld(async (world) => {
      const caller = await world.call()
      await caller.say(hello())
      expect(await refused(caller)).toEqual({ code, closed: code })
      await world.world.sleep(1000)
      expect([nothingLeft(world), world.events.map(({ type }) => type)]).toEqual([NOTHING, ['refused']])
      expect(world.listener.statistics()).toMatchObject({ accepted: 0, closed: 0 })
    }, { listen })
  })

  /** reverse V26 */
  it('counts a connection once that ends while accept decides, by whomever', async () => {
    let close: () => void = () => {}
    let go: () => void = () => {}
    await inReverseWorld(async (world) => {
      const caller = await world.call()
      await caller.say(hello())
      await world.world.sleep(50)
      close = () => void caller.connection.close({ code: 9 })
      close()
      await world.world.sleep(100)
      go()
      await world.world.sleep(100)
      expect([nothingLeft(world), world.events.map(({ type, reason }) => [type, reason]), world.listener.statistics()]).toMatchObject([NOTHING, [['refused', null]], { accepted: 0, closed: 0, refused: { gone: 1 } }])
    }, { listen: { accept: () => new Promise<void>((resolve) => { go = resolve }) } })
  })

  /** reverse V25 */
  it('leaves a connection alone that waits for its decision, however long', async () => {
    let go: () => void = () => {}
    let identity: PeerIdentity | null = null
    await inReverseWorld(async (world) => {
      const caller = await world.call({ connection: { limits: { keepAliveMs: 10_000 } } })
      await caller.say(hello())
      await world.world.sleep(120_000)
      expect([caller.connection.state, world.listener.statistics().pending, (identity as PeerIdentity | null)?.names]).toEqual(['open', 1, ['web']])
      go()
      expect(await caller.hear()).toMatchObject({ type: 'accept' })
      await world.world.sleep(100)
      expect([world.listener.pool('web').size, world.listener.statistics().pending]).toEqual([1, 0])
    }, { listen: { acceptTimeoutMs: 600_000, accept: (peer) => new Promise<void>((resolve) => { identity = peer; go = resolve }) } })
  })

  /** reverse V40 */
  it('has the key that the user gives, never only the peer\'s word', async () => {
    await inReverseWorld(async ({ listener, call }) => {
      const caller = await call({ names: ['web', 'api'] })
      await caller.say(hello('api'))
      expect(await caller.hear()).toMatchObject({ type: 'accept', key: 'web|api/api' })
      expect(listener.health()).toEqual({ ok: true, keys: { 'web|api/api': 1 } })
    }, { listen: { poolKey: ({ names }, { service }) => `${names.join('|')}/${service}` } })
  })

  /** reverse V43 */
  it('is full at its limit, and is not when one has gone', async () => {
    await inReverseWorld(async (world) => {
      const { listener, join, call } = world
      const [first] = [await join('web'), await join('api')]
      const third = await call({ names: ['other'] })
      await third.say(hello('other'))
      expect(await refused(third)).toEqual({ code: 4n, closed: 4n })
      await first.connection.close()
      await world.world.sleep(100)
      await join('other')
      expect(listener.health().keys).toEqual({ api: 1, other: 1 })
      expect(listener.statistics()).toMatchObject({ connections: 2, keys: 2, accepted: 3, closed: 1, pending: 0, refused: { full: 1 } })
    }, { listen: { limits: { maxConnections: 2 } } })
  })

  /** reverse V50 */
  it('has so many connections that are not accepted, in all and from one address', async () => {
    await inReverseWorld(async (world) => {
      const callers = await Promise.all(Array.from({ length: 3 }, () => world.call()))
      expect(world.listener.statistics().pending).toBe(3)
      expect(await codeOf(world.call())).toBe('QB_CONNECT_REFUSED')
      await callers[0]?.say(hello())
      expect(await callers[0]?.hear()).toMatchObject({ type: 'accept' })
      // Who is accepted takes no place any more.
      await world.call()
      expect(world.listener.statistics().pending).toBe(3)
      expect(await codeOf(world.call())).toBe('QB_CONNECT_REFUSED')
    }, { listen: { limits: { maxPendingPerPeer: 3 } } })
    await inReverseWorld(async (world) => {
      await Promise.all(Array.from({ length: 4 }, () => world.call()))
      expect(await codeOf(world.call())).toBe('QB_CONNECT_REFUSED')
      await world.world.sleep(6000)
      expect([world.listener.statistics().pending, await codeOf(world.call())]).toEqual([0, 'resolved'])
    }, { listen: { limits: { maxPending: 4 } } })
  })

  /** reverse V50 */
  it('wants newcomers to prove their address when half of the places are taken', async () => {
    await inReverseWorld(async (world) => {
      const retried: boolean[] = []
      for (let turn = 0; turn < 4; turn += 1) {
        const { connection } = await world.call()
        retried.push((await connection.opened).retry)
      }
      expect(retried).toEqual([false, false, true, true])
    }, { listen: { limits: { maxPending: 4 }, server: { newTokens: false } } })
  })

  /** reverse V27 */
  it('that closes tells those that are there, and those that come', async () => {
    await inReverseWorld(async (world) => {
      const { listener, join, call } = world
      const idle = await join('web')
      const undecided = await call()
      const busy = await join('web', { serve: null })
      const request = await listener.pool().request('web')
      request.write(Buffer.from('?'))
      const heard = Promise.all([idle.hear(), busy.hear()])
      const closing = listener.close({ drainMs: 500 })
      expect(listener.close()).toBe(closing)
      await world.world.sleep(100)
      const late = await call().catch((error: unknown) => error as { code: string })
      if (!('code' in late)) {
        await late.say(hello())
        expect((await refused(late)).closed).toBe(7n)
      }
      await closing
      expect(request.connection.state).toBe('closed')
      expect([(await undecided.connection.closed).errorCode]).toEqual([7n])
      const ends = await Promise.all([idle, busy].map(async ({ connection: { closed } }) => (await closed).errorCode))
      expect(ends.sort()).toEqual([0n, 7n])
      expect(await heard).toMatchObject([{ type: 'goaway', code: 0n }, { type: 'goaway', code: 0n }])
      expect(await codeOf(listener.pool().request('web'))).toBe('QB_REVERSE_DRAINING')
      expect(nothingLeft(world)).toEqual(NOTHING)
    })
  })

  it('shares an endpoint of the user with others, and leaves it open', async () => {
    await inReverseWorld(async ({ listener: own, server, near, tls, identity, world }) => {
      await own.close()
      const { cert, key, ca } = tls
      const web = identity('web')
      const endpoint = await server.bind({ local: ['10.0.1.2:5000'], server: { cert, key, ca: [ca, web.cert], clientAuth: 'require', alpn: [REVERSE_ALPN, TUNNEL_ALPN, 'else'] } })
      const tunnels = new TunnelManager({ endpoint })
      const listener = await reverseListen({ endpoint })
      expect(await codeOf(reverseListen({ endpoint }))).toBe('QB_OPTION_INVALID')
      const connection = await near.connect('10.0.1.2:5000', { alpn: 'else', ca, serverName: 'server', cert: web.cert, key: web.key })
      const { value } = await endpoint.incoming().next()
      expect([value?.alpn, connection.requester, listener.local]).toEqual(['else', 'local', ['10.0.1.2:5000']])
      await listener.close()
      await world.sleep(100)
      expect([connection.state, endpoint.listening]).toEqual(['open', true])
      const again = await reverseListen({ endpoint })
      await again.close()
      await tunnels.shutdown()
      await endpoint.close()
    })
  })

  /** reverse V2; mux R51 */
  it('stops streams of the private end beside the control stream', async () => {
    await inReverseWorld(async ({ listener: own, server, near, tls, identity }) => {
      await own.close()
      const { cert, key, ca } = tls
      const web = identity('web')
      const endpoint = await server.bind({ local: ['10.0.1.2:5000'], server: { cert, key, ca: [ca, web.cert], clientAuth: 'require', alpn: REVERSE_ALPN } })
      const listener = await reverseListen({ endpoint })
      const connection = await near.connect('10.0.1.2:5000', { alpn: REVERSE_ALPN, ca, serverName: 'server', cert: web.cert, key: web.key })
      const control = await connection.openBidirectional()
      control.write(encodeMessage(hello()))
      for (let count = 0; count < 200; count += 1) {
        const stream = await connection.openBidirectional()
        stream.write(Buffer.from('x'))
        expect((await stream.closed).error).toMatchObject({ errorCode: 5n, by: 'peer' })
      }
      expect([listener.pool('web').size, connection.state]).toEqual([1, 'open'])
      await listener.close()
      await endpoint.close()
    })
  })

  it('checks its options before anything is bound', async () => {
    const options = { local: '127.0.0.1:0', cert: 'x', key: 'x', clientCa: 'x' }
    for (const [wrong, field] of [
      [{ ...options, clientCa: undefined }, 'clientCa'], [{ ...options, local: undefined }, 'local'], [{ ...options, limits: { maxPerKey: 257 } }, 'limits.maxPerKey'], [{ ...options, accept: 1 }, 'accept'],
      [{ ...options, pins: [] }, 'pins'], [{ ...options, helloTimeoutMs: 0 }, 'helloTimeoutMs'], [{ endpoint: {} }, 'endpoint'], [null, ''],
    ] as [ReverseListenOptions, string][]) {
      await expect(reverseListen(wrong)).rejects.toMatchObject({ code: 'QB_OPTION_INVALID', field })
    }
    await expect(reverseListen({ ...options, poolkey: 1 } as never)).rejects.toMatchObject({ code: 'QB_OPTION_UNKNOWN', field: 'poolkey' })
    await expect(reverseListen(options)).rejects.toMatchObject({ code: 'QB_TLS_IDENTITY' })
  })
})
