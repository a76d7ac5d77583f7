/** Hostile TCP peers and ends at the worst moment (docs/spec/attacks.md H3, H4), and the defaults that bound them (docs/spec/tunnel.md T53). */
import { readdirSync } from 'node:fs'
import { connect } from 'node:net'
import type { Socket } from 'node:net'
import { afterEach, describe, expect, it } from 'vitest'
import { Endpoint } from '../../src/index.ts'
import type { Logger } from '../../src/index.ts'
import { TUNNEL_ALPN, TUNNEL_LIMITS } from '../../src/tunnel/index.ts'
import { managerWith } from '../../src/tunnel/manager.ts'
import { NODE_TCP } from '../../src/tunnel/tcp.ts'
import type { Tcp } from '../../src/tunnel/tcp.ts'
import { pattern } from '../fake/pair.ts'
import { MODULE_BUILT } from '../native/built.ts'
import type { FakeSocket } from './fake-tcp.ts'
import { OWN, allowing, atEnd, endAll, tcpServer, tunnelPair } from './pair.ts'
import { TARGET, drained, hashOf, inWorld, reasons, sink, write } from './world.ts'
import type { TunnelWorld } from './world.ts'

const MEBIBYTE = 1_048_576

afterEach(endAll)

describe.skipIf(!MODULE_BUILT)('a TCP peer', { timeout: 60_000 }, () => {
  interface Case {
    what: string
    target: (socket: FakeSocket) => void
    client: (socket: FakeSocket) => void
    /** How the client's side ends, what it got, how the target's side ends, and what both ends count. */
    seen: [client: string, bytes: string, target: string | null, reason: string]
  }
  const cases: Case[] = [
    { what: 'that ends its side first, at the target', target: (socket) => void socket.write('x', () => socket.end()), client: (socket) => void setImmediate(() => socket.end('up')), seen: ['fin', 'x', 'fin up', 'end'] },
    { what: 'that ends its side first, at the client', target: (socket) => void socket.on('end', () => socket.end('late')), client: (socket) => void socket.end('up'), seen: ['fin', 'late', 'fin up', 'end'] },
    { what: 'that resets in the middle, at the target', target: (socket) => void socket.once('data', () => socket.resetAndDestroy()), client: (socket) => void socket.write('up'), seen: ['rst', '', 'rst up', 'tcp'] },
    { what: 'that resets in the middle, at the client', target: (socket) => void socket.write('x'), client: (socket) => void socket.once('data', () => socket.resetAndDestroy()), seen: ['rst', 'x', 'rst ', 'tcp'] },
    { what: 'that resets as soon as it is there, at the target', target: (socket) => void socket.resetAndDestroy(), client: () => {}, seen: ['rst', '', 'rst ', 'tcp'] },
  ]

  it.each(cases)('attack H3: a TCP peer $what: its end is the same end on the other side, no byte is lost or added', async ({ target, client, seen }) => {
    const result = await inWorld(async ({ world, tcp, open, events }) => {
      let atTarget: Promise<{ bytes: Buffer; end: string }> | null = null
      await tcp.serve(TARGET, (socket) => {
        atTarget = collected(socket)
        target(socket)
      })
      const tunnel = await open()
      const socket = tcp.client(tunnel.local)
      const ours = collected(socket)
      client(socket)
      const { bytes, end } = await ours
      await world.sleep(2000)
      const theirs = await (atTarget as Promise<{ bytes: Buffer; end: string }> | null)
      return [end, String(bytes), theirs === null ? null : `${theirs.end} ${String(theirs.bytes)}`, [...new Set([...reasons(events.near), ...reasons(events.far)])].join(' ')]
    })
    expect(result).toEqual(seen)
  })

  it('attack H3: a TCP target that refuses, or takes nobody in for ever, costs its client a reset and nobody else anything', async () => {
    const result = await inWorld(async (world) => {
      await toAnother(world)
      const refused = (await drained(world.tcp.client((await world.open()).local))).end
      world.tcp.silent.add(TARGET)
      const tunnel = await world.open()
      const waits = Array.from({ length: 8 }, () => drained(world.tcp.client(tunnel.local)))
      const other = drained(world.tcp.client((await world.open({ port: 8 })).local))
      const free = String((await other).bytes)
      const ends = (await Promise.all(waits)).map(({ end }) => end)
      return { refused, free, ends: [...new Set(ends)], open: [...world.tcp.open].filter(({ name }) => name === `to ${TARGET}`).length, failed: world.far.statistics().failed }
    })
    expect(result).toEqual({ refused: 'rst', free: 'other', ends: ['rst'], open: 0, failed: { connect: 9 } })
  })

  it('attack H3: a TCP peer that stalls while a GiB waits for it holds a few MiB, whichever side it is on; what it reads later is whole', async () => {
    for (const side of ['target', 'client'] as const) {
      const result = await inWorld(async ({ world, near, far, tcp, open }) => {
        const GIBIBYTE = 1024 * MEBIBYTE
        let atTarget: FakeSocket | null = null
        await tcp.serve(TARGET, (socket) => {
          atTarget = socket
          socket.pause()
        })
        const tunnel = await open()
        const client = tcp.client(tunnel.local)
        client.pause()
        await world.sleep(500)
        const [writer, reader] = side === 'target' ? [client, atTarget as unknown as FakeSocket] : [atTarget as unknown as FakeSocket, client]
        // Written piece by piece as it is taken: nobody takes a GiB.
        let written = 0
        const writing = (async () => {
          for (const piece = 1024 * 1024; written < GIBIBYTE && !writer.destroyed; written += piece) await write(writer, piece)
        })()
        await world.sleep(60_000)
        const held = writer.bytesTaken
        await world.sleep(60_000)
        const grown = writer.bytesTaken - held
        const first = reader.read(100_000) as Buffer | null
        const whole = first === null || Buffer.from(first).equals(Buffer.from(pattern(first.length)))
        await Promise.all([near.close(tunnel.id, { force: true }), world.sleep(100)])
        await writing
        await world.sleep(1000)
        return { held, grown, whole, written, open: [near.statistics().bridgesOpen, far.statistics().bridgesOpen] }
      })
      expect(result, side).toMatchObject({ grown: 0, whole: true, open: [0, 0] })
      expect(result.held, side).toBeLessThan(4 * MEBIBYTE)
      expect(result.written, side).toBeLessThan(8 * MEBIBYTE)
    }
  })

  it('attack H3: a TCP peer that reads in fits and starts gets every byte once', async () => {
    const BYTES = 8 * MEBIBYTE
    const result = await inWorld(async ({ world, tcp, open }) => {
      let received: ReturnType<typeof sink> | null = null
      await tcp.serve(TARGET, (socket) => {
        received = sink(socket)
        void (async () => {
          while (!socket.destroyed && !socket.readableEnded) {
            socket.pause()
            await world.sleep(150)
            socket.resume()
            await world.sleep(50)
          }
        })()
        socket.on('end', () => socket.end())
      })
      const tunnel = await open()
      const client = tcp.client(tunnel.local)
      await write(client, BYTES)
      client.end()
      await drained(client)
      return { bytes: (received as unknown as ReturnType<typeof sink>).bytes, hash: await (received as unknown as ReturnType<typeof sink>).done }
    }, { links: [{ delayMs: 10, rateBitsPerSec: 100e6, loss: 0.01 }] })
    expect(result).toEqual({ bytes: BYTES, hash: hashOf(BYTES) })
  })
})

describe.skipIf(!MODULE_BUILT)('a dial', { timeout: 60_000 }, () => {
  /** Sockets that connect really, but are told of as if the target never answered. */
  const never: Tcp = { ...NODE_TCP, dial: ({ host, port }) => connect({ host, port }).on('error', () => {}) }

  it('attack H4: a dial whose stream is reset, or whose connection is closed, ends with it, and its file is closed', async () => {
    const server = { ...OWN, alpn: TUNNEL_ALPN, clientAuth: 'require' as const, ca: OWN.cert, limits: TUNNEL_LIMITS }
    const [atNear, atFar] = [await Endpoint.bind({ local: '127.0.0.1:0' }), await Endpoint.bind({ local: '127.0.0.1:0', server })]
    atEnd(() => Promise.all([atNear.close({ drainMs: 0 }), atFar.close({ drainMs: 0 })]))
    const [near, far] = [managerWith({ endpoint: atNear }, NODE_TCP), managerWith({ endpoint: atFar }, never)]
    atEnd(() => Promise.all([near.shutdown({ graceMs: 0 }), far.shutdown({ graceMs: 0 })]))
    const target = await tcpServer((socket) => void socket.resume())
    far.listen(() => target.address)
    const opened = async (): Promise<{ id: number; local: string }> => {
      const tunnel = await near.open({ remote: atFar.local[0] ?? '', port: 7, connection: { ca: OWN.cert, ...OWN, serverName: 'localhost' } })
      await tunnel.opened
      return tunnel
    }
    const dialling = async (local: string): Promise<Socket[]> => {
      const clients = Array.from({ length: 8 }, () => connect({ port: Number(local.split(':')[1]), host: '127.0.0.1' }).on('error', () => {}))
      await settled(() => target.sockets.size === 8)
      return clients
    }
    const kept = await opened()
    const before = await steadyFds()
    // The stream: its client goes.
    const gone = await dialling(kept.local)
    for (const client of gone) client.resetAndDestroy()
    await settled(() => target.sockets.size === 0)
    expect(await steadyFds()).toBe(before)
    // The connection: closed by the client, in the middle of dials.
    const other = await opened()
    const cut = await dialling(other.local)
    await near.close(other.id, { force: true })
    await settled(() => target.sockets.size === 0)
    for (const client of cut) client.destroy()
    expect(await steadyFds()).toBe(before)
    // By the server.
    await dialling(kept.local)
    for (const connection of atFar.connections) connection.destroy()
    await settled(() => target.sockets.size === 0)
    await settled(() => near.statistics().bridgesOpen === 0 && far.statistics().bridgesOpen === 0)
    expect(far.statistics().durations.dial.count).toBe(0)
  })

  it('attack H4: a dial is not begun for a stream that is gone when the handler answers', async () => {
    await inWorld(async ({ world, far, tcp, open }) => {
      far.listen(async ({ port }) => {
        if (port === 9 && far.statistics().bridgesTotal > 0) await world.sleep(1000)
        return port === 9 ? TARGET : undefined
      })
      const tunnel = await open({ port: 9 })
      const client = tcp.client(tunnel.local)
      await world.sleep(300)
      client.resetAndDestroy()
      await world.sleep(3000)
      expect([tcp.dialled, far.statistics().bridgesOpen]).toEqual([[], 0])
    })
  })
})

describe.skipIf(!MODULE_BUILT)('without options', { timeout: 60_000 }, () => {
  /** tunnel T53 */
  it('tunnels have windows, streams and times that suit them', async () => {
    expect(TUNNEL_LIMITS).toEqual({
      idleTimeoutMs: 300_000, keepAliveMs: 25_000, bidirectionalStreams: 288, unidirectionalStreams: 0,
      streamWindowBytes: 65_536, maxStreamWindowBytes: 4_194_304, connectionWindowBytes: 2_097_152, maxConnectionWindowBytes: 33_554_432,
    })
    expect(32 * 65_536).toBeLessThanOrEqual(2_097_152)
    expect(() => Object.assign(TUNNEL_LIMITS, { keepAliveMs: 1 })).toThrow(TypeError)
  })

  /** tunnel T53 */
  it('a server joins 32 streams at once, a silent tunnel sends a PING after 25 s, and one that hears nothing ends after 5 min', async () => {
    await inWorld(async ({ world, links, near, far, tcp, open }) => {
      await tcp.serve(TARGET, (socket) => void socket.write('.'))
      const tunnel = await open()
      const clients = Array.from({ length: 40 }, () => tcp.client(tunnel.local))
      await world.sleep(1000)
      expect([near.statistics().bridgesOpen, far.statistics().bridgesOpen, tcp.dialled.length]).toEqual([32, 32, 32])
      for (const client of clients.slice(0, 8)) client.resetAndDestroy()
      await world.sleep(1000)
      expect([near.statistics().bridgesOpen, far.statistics().bridgesOpen, tcp.dialled.length]).toEqual([32, 32, 40])
      const sent = (): number => tunnel.connection?.statistics().packetsSent ?? -1
      const silentSince = sent()
      await world.sleep(23_000)
      expect(sent()).toBe(silentSince)
      await world.sleep(4000)
      expect(sent()).toBeGreaterThan(silentSince)
      for (const link of links) link.cut()
      const since = world.nowMs
      await tunnel.closed
      expect(world.nowMs - since).toBeGreaterThan(270_000)
      expect(world.nowMs - since).toBeLessThan(330_000)
    }, { near: { streams: 1000 } })
  })

  /** tunnel T53 */
  it('windows of streams that are together larger than the connection\'s are warned of', async () => {
    const warnings: string[] = []
    const logger: Logger = { warn: (message) => void warnings.push(message), debug: () => {}, info: () => {}, error: () => {} }
    const pair = await tunnelPair('udp', { atNear: { logger } })
    allowing(pair, '127.0.0.1:9')
    await pair.open()
    expect(warnings).toEqual([])
    await pair.open({ connection: { limits: { streamWindowBytes: 131_072 } } })
    expect(warnings).toEqual(['32 streams with windows of 131072 bytes have more than the connection\'s 2097152: streams that stall hold up the others; raise limits.connectionWindowBytes to 4194304'])
    await pair.open({ connection: { limits: { streamWindowBytes: 131_072, connectionWindowBytes: 4_194_304 } } })
    expect(warnings).toHaveLength(1)
  })
})

/** All bytes, and how it ended; the other direction stays as it is. */
function collected(socket: FakeSocket): Promise<{ bytes: Buffer; end: 'fin' | 'rst' }> {
  const pieces: Buffer[] = []
  return new Promise((resolve) => {
    const over = (end: 'fin' | 'rst') => (): void => resolve({ bytes: Buffer.concat(pieces), end })
    socket.on('data', (piece: Buffer) => pieces.push(piece)).once('end', over('fin')).once('close', over('rst'))
  })
}

/** Port 8 leads to a target that answers. */
async function toAnother({ far, tcp }: TunnelWorld): Promise<void> {
  far.listen(({ peer, port }) => (peer !== null && port === 8 ? '192.0.2.2:80' : undefined))
  await tcp.serve('192.0.2.2:80', (socket) => void socket.end('other'))
}

/** Waits as long as it takes. */
async function settled(good: () => boolean): Promise<void> {
  while (!good()) await new Promise((resolve) => { setTimeout(resolve, 10) })
}

/** Open files of this process, when they stand still. */
async function steadyFds(): Promise<number> {
  const count = (): number => readdirSync('/proc/self/fd').length
  for (let [before, same] = [count(), 0]; same < 10;) {
    await new Promise((resolve) => { setTimeout(resolve, 20) })
    const now = count()
    same = now === before ? same + 1 : 0
    before = now
  }
  return count()
}
