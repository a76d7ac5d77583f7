/** Two managers of one process: over UDP on loopback, or over a header carrier joined in memory; TCP servers and clients around them. */
import { once } from 'node:events'
import { connect, createServer } from 'node:net'
import type { AddressInfo, Server, Socket } from 'node:net'
import { createDevCertificate, Endpoint } from '../../src/index.ts'
import type { CarrierBurst, CarrierDatagram, CarrierEndpoint, CarrierOptions, EndpointOptions, ServerOptions } from '../../src/index.ts'
import { TUNNEL_ALPN, TUNNEL_LIMITS, TunnelManager, headerCarrier } from '../../src/tunnel/index.ts'
import type { BridgeEvent, OpenTunnel, Tunnel, TunnelOptions } from '../../src/tunnel/index.ts'

export type Kind = 'udp' | 'header'
export const KINDS: readonly Kind[] = ['udp', 'header']

let endings: (() => unknown)[] = []

/** For `afterEach`: ends what a test has made, the last first. */
export async function endAll(): Promise<void> {
  const now = endings
  endings = []
  for (const end of now) await end()
}

export function atEnd(end: () => unknown): void {
  endings.unshift(end)
}

export const OWN: { cert: string; key: string } = identityOf(createDevCertificate({ kind: 'ed25519' }))

function identityOf({ cert, key }: { cert: string; key: string }): { cert: string; key: string } {
  return { cert, key }
}

export const NEAR = '10.0.0.1:7'
export const FAR = '10.0.0.2:4433'

export interface PairOptions {
  near?: Partial<TunnelOptions>
  far?: Partial<TunnelOptions>
  server?: Partial<ServerOptions>
  atNear?: EndpointOptions
  atFar?: EndpointOptions
  /** Of the header carrier: sees datagrams on their way to the far end, and may change or drop them. */
  through?: (datagrams: CarrierDatagram[], burst: CarrierBurst) => CarrierDatagram[]
}

export interface TunnelPair {
  near: TunnelManager
  far: TunnelManager
  /** Of the server, for `open`. */
  remote: string
  /** Opens a tunnel with mutual trust and waits for it. */
  open(more?: Partial<OpenTunnel>): Promise<Tunnel>
  /** As `open`, for UDP. */
  openUdp(more?: Partial<OpenTunnel>): Promise<Tunnel>
  events: { near: BridgeEvent[]; far: BridgeEvent[] }
}

export async function tunnelPair(kind: Kind, options: PairOptions = {}): Promise<TunnelPair> {
  const server: ServerOptions = { ...OWN, alpn: TUNNEL_ALPN, clientAuth: 'require', ca: OWN.cert, limits: TUNNEL_LIMITS, ...options.server }
  const [atNear, atFar] = kind === 'udp' ? await overUdp(server, options) : overHeader(server, options)
  atEnd(() => Promise.all([atNear.close({ drainMs: 0 }), atFar.close({ drainMs: 0 })]))
  const far = new TunnelManager({ endpoint: atFar, carrier: kind, ...options.far })
  const near = new TunnelManager({ endpoint: atNear, carrier: kind, ...options.near })
  const events: TunnelPair['events'] = { near: [], far: [] }
  near.bridges$.subscribe((event) => events.near.push(event))
  far.bridges$.subscribe((event) => events.far.push(event))
  atEnd(() => Promise.all([near.shutdown({ graceMs: 0 }), far.shutdown({ graceMs: 0 })]))
  const remote = kind === 'udp' ? (atFar.local[0] ?? '') : FAR
  const full = (more: Partial<OpenTunnel> = {}): OpenTunnel => ({ remote, port: 7, ...more, connection: { ca: OWN.cert, ...OWN, serverName: 'localhost', ...more.connection } })
  const agreed = async (tunnel: Tunnel): Promise<Tunnel> => {
    await tunnel.opened
    return tunnel
  }
  return {
    near, far, remote, events,
    open: async (more) => agreed(await near.open(full(more))),
    openUdp: async (more) => agreed(await near.openUdp(full(more))),
  }
}

async function overUdp(server: ServerOptions, { atNear, atFar }: PairOptions): Promise<[Endpoint, Endpoint]> {
  return [await Endpoint.bind({ local: '127.0.0.1:0', ...atNear }), await Endpoint.bind({ local: '127.0.0.1:0', ...atFar, server })]
}

function overHeader(server: ServerOptions, { atNear, atFar, through = (datagrams) => datagrams }: PairOptions): [CarrierEndpoint, CarrierEndpoint] {
  const near: CarrierEndpoint = headerCarrier({ ...atNear as Partial<CarrierOptions>, maxDatagramSizeBytes: 1452, local: NEAR, send: (burst) => far.receive(through(datagramsOf(burst, NEAR), burst)) })
  const far: CarrierEndpoint = headerCarrier({ ...atFar as Partial<CarrierOptions>, maxDatagramSizeBytes: 1452, local: FAR, server, send: (burst) => near.receive(datagramsOf(burst, FAR)) })
  return [near, far]
}

/** A burst as the datagrams that the other end receives. */
export function datagramsOf({ bytes, segmentBytes, segments }: CarrierBurst, from: string): CarrierDatagram[] {
  return Array.from({ length: segments }, (_, index) => ({ bytes: bytes.subarray(index * segmentBytes, (index + 1) * segmentBytes), remote: from }))
}

/** A TCP server on loopback; `onSocket` gets half-open sockets. */
export async function tcpServer(onSocket: (socket: Socket) => void): Promise<{ port: number; address: string; server: Server; sockets: Set<Socket> }> {
  const sockets = new Set<Socket>()
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    sockets.add(socket)
    socket.on('error', () => {}).on('close', () => sockets.delete(socket))
    onSocket(socket)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  atEnd(() => {
    server.close()
    for (const socket of sockets) socket.destroy()
  })
  const { port } = server.address() as AddressInfo
  return { port, address: `127.0.0.1:${port}`, server, sockets }
}

/** A connected TCP client of a tunnel, half-open; `end` tells how it ended. */
export async function tcpClient(local: string): Promise<{ socket: Socket; ended: Promise<'fin' | 'rst'>; closed: Promise<void> }> {
  const socket = connect({ port: Number(local.split(':').at(-1)), host: '127.0.0.1', allowHalfOpen: true })
  atEnd(() => socket.destroy())
  const ended = new Promise<'fin' | 'rst'>((resolve) => {
    socket.once('end', () => resolve('fin'))
    socket.on('error', () => resolve('rst')).once('close', () => resolve('rst'))
  })
  const closed = new Promise<void>((resolve) => socket.once('close', () => resolve()))
  // One that is cut at once counts as connected too.
  await Promise.race([once(socket, 'connect').catch(() => {}), ended])
  return { socket, ended, closed }
}

/** All bytes until FIN. */
export async function allOf(socket: Socket): Promise<Buffer> {
  const pieces: Buffer[] = []
  // Not by its iterator, which destroys both directions at the end of one.
  socket.on('data', (piece: Buffer) => pieces.push(piece))
  await once(socket, 'end')
  return Buffer.concat(pieces)
}

/** Resolves when an event of this type has come, or comes. */
export function eventIn(events: BridgeEvent[], manager: TunnelManager, type: BridgeEvent['type'], count = 1): Promise<BridgeEvent> {
  return new Promise((resolve, reject) => {
    const look = (): void => {
      const found = events.filter((event) => event.type === type)
      if (found.length >= count) resolve(found[count - 1] as BridgeEvent)
    }
    look()
    manager.bridges$.subscribe({ next: () => queueMicrotask(look), complete: () => reject(new Error(`ended without ${type}`)) })
  })
}

/** Answers everything it gets, and ends when that ends. */
export function echo(): ReturnType<typeof tcpServer> {
  return tcpServer((socket) => void socket.pipe(socket))
}

/** Lets verified clients go from port 7 to `address`. */
export function allowing(pair: TunnelPair, address: string): number {
  return pair.far.listen(({ peer, port }) => (peer !== null && port === 7 ? address : undefined))
}
