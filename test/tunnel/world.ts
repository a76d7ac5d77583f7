/** Two managers in a simulated world, with TCP that lives there too: for rules about time, loss and paths. */
import { createHash } from 'node:crypto'
import type { ConnectionOptions, Endpoint, ServerOptions } from '../../src/index.ts'
import { World } from '../../src/sim/index.ts'
import type { LinkShape, WorldPair } from '../../src/sim/index.ts'
import { TUNNEL_ALPN, TUNNEL_LIMITS } from '../../src/tunnel/index.ts'
import type { BridgeEvent, OpenTunnel, Tunnel, TunnelEvent, TunnelManager, TunnelOptions } from '../../src/tunnel/index.ts'
import { managerWith } from '../../src/tunnel/manager.ts'
import { pattern } from '../fake/pair.ts'
import { FakeTcp } from './fake-tcp.ts'
import type { FakeSocket } from './fake-tcp.ts'
import { FakeUdp } from './fake-udp.ts'

export interface TunnelWorld extends WorldPair {
  near: TunnelManager
  far: TunnelManager
  tcp: FakeTcp
  udp: FakeUdp
  remote: string
  /** The handler of most tests: port 7 to here. */
  target: string
  events: { near: BridgeEvent[]; far: BridgeEvent[]; tunnels: TunnelEvent[] }
  /** Opens without waiting. */
  begin(more?: Partial<OpenTunnel>): Promise<Tunnel>
  /** Opens and waits. */
  open(more?: Partial<OpenTunnel>): Promise<Tunnel>
  /** As `begin`, for UDP. */
  beginUdp(more?: Partial<OpenTunnel>): Promise<Tunnel>
  /** As `open`, for UDP. */
  openUdp(more?: Partial<OpenTunnel>): Promise<Tunnel>
  serverOptions: ServerOptions
}

export interface TunnelWorldOptions {
  links?: readonly LinkShape[]
  near?: Partial<TunnelOptions>
  far?: Partial<TunnelOptions>
  server?: Partial<ServerOptions>
  /** No handler is there. */
  closed?: boolean
  pair?: WorldPair
  connection?: ConnectionOptions
}

export const TARGET = '192.0.2.1:80'

/** Runs `main` in virtual time and shuts both managers down. */
export async function inWorld<T>(main: (world: TunnelWorld) => Promise<T>, options: TunnelWorldOptions = {}): Promise<T> {
  const pair = options.pair ?? World.pair(options.links ?? [{ delayMs: 10 }])
  const { world, client, server, tls, paths } = pair
  return world.run(async () => {
    const tcp = new FakeTcp()
    const serverOptions: ServerOptions = { ...tls, alpn: TUNNEL_ALPN, clientAuth: 'require', limits: TUNNEL_LIMITS, ...options.server }
    const atFar = await server.bind({ server: serverOptions })
    const atNear: Endpoint = await client.bind()
    const udp = new FakeUdp()
    const far = managerWith({ endpoint: atFar, ...options.far }, tcp, udp)
    const near = managerWith({ endpoint: atNear, ...options.near }, tcp, udp)
    const events: TunnelWorld['events'] = { near: [], far: [], tunnels: [] }
    near.bridges$.subscribe((event) => events.near.push(event))
    far.bridges$.subscribe((event) => events.far.push(event))
    near.tunnels$.subscribe((event) => events.tunnels.push(event))
    if (options.closed !== true) far.listen(({ peer, port }) => (peer !== null && port === 7 ? TARGET : undefined), { protocol: 'both' })
    const remote = atFar.local[0] ?? ''
    const full = (more: Partial<OpenTunnel> = {}): OpenTunnel => ({
      remote, port: 7, ...more, connection: { ca: tls.ca, cert: tls.cert, key: tls.key, serverName: 'server', paths: paths.slice(0, 1), ...options.connection, ...more.connection },
    })
    const begin = (more?: Partial<OpenTunnel>): Promise<Tunnel> => near.open(full(more))
    const beginUdp = (more?: Partial<OpenTunnel>): Promise<Tunnel> => near.openUdp(full(more))
    const agreed = async (tunnel: Tunnel): Promise<Tunnel> => {
      await tunnel.opened
      return tunnel
    }
    const open = async (more?: Partial<OpenTunnel>): Promise<Tunnel> => agreed(await begin(more))
    const openUdp = async (more?: Partial<OpenTunnel>): Promise<Tunnel> => agreed(await beginUdp(more))
    try {
      return await main({ ...pair, near, far, tcp, udp, remote, target: TARGET, events, begin, open, beginUdp, openUdp, serverOptions })
    } finally {
      await Promise.all([near.shutdown({ graceMs: 0 }), far.shutdown({ graceMs: 0 })])
    }
  })
}

/** All bytes that come until the end: 'fin' if that is one. */
export async function drained(socket: { [Symbol.asyncIterator](): AsyncIterator<unknown> }): Promise<{ bytes: Buffer; end: 'fin' | 'rst' }> {
  const pieces: Buffer[] = []
  try {
    for await (const piece of socket) pieces.push(piece as Buffer)
  } catch {
    return { bytes: Buffer.concat(pieces), end: 'rst' }
  }
  return { bytes: Buffer.concat(pieces), end: 'fin' }
}

export const reasons = (events: readonly BridgeEvent[]): unknown[] => events.filter(({ type }) => type === 'failed' || type === 'closed').map(({ reason }) => reason)

/** Writes all of it as the socket takes it. */
export async function write(socket: FakeSocket, bytes: number, piece = 65_536): Promise<void> {
  for (let at = 0; at < bytes && !socket.destroyed; at += piece) {
    if (!socket.write(pattern(Math.min(piece, bytes - at), at))) await roomOf(socket)
  }
}

/** When it takes more, or nothing any more. */
export function roomOf(socket: FakeSocket): Promise<void> {
  return new Promise((resolve) => {
    const over = (): void => {
      socket.off('drain', over).off('close', over)
      resolve()
    }
    socket.on('drain', over).on('close', over)
  })
}

/** Reads on and counts; `hash` of all at the end. */
export function sink(socket: FakeSocket): { bytes: number; done: Promise<string> } {
  const hash = createHash('sha256')
  const counter = { bytes: 0, done: Promise.resolve('') }
  counter.done = new Promise((resolve) => {
    socket.on('data', (piece: Buffer) => {
      counter.bytes += piece.length
      hash.update(piece)
    }).once('end', () => resolve(hash.digest('hex'))).once('close', () => resolve('cut')).resume()
  })
  return counter
}

export const hashOf = (bytes: number): string => createHash('sha256').update(pattern(bytes)).digest('hex')
