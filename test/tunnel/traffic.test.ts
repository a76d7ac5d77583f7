/** What tunnels carry while readers sleep and paths change (docs/spec/tunnel.md section 7, T62): simulated worlds, with TCP that lives in them. */
import { describe, expect, it } from 'vitest'
import { World } from '../../src/sim/index.ts'
import type { WorldPair } from '../../src/sim/index.ts'
import { pattern } from '../fake/pair.ts'
import { MODULE_BUILT } from '../native/built.ts'
import type { FakeSocket } from './fake-tcp.ts'
import { TARGET, drained, hashOf, inWorld, reasons, roomOf, sink, write } from './world.ts'

const MEBIBYTE = 1_048_576

describe.skipIf(!MODULE_BUILT)('a tunnel', { timeout: 60_000 }, () => {
  /** tunnel T50, T51; attacks H3 */
  it('takes from TCP no more than it may hold when the far reader sleeps, and goes on when that wakes', async () => {
    await inWorld(async ({ world, near, tcp, open }) => {
      let target: FakeSocket | null = null
      await tcp.serve(TARGET, (socket) => {
        target = socket
        socket.pause()
      })
      const tunnel = await open()
      const client = tcp.client(tunnel.local)
      const SIZE = 100 * MEBIBYTE
      const piece = pattern(65_536)
      let written = 0
      const writing = (async () => {
        for (; written < SIZE && !client.destroyed; written += piece.length) if (!client.write(piece)) await roomOf(client)
      })()
      await world.sleep(30_000)
      const taken = client.bytesTaken
      expect(taken).toBeLessThan(4 * MEBIBYTE)
      await world.sleep(30_000)
      expect(client.bytesTaken).toBe(taken)
      const awake = sink(target as unknown as FakeSocket)
      await world.sleep(2000)
      expect(awake.bytes).toBeGreaterThan(4 * MEBIBYTE)
      await near.close(tunnel.id, { force: true })
      await writing
    }, { links: [{ delayMs: 10, rateBitsPerSec: 50e6 }] })
  })

  /** tunnel T52; attacks H12 */
  it('that has one stalled bridge lets a free one have its rate', async () => {
    const BYTES = 4 * MEBIBYTE
    const timeOf = (stalled: boolean): Promise<number> => inWorld(async ({ world, tcp, open }) => {
      await tcp.serve(TARGET, (socket) => void socket.once('data', (first: Buffer) => {
        if (first[0] === 1) socket.pause()
        else socket.resume().on('end', () => socket.end('done'))
      }))
      const tunnel = await open()
      if (stalled) {
        const slow = tcp.client(tunnel.local)
        slow.write(Uint8Array.of(1))
        await world.sleep(100)
        void write(slow, 50 * MEBIBYTE)
        await world.sleep(5000)
      }
      const since = world.nowMs
      const free = tcp.client(tunnel.local)
      await write(free, BYTES)
      free.end()
      expect((await drained(free)).bytes.toString()).toBe('done')
      return world.nowMs - since
    }, { links: [{ delayMs: 10, rateBitsPerSec: 20e6 }] })
    const [alone, beside] = [await timeOf(false), await timeOf(true)]
    expect(alone / beside).toBeGreaterThan(0.9)
  })

  /** tunnel T62 */
  it('goes on when its path is rebound by a NAT in the middle of a transfer, with the right bytes', async () => {
    const world = new World({ seed: 5 })
    const [client, server, net] = [world.host('client'), world.host('server'), world.router('internet')]
    const nat = world.nat('nat')
    const links = [world.link(client, nat.inside, { delayMs: 5 }), world.link(nat.outside, net, { delayMs: 5, rateBitsPerSec: 20e6 }), world.link(server, net, { delayMs: 5 })]
    const paths = [{ local: client.addresses[0] ?? '' }]
    const pair: WorldPair = { world, client, server, links, paths, tls: world.identity('server') }
    const BYTES = 6 * MEBIBYTE
    world.at(800, () => nat.rebind())
    world.at(1500, () => nat.rebind())
    await inWorld(async ({ tcp, open, events }) => {
      let hash: Promise<string> | null = null
      await tcp.serve(TARGET, (socket) => {
        hash = sink(socket).done
        socket.once('end', () => socket.end('done'))
      })
      const tunnel = await open()
      const from = tcp.client(tunnel.local)
      await write(from, BYTES)
      from.end()
      expect((await drained(from)).bytes.toString()).toBe('done')
      expect(await hash).toBe(hashOf(BYTES))
      expect(reasons(events.near)).toEqual(['end'])
    }, { pair })
  })

  /** tunnel T62; issue: a path is cut in the middle of a copy */
  it('goes on over the other path when one of two is cut', async () => {
    const pair = World.pair([{ delayMs: 10, rateBitsPerSec: 20e6 }, { delayMs: 20, rateBitsPerSec: 20e6 }])
    const BYTES = 6 * MEBIBYTE
    pair.world.at(700, () => pair.links[0]?.cut())
    await inWorld(async ({ tcp, open, far, paths, events }) => {
      let hash: Promise<string> | null = null
      await tcp.serve(TARGET, (socket) => {
        hash = sink(socket).done
        socket.once('end', () => socket.end('done'))
      })
      const tunnel = await open({ connection: { paths } })
      const [received] = far.endpoint.connections
      const from = tcp.client(tunnel.local)
      await write(from, BYTES)
      from.end()
      expect((await drained(from)).bytes.toString()).toBe('done')
      expect([await hash, reasons(events.near)]).toEqual([hashOf(BYTES), ['end']])
      expect(received?.statistics().maxStallMs).toBeLessThan(300)
    }, { pair })
  })
})
