/**
 * Tunnels under load in simulated worlds: a path that is lost in the middle of a copy, and a thousand bridges while paths come and go
 * (docs/spec/tunnel.md T62). Long forms: `npm run torture -- failover`, `-- bridges`.
 */
import { createHash } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import { World } from '../../src/sim/index.ts'
import type { WorldPair } from '../../src/sim/index.ts'
import { TUNNEL_LIMITS } from '../../src/tunnel/index.ts'
import type { Connection } from '../../src/index.ts'
import { pattern } from '../fake/pair.ts'
import { RUNS, progress } from '../life/torture.ts'
import { MODULE_BUILT } from '../native/built.ts'
import type { FakeSocket } from './fake-tcp.ts'
import { TARGET, drained, hashOf, inWorld, reasons, sink, write } from './world.ts'

const MEBIBYTE = 1_048_576

describe.skipIf(!MODULE_BUILT)('a copy through a tunnel', { timeout: 3_600_000 }, () => {
  const STALL_MS = 300
  const RATE = 20e6
  /** What a router keeps in 30 ms; with more, the stall grows by as much. */
  const queue = { kind: 'taildrop', bytes: RATE / 8 * 0.03 } as const
  /** One way, of each path. */
  const DELAYS: readonly (readonly [number, number])[] = RUNS === null ? [[1, 1], [10, 20], [30, 30]] : [[1, 1], [2, 5], [10, 20], [20, 10], [30, 30]]
  const SEEDS = RUNS === null ? 1 : Math.ceil(RUNS / DELAYS.length / 4)

  /** tunnel T62; multipath MP-83; issue: failover of a path in the middle of a copy */
  it('that loses one of its two paths stands still for less than 300 ms, whichever it is and whichever way it goes, and has the right bytes', async () => {
    const told = progress('copies', DELAYS.length * SEEDS * 4)
    for (const delays of DELAYS) {
      for (let seed = 1; seed <= SEEDS; seed++) {
        for (const [lost, way] of [[0, 'up'], [1, 'up'], [0, 'down'], [1, 'down']] as const) {
          const { stallMs, hash, ended } = await copy(delays, seed, lost, way)
          expect([hash, ended], `${delays} seed ${seed} lost ${lost} ${way}`).toEqual([hashOf(3 * MEBIBYTE), ['end']])
          expect(stallMs, `${delays} seed ${seed} lost ${lost} ${way}`).toBeLessThan(STALL_MS)
          told()
        }
      }
    }
  })

  /** The longest time without a byte at the receiver, while the copy goes on. */
  async function copy(delays: readonly number[], seed: number, lost: number, way: 'up' | 'down'): Promise<{ stallMs: number; hash: string; ended: unknown[] }> {
    const pair = World.pair(delays.map((delayMs) => ({ delayMs, rateBitsPerSec: RATE, queue })), { seed })
    return inWorld(async ({ tcp, open, world, paths, events }) => {
      let [last, stallMs] = [0, 0]
      const watch = (socket: FakeSocket): Promise<string> => {
        socket.on('data', () => {
          if (last > 0) stallMs = Math.max(stallMs, world.nowMs - last)
          last = world.nowMs
        })
        return sink(socket).done
      }
      let received: Promise<string> = Promise.resolve('')
      await tcp.serve(TARGET, (socket) => {
        if (way === 'up') {
          received = watch(socket)
          socket.once('end', () => socket.end())
        } else void write(socket, 3 * MEBIBYTE).then(() => socket.end())
      })
      const tunnel = await open({ connection: { paths } })
      await tunnel.connection?.paths.ready({ count: 2 })
      const client = tcp.client(tunnel.local)
      // In the middle: it takes about 700 ms.
      world.at(world.nowMs + 350, () => pair.links[lost]?.cut())
      if (way === 'up') {
        await write(client, 3 * MEBIBYTE)
        client.end()
        await drained(client)
      } else {
        client.end()
        received = watch(client)
        await received
      }
      const hash = await received
      await world.sleep(1000)
      return { stallMs, hash, ended: reasons(events.near) }
    }, { pair })
  }
})

describe.skipIf(!MODULE_BUILT)('a thousand bridges', { timeout: 3_600_000 }, () => {
  const COUNT = RUNS ?? 1000
  const PIECES = 12
  const PIECE = 1024

  /** tunnel T62; issue part 7 */
  it('live on while the paths of their connection change ten times, each with its own bytes', async () => {
    const { pair, changes } = changing()
    const limits = { maxBridges: COUNT, maxBridgesPerPeer: COUNT, pendingMax: COUNT }
    const server = { limits: { ...TUNNEL_LIMITS, bidirectionalStreams: COUNT + 2 } }
    await inWorld(async ({ tcp, open, world, near, events, links }) => {
      const targets: Promise<string>[] = []
      await tcp.serve(TARGET, (socket) => {
        targets.push(sink(socket).done)
        socket.pipe(socket)
      })
      const tunnel = await open({ connection: { limits: TUNNEL_LIMITS } })
      const told: string[] = []
      tunnel.connection?.paths.events$.subscribe(({ path, type }) => told.push(`${path} ${type}`))
      const clients = Array.from({ length: COUNT }, (_, index) => ({ index, socket: tcp.client(tunnel.local) }))
      const answers = clients.map(({ socket }) => sink(socket).done)
      for (let piece = 0; piece < PIECES; piece++) {
        for (const { index, socket } of clients) socket.write(bytesOf(index, piece))
        // In the middle of what was just written.
        await world.sleep(30)
        await changes[piece]?.(tunnel.connection as Connection)
        await world.sleep(600)
        expect(near.statistics().bridgesOpen).toBe(COUNT)
      }
      for (const { socket } of clients) socket.end()
      const wanted = clients.map(({ index }) => hashFor(index))
      expect(await Promise.all(answers)).toEqual(wanted)
      expect((await Promise.all(targets)).toSorted()).toEqual(wanted.toSorted())
      await world.sleep(1000)
      expect(told).toEqual(expect.arrayContaining(['1 validated', '2 validated', '0 suspect', '0 recovered', '0 abandoned', '2 abandoned']))
      expect(links.filter((link) => link.statistics().dropped.cut > 0).length).toBe(2)
      expect([new Set(reasons(events.near)), new Set(reasons(events.far)), near.statistics().failed]).toEqual([new Set(['end']), new Set(['end']), {}])
    }, { pair, near: { limits, streams: COUNT }, far: { limits, streams: COUNT }, server, connection: {} })
  })

  const bytesOf = (index: number, piece: number): Uint8Array => pattern(PIECE, index * 7919 + piece * PIECE)

  function hashFor(index: number): string {
    const hash = createHash('sha256')
    for (let piece = 0; piece < PIECES; piece++) hash.update(bytesOf(index, piece))
    return hash.digest('hex')
  }

  /** Three ways out, one of them behind a NAT, and ten things that happen to them. */
  function changing(): { pair: WorldPair; changes: ((connection: Connection) => unknown)[] } {
    const world = new World({ seed: 12 })
    const [client, server, net] = [world.host('client'), world.host('server'), world.router('internet')]
    const nat = world.nat('nat')
    const shape = { delayMs: 8, rateBitsPerSec: 100e6 }
    const behind = world.link(client, nat.inside, { delayMs: 1 })
    const first = world.link(nat.outside, net, shape)
    const second = world.link(client, net, shape)
    const third = world.link(client, net, { ...shape, delayMs: 15 })
    const last = world.link(server, net, { delayMs: 2, rateBitsPerSec: 300e6 })
    const [a = '', b = '', c = ''] = client.addresses
    const pair: WorldPair = { world, client, server, links: [behind, first, second, third, last], paths: [{ local: a }], tls: world.identity('server') }
    const openOn = (local: string) => ({ paths }: Connection): unknown => paths.open({ local })
    const abandonOn = (local: string) => ({ paths }: Connection): unknown => [...paths].find((path) => path.local.startsWith(local))?.abandon()
    return {
      pair,
      changes: [
        openOn(b), () => nat.rebind(), () => first.cut(), openOn(c), () => second.cut(),
        () => first.restore(), () => nat.rebind(), abandonOn(c), () => second.restore(), abandonOn(a),
      ],
    }
  }
})
