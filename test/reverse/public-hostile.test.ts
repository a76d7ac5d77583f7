/** Private ends, and users, that do to a public end what nobody should (docs/spec/reverse.md V4, V26, V40, V41, attacks H6), in virtual time. */
import { describe, expect, it } from 'vitest'
import { createDevCertificate } from '../../src/index.ts'
import { ReverseCode } from '../../src/reverse/codes.ts'
import { Gate } from '../../src/reverse/gate.ts'
import { REVERSE_ALPN, reverseListen } from '../../src/reverse/index.ts'
import type { Member } from '../../src/reverse/member.ts'
import { encodeMessage } from '../../src/reverse/messages.ts'
import type { CheckedRequest } from '../../src/reverse/options.ts'
import { Waiters } from '../../src/reverse/waiters.ts'
import type { BidirectionalStream } from '../../src/stream/index.ts'
import { codeOf } from '../fake/pair.ts'
import { MODULE_BUILT } from '../native/built.ts'
import { seeded } from './seeded.ts'
import { ask, dial, hello, inReverseWorld } from './world.ts'

describe.skipIf(!MODULE_BUILT)('a public end', { timeout: 60_000 }, () => {
  /** reverse V26: what `accept` throws may hold names of the peer's, and be of any length */
  it('says no with words that were far too long', async () => {
    await inReverseWorld(async ({ call, listener, world }) => {
      const caller = await call()
      await caller.say(hello())
      expect(await caller.hear()).toEqual({ type: 'refuse', code: ReverseCode.AUTH, text: 'é'.repeat(256) })
      expect(await caller.connection.closed).toMatchObject({ errorCode: ReverseCode.AUTH })
      await world.sleep(100)
      expect(listener.statistics()).toMatchObject({ pending: 0, refused: { auth: 1 } })
    }, { listen: { accept: () => { throw new Error('é'.repeat(2000)) } } })
  })

  /** reverse V4: ms are whole on the wire */
  it('may ask for PINGs at any time that is no whole number', async () => {
    await inReverseWorld(async ({ join, listener }) => {
      expect((await join()).accepted.pingMs).toBe(333)
      expect(listener.statistics()).toMatchObject({ connections: 1, refused: {} })
    }, { listen: { pingMs: 333.3 } })
  })

  /** reverse V26 */
  it('forgets at once who goes while accept decides, though it never does', async () => {
    await inReverseWorld(async ({ call, listener, world, events }) => {
      const caller = await call()
      await caller.say(hello())
      await world.sleep(50)
      caller.connection.destroy(undefined, { code: 9 })
      await world.sleep(50)
      expect(events.map(({ type, reason }) => [type, reason])).toEqual([['refused', null]])
      expect(listener.statistics()).toMatchObject({ pending: 0, refused: { gone: 1 } })
    }, { listen: { accept: () => new Promise(() => {}) } })
  })

  /** reverse V40; attacks H6 */
  it('attack H6: has one pool for a name, however its letters are written', async () => {
    await inReverseWorld(async ({ call, listener }) => {
      for (const [index, service] of ['WEB', 'wEb', 'web', 'Web'].entries()) {
        const caller = await call({ names: ['web'] })
        await caller.say(hello(service))
        expect(await caller.hear()).toMatchObject(index < 2 ? { type: 'accept', key: 'web' } : { type: 'refuse', code: ReverseCode.FULL })
      }
      expect(listener.health().keys).toEqual({ web: 2 })
    }, { listen: { limits: { maxPerKey: 2 } } })
  })

  it('has keys like `__proto__` as any other', async () => {
    await inReverseWorld(async ({ join, listener }) => {
      for (const name of ['__proto__', 'constructor', 'toString']) {
        await join(name)
        expect(await ask(await listener.pool(name).request(), 'x')).toBe('x')
      }
      expect(Object.entries(listener.health().keys)).toEqual([['__proto__', 1], ['constructor', 1], ['toString', 1]])
      expect(listener.prometheus()).toContain('{key="__proto__"} 1')
      expect(await codeOf(listener.pool('hasOwnProperty').request())).toBe('QB_REVERSE_NO_CONNECTION')
    }, { known: [['__proto__'], ['constructor'], ['toString']] })
  })

  /** reverse V41 */
  it('that is closed stays so, and says it', async () => {
    await inReverseWorld(async ({ join, listener, world }) => {
      await join()
      const closing = listener.close()
      await world.sleep(0)
      listener.pool().resume()
      const since = world.nowMs
      await expect(listener.pool('web').request(undefined, { waitForMs: 5000 })).rejects.toMatchObject({ code: 'QB_REVERSE_DRAINING', message: expect.stringContaining('is closed') as string })
      await closing
      listener.pool('web').resume()
      expect(await codeOf(listener.pool('web').request(undefined, { waitForMs: 5000 }))).toBe('QB_REVERSE_DRAINING')
      expect(world.nowMs - since).toBeLessThan(3000)
    })
  })

  /** reverse V4, V26, V51; attacks H6 */
  it('attack H6: outlives whatever may come on control streams, and forgets all of it', async () => {
    await inReverseWorld(async ({ call, join, listener, world }) => {
      const random = seeded(11)
      const junk = (): Uint8Array => Uint8Array.from({ length: Math.floor(random() * 40) }, () => Math.floor(random() * 256))
      for (let turn = 0; turn < 80; turn += 1) {
        const caller = await call()
        const { stream } = caller.control
        const bytes = Buffer.concat([random() < 0.6 ? encodeMessage(hello()) : junk(), ...(random() < 0.5 ? [encodeMessage({ type: 'goaway', code: 0n, text: '', streams: null })] : []), random() < 0.5 ? junk() : Buffer.alloc(0)])
        const cut = Math.floor(random() * bytes.length)
        stream.write(bytes.subarray(0, cut))
        await world.sleep(random() < 0.5 ? 0 : 30)
        stream.write(bytes.subarray(cut))
        const ends = [() => stream.end(), () => stream.reset(3), () => stream.stop(3), () => caller.connection.destroy(), () => void caller.connection.close(), () => {}]
        ends[Math.floor(random() * ends.length)]?.()
        if (random() < 0.5) await world.sleep(40)
        if (random() < 0.7) void caller.connection.close({ code: 1 })
      }
      await world.sleep(120_000)
      expect(listener.statistics()).toMatchObject({ connections: 0, draining: 0, pending: 0, keys: 0, streamsOpen: 0, waiting: 0 })
      expect(listener.statistics().accepted).toBe(listener.statistics().closed)
      await join()
      expect(await ask(await listener.pool('web').request(), 'x')).toBe('x')
    }, { listen: { limits: { maxPending: 200, maxPendingPerPeer: 200 } } })
  })

  /** reverse V2, V26 */
  it('sends away, and counts once, who began to dial before it was there', async () => {
    await inReverseWorld(async (world) => {
      const { listener: own, server, tls, identity, to } = world
      await own.close()
      const endpoint = await server.bind({ local: [to], server: { cert: tls.cert, key: tls.key, ca: identity('web').cert, clientAuth: 'require', alpn: REVERSE_ALPN } })
      const dialler = dial(world, 'web')
      // The first datagram has come, the handshake is not complete.
      await world.world.sleep(15)
      const listener = await reverseListen({ endpoint })
      const reasons: unknown[] = []
      listener.events$.subscribe(({ type, reason }) => reasons.push([type, reason]))
      await world.world.sleep(3000)
      expect([dialler.state, reasons, listener.statistics().refused]).toEqual(['FULL', [['refused', 'busy'], ['accepted', null]], { busy: 1 }])
      await dialler.stop()
      await endpoint.close()
    })
  })

  /** reverse V5: not what the endpoint would ask of others counts, but what this one was asked */
  it('attack H6: refuses a certificate that nobody looked at, though that of others is', async () => {
    await inReverseWorld(async ({ listener: own, server, tls, identity, to, call }) => {
      await own.close()
      const endpoint = await server.bind({ local: [to], server: { cert: tls.cert, key: tls.key, ca: identity('web').cert, clientAuth: 'require', alpn: REVERSE_ALPN } })
      const listener = await reverseListen({ endpoint })
      const admitted = (async () => {
        for await (const attempt of endpoint.attempts()) return void (await attempt.accept({ verify: 'none' }))
      })()
      const forged = createDevCertificate({ names: ['web'] })
      const caller = await call({ names: null, connection: { cert: forged.cert, key: forged.key } })
      await admitted
      await caller.say(hello())
      expect(await caller.hear()).toMatchObject({ type: 'refuse', code: ReverseCode.AUTH })
      await listener.close()
      await endpoint.close()
    })
  })

  it('cannot be had on an endpoint that is closed', async () => {
    await inReverseWorld(async ({ near }) => {
      await near.close()
      expect(await codeOf(reverseListen({ endpoint: near }))).toBe('QB_ENDPOINT_CLOSED')
    })
  })

  it('names the option by which a request may not wait, or waited in vain', async () => {
    await inReverseWorld(async ({ listener }) => {
      const first = listener.pool('web').request(undefined, { waitForMs: 100 })
      await expect(listener.pool('web').request(undefined, { waitForMs: 100 })).rejects.toThrow('limits.maxWaiting, 1')
      await expect(listener.pool('web').request()).rejects.toThrow(/; waitForMs waits for one$/)
      await expect(first).rejects.toThrow('in 100 ms (waitForMs)')
    }, { listen: { limits: { maxWaiting: 1 } } })
  })
})

describe('places for connections that are not accepted', () => {
  /** reverse V50 */
  it('are not all to be had by datagrams that bear the address of another', () => {
    const gate = new Gate({ maxConnections: 10, maxPerKey: 10, maxPending: 64, maxPendingPerPeer: 8, maxWaiting: 0 }, () => 0)
    const admit = (port: number, validated: boolean): string => gate.admit({ remote: `192.0.2.7:${port}`, local: '', serverName: null, alpn: [], validated, earlyData: false } as never)
    expect(Array.from({ length: 20 }, (_, port) => admit(port + 1, false))).toEqual([...Array<string>(4).fill('accept'), ...Array<string>(16).fill('retry')])
    // Who was asked to prove its address, and did.
    expect(Array.from({ length: 5 }, (_, port) => admit(port + 100, true))).toEqual([...Array<string>(4).fill('accept'), 'refuse'])
  })
})

describe('a request that waits', () => {
  it('and is aborted in the turn in which its stream is opened leaves no stream behind', async () => {
    const timing = { after: () => () => {}, every: () => () => {}, unixMs: () => 0, soon: () => {} }
    const waiters = new Waiters(timing)
    const abort = new AbortController()
    let destroyed = 0
    const stream = { destroy: () => void (destroyed += 1) } as unknown as BidirectionalStream
    const member = { key: 'web', takes: true, request: () => Promise.resolve(stream) } as unknown as Member
    const request: CheckedRequest = { waitForMs: 1000, retryUnsent: true, head: null, serverName: null, signal: abort.signal }
    const waiting = waiters.wait('web', request, () => new Error('late'))
    waiters.serve(member)
    abort.abort(new Error('gone'))
    await expect(waiting).rejects.toThrow('gone')
    await Promise.resolve()
    expect([destroyed, waiters.size]).toEqual([1, 0])
  })
})
