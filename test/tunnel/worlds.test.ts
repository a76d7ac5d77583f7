/** Rules of docs/spec/tunnel.md about time, loss and paths: simulated worlds, with TCP that lives in them. Nothing here waits for a real clock. */
import { describe, expect, it } from 'vitest'
import { World } from '../../src/sim/index.ts'
import type { World as WorldType } from '../../src/sim/index.ts'
import { TUNNEL_ALPN, TUNNEL_LIMITS } from '../../src/tunnel/index.ts'
import { TunnelCode } from '../../src/tunnel/codes.ts'
import { codeOf, pattern } from '../fake/pair.ts'
import { MODULE_BUILT } from '../native/built.ts'
import { TARGET, drained, inWorld, reasons, sink } from './world.ts'
import type { TunnelWorld } from './world.ts'

describe.skipIf(!MODULE_BUILT)('a tunnel', { timeout: 60_000 }, () => {
  /** tunnel T10, T11, T12 */
  it('listens before there is a connection; who comes early is served in order once there is one', async () => {
    await inWorld(async ({ near, tcp, begin }) => {
      const order: string[] = []
      await tcp.serve(TARGET, (socket) => void socket.once('data', (name: Buffer) => {
        order.push(name.toString())
        socket.end(name)
      }))
      const tunnel = await begin()
      expect([tunnel.local, tunnel.pseudoPort]).toEqual(['127.0.0.1:40001', 1])
      const clients = ['a', 'b', 'c'].map((name) => {
        const client = tcp.client(tunnel.local)
        client.end(name)
        return drained(client)
      })
      expect(near.statistics().pending).toBe(3)
      expect((await Promise.all(clients)).map(({ bytes }) => bytes.toString())).toEqual(['a', 'b', 'c'])
      expect(order).toEqual(['a', 'b', 'c'])
    }, { links: [{ delayMs: 50 }] })
  })

  /** tunnel T10 */
  it('that cannot bind fails, and leaves nothing behind', async () => {
    await inWorld(async ({ near, tcp, begin }) => {
      await tcp.listen({ host: '127.0.0.1', port: 80 }, () => {})
      expect(await codeOf(begin({ bind: '127.0.0.1:80' }))).toBe('QB_BIND_FAILED')
      expect([near.statistics().tunnels, near.endpoint.connections.size]).toEqual([0, 0])
    })
  })

  /** tunnel T13 */
  it('cuts who waits too long for a stream', async () => {
    await inWorld(async ({ world, near, tcp, begin, links }) => {
      links[0]?.cut()
      const tunnel = await begin({ timeoutMs: 20_000, connection: { limits: { handshakeTimeoutMs: 30_000 } } })
      const client = tcp.client(tunnel.local)
      const since = world.nowMs
      expect((await drained(client)).end).toBe('rst')
      expect(world.nowMs - since).toBe(10_000)
      expect(near.statistics()).toMatchObject({ pending: 0, failed: { timeout: 1, 'pending.timeout': 1 } })
    })
  })

  /** tunnel T14 */
  it('forgets who goes away while waiting, and uses no stream for it', async () => {
    await inWorld(async ({ near, far, tcp, open, events }) => {
      await tcp.serve(TARGET, (socket) => void socket.write('.'))
      const tunnel = await open()
      const first = tcp.client(tunnel.local)
      await new Promise((resolve) => first.once('data', resolve))
      const waiting = tcp.client(tunnel.local)
      expect(near.statistics().pending).toBe(1)
      waiting.resetAndDestroy()
      await new Promise((resolve) => setImmediate(resolve))
      expect([near.statistics().pending, reasons(events.near)]).toEqual([0, ['tcp']])
      first.destroy()
      first.peer.destroy()
      await near.close(tunnel.id, { force: true })
      expect(far.statistics().bridgesTotal).toBe(1)
    }, { near: { streams: 1 } })
  })

  /** tunnel T15 */
  it('that does not open in time fails: the listener closes, who waited is cut, and nothing is told any more', async () => {
    await inWorld(async ({ world, near, tcp, begin, links, events }) => {
      links[0]?.cut()
      const tunnel = await begin()
      const client = drained(tcp.client(tunnel.local))
      expect(await codeOf(tunnel.opened)).toBe('QB_TUNNEL_TIMEOUT')
      expect(world.nowMs).toBeCloseTo(4000, -1)
      expect([(await client).end, tcp.listens(tunnel.local)]).toEqual(['rst', false])
      expect((await tunnel.closed).error).toMatchObject({ code: 'QB_TUNNEL_TIMEOUT' })
      const told = events.near.length
      links[0]?.restore()
      await world.sleep(20_000)
      expect([events.near.length, near.statistics().tunnels, near.endpoint.connections.size]).toEqual([told, 0, 0])
    })
  })

  /** tunnel T16; attacks H4 */
  it('may be closed at any time of its opening: no throw, and nothing is left', async () => {
    for (const afterMs of [null, 0, 5, 15, 25, 35, 45, 60, 100]) {
      await inWorld(async ({ world, near, far, tcp, begin }) => {
        await tcp.serve(TARGET, (socket) => void socket.write('.'))
        const opening = begin()
        if (afterMs !== null) {
          const tunnel = await opening
          tcp.client(tunnel.local)
          await world.sleep(afterMs)
        }
        const closing = near.close(1, { force: true })
        const tunnel = await opening.catch(() => null)
        await closing
        await tunnel?.opened.catch(() => {})
        await world.sleep(1000)
        expect([near.statistics().tunnels, near.statistics().pending, near.statistics().bridgesOpen, near.endpoint.connections.size], String(afterMs)).toEqual([0, 0, 0, 0])
        expect(far.statistics().bridgesOpen).toBe(0)
        await world.sleep(10_000)
        expect([...tcp.open].filter((socket) => !socket.destroyed && socket.name.startsWith('of')).length, String(afterMs)).toBe(0)
      })
    }
  })

  /** tunnel T33; attacks H3 */
  it('gives up a target that never answers, after the time for it', async () => {
    await inWorld(async ({ world, tcp, open, events }) => {
      tcp.silent.add(TARGET)
      const tunnel = await open()
      const since = world.nowMs
      expect((await drained(tcp.client(tunnel.local))).end).toBe('rst')
      expect(world.nowMs - since).toBeCloseTo(5040, -2)
      expect([reasons(events.near), reasons(events.far)]).toEqual([['connect'], ['connect']])
      expect([...tcp.open].filter(({ name }) => name === `to ${TARGET}`)).toEqual([])
    })
  })

  /** tunnel T32; attacks H4 */
  it('ends a dial when its client goes', async () => {
    await inWorld(async ({ world, tcp, open }) => {
      tcp.silent.add(TARGET)
      const tunnel = await open()
      const client = tcp.client(tunnel.local)
      await world.sleep(100)
      expect(tcp.dialled).toEqual([TARGET])
      client.resetAndDestroy()
      await world.sleep(100)
      expect([...tcp.open].filter(({ name }) => name === `to ${TARGET}`)).toEqual([])
    })
  })

  /** tunnel T22, T24 */
  it('is refused when no handler answers in time', async () => {
    await inWorld(async ({ world, far, begin }) => {
      far.listen(() => new Promise(() => {}))
      const tunnel = await begin({ timeoutMs: 20_000 })
      const since = world.nowMs
      expect(await codeOf(tunnel.opened)).toBe('QB_TUNNEL_REFUSED')
      expect(world.nowMs - since).toBeGreaterThan(5000)
    }, { closed: true })
  })

  /** tunnel T17 */
  it('that is closed gently waits until a slow target has everything', async () => {
    await inWorld(async ({ world, near, far, tcp, open, events }) => {
      let received: ReturnType<typeof sink> | null = null
      await tcp.serve(TARGET, (socket) => {
        socket.end('done')
        socket.pause()
        void world.sleep(5000).then(() => { received = sink(socket) })
      })
      const tunnel = await open()
      const client = tcp.client(tunnel.local)
      client.resume()
      client.end(pattern(400_000))
      await new Promise((resolve) => client.once('close', resolve))
      expect(world.nowMs).toBeLessThan(4000)
      await near.close(tunnel.id)
      expect((received as ReturnType<typeof sink> | null)?.bytes).toBe(400_000)
      await world.sleep(100)
      expect([reasons(events.near), reasons(events.far), far.statistics().failed]).toEqual([['end'], ['end'], {}])
    })
  })

  /** tunnel T44 */
  it('hands a stop on: reading of TCP ends, the other direction goes on to its end, then TCP is cut', async () => {
    await inWorld(async ({ world, near, tls, server, tcp, events }) => {
      // A server of its own, that stops what it is sent and goes on answering.
      const other = await server.bind({ local: ['10.0.1.2:5000'], server: { ...tls, alpn: TUNNEL_ALPN, clientAuth: 'require', limits: TUNNEL_LIMITS } })
      const serving = (async () => {
        const { value: connection } = await other.incoming().next()
        let first = true
        for await (const stream of connection?.incomingBidirectional() ?? []) {
          stream.write(Uint8Array.of(0))
          if (first) stream.end()
          else {
            stream.stop(0x77)
            await world.sleep(200)
            stream.write(Buffer.from('answer'))
            stream.end()
          }
          first = false
        }
      })()
      const tunnel = await near.open({ remote: '10.0.1.2:5000', port: 7, connection: { ca: tls.ca, cert: tls.cert, key: tls.key, serverName: 'server' } })
      await tunnel.opened
      const client = tcp.client(tunnel.local)
      const pieces: string[] = []
      client.on('data', (piece: Buffer) => void pieces.push(piece.toString()))
      client.write('more and more')
      await world.sleep(1000)
      expect([pieces, client.reset, reasons(events.near)]).toEqual([['answer'], true, ['tcp']])
      await near.close(tunnel.id)
      await other.close()
      await serving
    })
  })

  describe('that reconnects', () => {
    const RECONNECT = { minMs: 250, maxMs: 2000, factor: 2, jitter: 0 }

    /** tunnel T61 */
    it('dials again with growing pauses; the listener stays, and who comes meanwhile is served', async () => {
      await inWorld(async ({ world, near, far, tcp, open, links, events }) => {
        await tcp.serve(TARGET, (socket) => void socket.pipe(socket))
        const tunnel = await open({ reconnect: RECONNECT, timeoutMs: 1000 })
        const client = tcp.client(tunnel.local)
        client.write('x')
        await new Promise((resolve) => client.once('data', resolve))
        links[0]?.cut()
        for (const connection of near.endpoint.connections) connection.destroy()
        expect((await drained(client)).end).toBe('rst')
        const lost = world.nowMs
        await world.sleep(6000)
        const dials = events.tunnels.filter(({ type, atMs }) => type === 'connecting' && atMs >= lost).map(({ atMs }) => Math.round(atMs - lost))
        // Each attempt takes its second; the pauses between are 250, 500, 1000, 2000.
        expect(dials).toEqual([250, 1750, 3750])
        // Not once for each attempt, but for each reason.
        expect(events.tunnels.filter(({ type }) => type === 'lost').map(({ reason }) => /was not open after/.test(reason))).toEqual([false, true])
        links[0]?.restore()
        const late = tcp.client(tunnel.local)
        late.end('y')
        expect((await drained(late)).bytes.toString()).toBe('y')
        expect([tcp.listens(tunnel.local), near.statistics().reconnects, far.endpoint.connections.size > 0]).toEqual([true, 4, true])
      })
    })

    /** tunnel T61 */
    it('gives up after so many failures in a row, and tells the last', async () => {
      await inWorld(async ({ near, tcp, open, links }) => {
        const tunnel = await open({ reconnect: { ...RECONNECT, attempts: 2 }, timeoutMs: 500 })
        links[0]?.cut()
        for (const connection of near.endpoint.connections) connection.destroy()
        expect((await tunnel.closed).error).toMatchObject({ code: 'QB_TUNNEL_TIMEOUT' })
        expect([near.statistics().reconnects, tcp.listens(tunnel.local)]).toEqual([2, false])
      })
    })

    /** tunnel T61 */
    it('varies its pauses by chance, so that many do not come back at once', async () => {
      const pauses = new Set<number>()
      for (const seed of [1, 2, 3, 4]) {
        await inWorld(async ({ world, near, open, links, events }) => {
          await open({ reconnect: { ...RECONNECT, jitter: 0.2 }, timeoutMs: 500 })
          links[0]?.cut()
          for (const connection of near.endpoint.connections) connection.destroy()
          const lost = world.nowMs
          await world.sleep(400)
          const dialled = events.tunnels.findLast(({ type }) => type === 'connecting')?.atMs ?? 0
          expect(Math.abs(dialled - lost - 250)).toBeLessThanOrEqual(50)
          pauses.add(dialled - lost)
        }, { pair: World.pair([{ delayMs: 10 }], { seed }) })
      }
      expect(pauses.size).toBe(4)
    })
  })

  /** tunnel T63 */
  it('shuts down within its grace and a second, from either side', async () => {
    for (const side of ['near', 'far'] as const) {
      await inWorld(async (it: TunnelWorld) => {
        const { world, tcp, open, events } = it
        await tcp.serve(TARGET, (socket) => void socket.pipe(socket))
        const tunnel = await open()
        const client = tcp.client(tunnel.local)
        client.write('x')
        await new Promise((resolve) => client.once('data', resolve))
        const since = world.nowMs
        await it[side].shutdown({ graceMs: 3000 })
        expect(world.nowMs - since).toBeGreaterThanOrEqual(3000)
        expect(world.nowMs - since).toBeLessThan(4000)
        expect((await drained(client)).end).toBe('rst')
        await world.sleep(500)
        expect(reasons(events[side])).toEqual(['shutdown'])
        expect([...tcp.open].filter((socket) => !socket.destroyed)).toEqual([])
        if (side === 'far') expect((await tunnel.closed).error).toMatchObject({ code: 'QB_TUNNEL_SHUTDOWN', errorCode: TunnelCode.SHUTDOWN })
      })
    }
  })

  /** tunnel T64; attacks H5 */
  it('attack H5: a tunnel leaves nothing of bridges that have ended, however many', { timeout: 180_000 }, async () => {
    // What the process holds afterwards: test/life/tunnels.test.ts, 10,000 in its long form.
    const COUNT = 2500
    await inWorld(async ({ near, far, tcp, open }: TunnelWorld) => {
      await tcp.serve(TARGET, (socket) => void socket.pipe(socket))
      const tunnel = await open()
      for (let count = 0; count < COUNT; count += 25) {
        await Promise.all(Array.from({ length: 25 }, async () => {
          const client = tcp.client(tunnel.local)
          client.end('x')
          expect((await drained(client)).bytes.toString()).toBe('x')
        }))
      }
      expect([near.statistics().bridgesTotal, near.statistics().bridgesOpen, tunnel.bridges, far.statistics().failed]).toEqual([COUNT, 0, 0, {}])
      await near.close(tunnel.id)
      expect([far.statistics().bridgesOpen, [...tcp.open].filter((socket) => !socket.destroyed).length]).toEqual([0, 0])
    }, { links: [{ delayMs: 1 }] })
  })

  it('happens the same way again, with the same seed', async () => {
    const run = async (): Promise<string> => {
      const pair = World.pair([{ delayMs: 10, rateBitsPerSec: 20e6, loss: 0.01 }], { seed: 11 })
      const world: WorldType = pair.world
      await inWorld(async ({ tcp, open }) => {
        await tcp.serve(TARGET, (socket) => void socket.pipe(socket))
        const tunnel = await open()
        const client = tcp.client(tunnel.local)
        client.end(pattern(300_000))
        await drained(client)
      }, { pair })
      return world.traceHash()
    }
    expect(await run()).toBe(await run())
  })
})
