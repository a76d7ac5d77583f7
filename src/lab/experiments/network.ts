/** What the built-in experiments share: two hosts joined by links, a connection over them, transfers. */
import type { Connection, ConnectionOptions, Endpoint, PathSpec, ReceiveStream, ServerOptions } from '../../index.ts'
import type { Host, Identity, Link, LinkShape, World } from '../../sim/index.ts'

export const PORT = 4433
const CHUNK_BYTES = 65_536

/** Two hosts joined by these links, as `World.pair` makes them, in a world that is there. */
export interface Pair {
  client: Host
  server: Host
  links: readonly Link[]
  paths: readonly PathSpec[]
  tls: Identity
}

/** `identify`: the identity of the server, for the name `server`. */
export function pairIn(world: World, shapes: readonly LinkShape[], identify: (world: World) => Identity = (from) => from.identity('server')): Pair {
  const client = world.host('client')
  const server = world.host('server')
  const links = shapes.map((shape, index) => world.link(client, server, { name: `link ${index}`, ...shape }))
  return { client, server, links, paths: links.map(({ a, b }) => ({ local: a.address, remote: `${b.address}:${PORT}` })), tls: identify(world) }
}

export interface Ends {
  atClient: Endpoint
  atServer: Endpoint
  near: Connection
  far: Connection
}

/** Inside `world.run`: a connection over all links. */
export async function connect(pair: Pair, options: ConnectionOptions = {}, server: Partial<ServerOptions> = {}): Promise<Ends> {
  const atServer = await pair.server.bind({ server: { ...pair.tls, alpn: 'lab', ...server } })
  const atClient = await pair.client.bind()
  const near = await dial(atClient, pair, options)
  const far = await taken(atServer)
  return { atClient, atServer, near, far }
}

export function dial(from: Endpoint, { tls, paths }: Pair, options: ConnectionOptions = {}): Promise<Connection> {
  return from.connect(paths[0]?.remote ?? '', { alpn: 'lab', ca: tls.ca, serverName: 'server', paths, ...options })
}

/** The next connection of a server. */
export async function taken(at: Endpoint): Promise<Connection> {
  const { value } = await at.incoming().next()
  if (value === undefined) throw new Error('the server has ended')
  return value
}

export async function firstStream(of: Connection): Promise<ReceiveStream> {
  const { value } = await of.incomingUnidirectional().next()
  if (value === undefined) throw new Error('the connection has ended')
  return value
}

/** Reads to the end, answers the number of bytes. */
export async function drain(stream: ReceiveStream): Promise<number> {
  let bytes = 0
  for await (const chunks of stream) for (const chunk of chunks) bytes += chunk.length
  return bytes
}

/** Writes so many bytes and ends the stream. */
export async function send(to: Connection, bytes: number): Promise<void> {
  const stream = await to.openUnidirectional()
  const chunk = new Uint8Array(CHUNK_BYTES)
  for (let left = bytes; left > 0;) {
    left -= stream.write(chunk.subarray(0, Math.min(CHUNK_BYTES, left)))
    if (left > 0) await stream.ready()
  }
  stream.end()
}

/** Sends so many bytes to the other end; resolves when all have arrived. @throws if fewer do */
export async function transfer(near: Connection, far: Connection, bytes: number): Promise<void> {
  const [arrived] = await Promise.all([firstStream(far).then(drain), send(near, bytes)])
  if (arrived !== bytes) throw new Error(`${arrived} of ${bytes} bytes arrived`)
}
