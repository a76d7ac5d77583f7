/** Flows of UDP through tunnels in simulated worlds (docs/spec/tunnel.md section 10): time, loss, paths and bounds. */
import { describe, expect, it } from 'vitest'
import { World } from '../../src/sim/index.ts'
import type { WorldPair } from '../../src/sim/index.ts'
import { TUNNEL_LIMITS } from '../../src/tunnel/index.ts'
import type { BridgeEvent } from '../../src/tunnel/index.ts'
import { MODULE_BUILT } from '../native/built.ts'
import { TARGET, inWorld } from './world.ts'
import type { TunnelWorld } from './world.ts'

const ends = (events: readonly BridgeEvent[]): string[] => events.filter(({ type }) => type === 'closed' || type === 'failed').map(({ type, reason }) => `${type} ${reason}`)
/** Answers each datagram with itself. */
const echoing = ({ udp }: TunnelWorld): ReturnType<TunnelWorld['udp']['serve']> => udp.serve(TARGET, (bytes) => [bytes])

describe.skipIf(!MODULE_BUILT)('a flow of UDP', { timeout: 60_000 }, () => {
  /** tunnel T72 */
  it('has its answer after one round trip, without a wait for the server\'s yes', async () => {
    await inWorld(async (world) => {
      await echoing(world)
      const tunnel = await world.openUdp()
      const client = await world.udp.client(tunnel.local)
      const since = world.world.nowMs
      client.send('first')
      while (client.received.length === 0) await world.world.sleep(1)
      expect(world.world.nowMs - since).toBeLessThan(110)
      expect(world.udp.dialled).toEqual([TARGET])
    }, { links: [{ delayMs: 50 }] })
  })

  /** tunnel T72, T76 */
  it('begins before the tunnel is open, and waits for it', async () => {
    await inWorld(async (world) => {
      await echoing(world)
      const tunnel = await world.beginUdp()
      const client = await world.udp.client(tunnel.local)
      for (let count = 0; count < 20; count++) client.send(String(count))
      await tunnel.opened
      await world.world.sleep(200)
      // The first sixteen are kept.
      expect(client.received).toEqual(Array.from({ length: 16 }, (_, index) => String(index)))
      expect(world.near.statistics()).toMatchObject({ flowsTotal: 1, datagramsUp: 16, datagramsDown: 16, udpDrops: { queue: 4 } })
    })
  })

  /** tunnel T75 */
  it('is given up when it waits too long', async () => {
    await inWorld(async (world) => {
      world.links[0]?.cut()
      const tunnel = await world.beginUdp({ timeoutMs: 60_000 })
      const client = await world.udp.client(tunnel.local)
      client.send('x')
      await world.world.sleep(2100)
      expect([ends(world.events.near), world.near.statistics().failed, world.near.statistics().udpDrops.queue]).toEqual([['failed timeout'], { 'pending.timeout': 1, timeout: 1 }, 1])
      await world.near.close(tunnel.id)
    }, { near: { limits: { pendingTimeoutMs: 2000 } } })
  })

  /** tunnel T76 */
  it('ends when it is silent for two minutes, and lives as long as one side speaks', async () => {
    await inWorld(async (world) => {
      let speak = (): void => {}
      const server = await world.udp.serve(TARGET, (bytes, from) => {
        speak = () => void server.send(bytes, from)
        return [bytes]
      })
      const tunnel = await world.openUdp()
      const client = await world.udp.client(tunnel.local)
      client.send('up')
      for (const say of [() => client.send('up'), () => speak(), () => speak()]) {
        await world.world.sleep(119_000)
        expect(tunnel.bridges).toBe(1)
        say()
      }
      await world.world.sleep(119_000)
      expect([tunnel.bridges, world.far.statistics().flowsOpen]).toEqual([1, 1])
      await world.world.sleep(1500)
      expect([tunnel.bridges, world.far.statistics().flowsOpen, ends(world.events.near).length, ends(world.events.far).length]).toEqual([0, 0, 1, 1])
      // The tunnel lives on.
      client.send('again')
      await world.world.sleep(100)
      expect([client.received.at(-1), world.near.statistics().failed, world.far.statistics().failed]).toEqual(['again', {}, {}])
    })
  })

  /** tunnel T76 */
  it('ends in order at both sides, whichever finds it idle', async () => {
    for (const [near, far, wanted] of [[1000, 60_000, ['closed idle', 'closed end']], [60_000, 1000, ['closed end', 'closed idle']]] as const) {
      await inWorld(async (world) => {
        await echoing(world)
        const tunnel = await world.openUdp()
        ;(await world.udp.client(tunnel.local)).send('x')
        await world.world.sleep(1500)
        expect([...ends(world.events.near), ...ends(world.events.far)]).toEqual(wanted)
        await world.world.sleep(1000)
        expect(tunnel.connection?.statistics().streamsOpen).toBe(0)
      }, { near: { limits: { udpIdleMs: near } }, far: { limits: { udpIdleMs: far } } })
    }
  })

  /** tunnel T76 */
  it('ends when its target goes away, and with the stream; the next datagram begins another', async () => {
    await inWorld(async (world) => {
      const server = await echoing(world)
      const tunnel = await world.openUdp()
      const client = await world.udp.client(tunnel.local)
      client.send('one')
      await world.world.sleep(100)
      server.close()
      client.send('two')
      await world.world.sleep(100)
      expect([ends(world.events.near), ends(world.events.far)]).toEqual([['failed connect'], ['failed connect']])
      await echoing(world)
      client.send('three')
      await world.world.sleep(100)
      expect([client.received, tunnel.bridges, world.near.statistics().flowsTotal]).toEqual([['one', 'three'], 1, 2])
    })
  })

  /** tunnel T76, T61 */
  it('ends with the connection; those that come meanwhile wait for the next', async () => {
    await inWorld(async (world) => {
      await echoing(world)
      const tunnel = await world.openUdp({ reconnect: { minMs: 500, jitter: 0 } })
      const client = await world.udp.client(tunnel.local)
      client.send('one')
      await world.world.sleep(100)
      for (const connection of world.far.endpoint.connections) connection.destroy()
      await world.world.sleep(100)
      expect([ends(world.events.near), ends(world.events.far), tunnel.bridges]).toEqual([['failed connection'], ['failed connection'], 0])
      client.send('two')
      await world.world.sleep(2000)
      expect([client.received, world.near.statistics().reconnects]).toEqual([['one', 'two'], 1])
    })
  })

  /** tunnel T76, T63 */
  it('does not hold up the end of its tunnel, nor a shutdown of the server', async () => {
    await inWorld(async (world) => {
      await echoing(world)
      for (const end of ['tunnel', 'server'] as const) {
        const tunnel = await world.openUdp()
        const client = await world.udp.client(tunnel.local)
        client.send('x')
        await world.world.sleep(100)
        const since = world.world.nowMs
        if (end === 'tunnel') expect(await world.near.close(tunnel.id)).toBe(true)
        else await world.far.shutdown({ graceMs: 5000 })
        await tunnel.closed
        expect(world.world.nowMs - since).toBeLessThan(1100)
        expect([world.near.statistics().flowsOpen, world.far.statistics().flowsOpen, world.near.statistics().tunnels]).toEqual([0, 0, 0])
        client.close()
      }
      // The target's own socket.
      expect(world.udp.open).toBe(1)
    })
  })

  /** tunnel T71, T22 */
  it('goes on when its handler is forgotten; newcomers are refused', async () => {
    await inWorld(async (world) => {
      await echoing(world)
      const id = world.far.listen(({ protocol }) => (protocol === 'udp' ? TARGET : undefined), { protocol: 'udp' })
      const tunnel = await world.openUdp()
      const [old, fresh] = [await world.udp.client(tunnel.local), await world.udp.client(tunnel.local)]
      old.send('one')
      await world.world.sleep(100)
      expect([world.far.forget(id), world.far.forget(id)]).toEqual([true, false])
      old.send('two')
      fresh.send('three')
      await world.world.sleep(100)
      expect([old.received, fresh.received, ends(world.events.near), world.near.statistics().failed]).toEqual([['one', 'two'], [], ['failed refused'], { refused: 1 }])
    }, { closed: true })
  })

  /** tunnel T71 */
  it('is refused where the answer of a handler is nothing for UDP', async () => {
    await inWorld(async (world) => {
      world.far.listen(() => ({ target: TARGET, proxyProtocol: 'v2' }), { protocol: 'both' })
      await expect((await world.beginUdp()).opened).rejects.toMatchObject({ code: 'QB_TUNNEL_REFUSED' })
      await (await world.open()).opened
      expect(() => world.far.listen(7, { protocol: 'sctp' as never })).toThrow(expect.objectContaining({ code: 'QB_OPTION_INVALID' }))
      expect(() => world.far.listen(7, { udp: true } as never)).toThrow(expect.objectContaining({ code: 'QB_OPTION_UNKNOWN' }))
    }, { closed: true })
  })
})

describe.skipIf(!MODULE_BUILT)('bounds of flows', { timeout: 60_000 }, () => {
  /** tunnel T75 */
  it('a newcomer takes the place of the one that was silent for longest', async () => {
    await inWorld(async (world) => {
      await echoing(world)
      const tunnel = await world.openUdp()
      const clients = await Promise.all(['a', 'b', 'c'].map(() => world.udp.client(tunnel.local)))
      for (const [index, client] of clients.slice(0, 2).entries()) {
        client.send(String(index))
        await world.world.sleep(100)
      }
      clients[0]?.send('0')
      await world.world.sleep(100)
      clients[2]?.send('2')
      await world.world.sleep(100)
      expect([tunnel.bridges, ends(world.events.near), ends(world.events.far), clients.map(({ received }) => received)]).toEqual([2, ['failed replaced'], ['closed end'], [['0', '0'], ['1'], ['2']]])
    }, { near: { limits: { maxFlowsPerPeer: 2 } } })
  })

  /** tunnel T75 */
  it('the server refuses what is too much, of one peer and of all', async () => {
    for (const limits of [{ maxFlowsPerPeer: 1 }, { maxFlows: 1 }]) {
      await inWorld(async (world) => {
        await echoing(world)
        const tunnel = await world.openUdp()
        const clients = [await world.udp.client(tunnel.local), await world.udp.client(tunnel.local)]
        for (const client of clients) {
          client.send('x')
          await world.world.sleep(100)
        }
        expect([clients.map(({ received }) => received.length), ends(world.events.near), world.far.statistics().failed]).toEqual([[1, 0], ['failed refused'], { [Object.keys(limits)[0] ?? '']: 1, refused: 1 }])
      }, { far: { limits } })
    }
  })

  /** tunnel T75 */
  it('where other tunnels have all places, what comes is dropped and counted', async () => {
    await inWorld(async (world) => {
      await echoing(world)
      const [first, second] = [await world.openUdp(), await world.openUdp()]
      ;(await world.udp.client(first.local)).send('x')
      await world.world.sleep(100)
      ;(await world.udp.client(second.local)).send('x')
      await world.world.sleep(100)
      expect([second.bridges, world.near.statistics().udpDrops.flows, world.near.statistics().failed]).toEqual([0, 1, { maxFlows: 1 }])
    }, { near: { limits: { maxFlows: 1 } } })
  })

  /** tunnel T75 */
  it('where the server gives no more streams, one that is silent gives way', async () => {
    await inWorld(async (world) => {
      await echoing(world)
      const tunnel = await world.openUdp()
      const clients = []
      for (let index = 0; index < 6; index++) {
        const client = await world.udp.client(tunnel.local)
        clients.push(client)
        client.send('x')
        await world.world.sleep(1500)
      }
      expect(clients.map(({ received }) => received.length)).toEqual([1, 1, 1, 1, 1, 1])
      expect(tunnel.bridges).toBeLessThanOrEqual(3)
    }, { server: { limits: { ...TUNNEL_LIMITS, bidirectionalStreams: 3 } } })
  })

  /** tunnel T74 */
  it('what comes from the target and does not fit is told once by the server, and counted', async () => {
    await inWorld(async (world) => {
      await world.udp.serve(TARGET, (bytes) => [new Uint8Array(3000), bytes, new Uint8Array(3000)])
      const tunnel = await world.openUdp()
      const client = await world.udp.client(tunnel.local)
      for (const one of ['a', 'b']) client.send(one)
      await world.world.sleep(100)
      expect([client.received, world.far.statistics().udpDrops.tooLarge, world.events.far.filter(({ type }) => type === 'too-large').length]).toEqual([['a', 'b'], 4, 1])
      world.udp.maxBytes = 100
      client.send(new Uint8Array(200))
      await world.world.sleep(100)
      expect([tunnel.bridges, world.far.statistics().udpDrops.tooLarge, client.received.length]).toEqual([1, 5, 2])
    })
  })
})

describe.skipIf(!MODULE_BUILT)('UDP over paths', { timeout: 60_000 }, () => {
  /** tunnel T77 */
  it('comes whole and at most once through loss, disorder and copies, over two paths', async () => {
    const COUNT = 600
    const shape = { delayMs: 10, jitterMs: 3, loss: 0.03, duplicate: 0.02, reorder: { probability: 0.05, byMs: 8 } }
    await inWorld(async (world) => {
      await echoing(world)
      const tunnel = await world.openUdp({ connection: { paths: world.paths } })
      const client = await world.udp.client(tunnel.local)
      for (let count = 0; count < COUNT; count++) {
        client.send(`${count}:${'x'.repeat(count % 900)}`)
        await world.world.sleep(1)
      }
      await world.world.sleep(500)
      expect(new Set(client.received).size).toBe(client.received.length)
      for (const text of client.received) expect(text.length).toBe((text.split(':')[0] ?? '').length + 1 + Number(text.split(':')[0]) % 900)
      expect(client.received.length).toBeGreaterThan(COUNT * 0.85)
      expect(ends(world.events.near)).toEqual([])
    }, { pair: World.pair([shape, { ...shape, delayMs: 15 }], { seed: 8 }) })
  })

  /** tunnel T77, T62 */
  it('goes on over the other path when one of two is cut: silent for less than 300 ms', async () => {
    const pair = World.pair([{ delayMs: 10 }, { delayMs: 20 }])
    pair.world.at(2000, () => pair.links[0]?.cut())
    await inWorld(async (world) => {
      await echoing(world)
      const tunnel = await world.openUdp({ connection: { paths: world.paths } })
      const client = await world.udp.client(tunnel.local)
      let [lastMs, longest, seen] = [world.world.nowMs, 0, 0]
      while (world.world.nowMs < 4000) {
        client.send('tick')
        await world.world.sleep(5)
        if (client.received.length > seen) {
          longest = Math.max(longest, world.world.nowMs - lastMs)
          lastMs = world.world.nowMs
          seen = client.received.length
        }
      }
      expect(longest).toBeLessThan(300)
      expect([tunnel.bridges, world.near.statistics().flowsTotal, world.world.nowMs - lastMs < 100]).toEqual([1, 1, true])
    }, { pair })
  })

  /** tunnel T77, T62 */
  it('keeps its flow when a NAT rebinds its path', async () => {
    const world = new World({ seed: 6 })
    const [client, server, net] = [world.host('client'), world.host('server'), world.router('internet')]
    const nat = world.nat('nat')
    const links = [world.link(client, nat.inside, { delayMs: 5 }), world.link(nat.outside, net, { delayMs: 5 }), world.link(server, net, { delayMs: 5 })]
    const pair: WorldPair = { world, client, server, links, paths: [{ local: client.addresses[0] ?? '' }], tls: world.identity('server') }
    await inWorld(async (there) => {
      await echoing(there)
      const tunnel = await there.openUdp()
      const from = await there.udp.client(tunnel.local)
      from.send('before')
      await world.sleep(200)
      nat.rebind()
      for (let count = 0; count < 20; count++) {
        from.send('after')
        await world.sleep(50)
      }
      expect([from.received[0], from.received.length > 15, there.far.statistics().flowsTotal]).toEqual(['before', true, 1])
    }, { pair })
  })
})
