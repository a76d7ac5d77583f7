/** A public end in a simulated world, and private ends: scripted ones, message by message. Both ends' tests stand on it. */
import { REVERSE_ALPN, reverseConnect } from '../../src/reverse/index.ts'
import type { ReverseConnectOptions, ReverseDialler, ReverseEvent, ReverseListenOptions, ReverseListener } from '../../src/reverse/index.ts'
import { ControlStream } from '../../src/reverse/control.ts'
import { listenWith } from '../../src/reverse/listener.ts'
import { PROTOCOL_VERSION } from '../../src/reverse/messages.ts'
import type { AcceptMessage, ControlMessage } from '../../src/reverse/messages.ts'
import type { Connection, ConnectionOptions, Endpoint } from '../../src/index.ts'
import { World } from '../../src/sim/index.ts'
import type { Identity, LinkShape, WorldPair } from '../../src/sim/index.ts'
import type { BidirectionalStream } from '../../src/stream/index.ts'

/** A private end that says what the test says. */
export interface Caller {
  connection: Connection
  control: ControlStream
  say(message: ControlMessage): Promise<void>
  hear(): Promise<ControlMessage | null>
}

export interface CallOptions {
  /** Names of the certificate; null: none is shown. @default ['web'] */
  names?: readonly string[] | null
  connection?: ConnectionOptions
  endpoint?: Endpoint
  /** Request streams that it allows. @default 100 */
  streams?: number
}

export interface ReverseWorld extends WorldPair {
  listener: ReverseListener
  /** Address of the public end. */
  to: string
  events: ReverseEvent[]
  /** Endpoint of the private ends. */
  near: Endpoint
  /** Connects and opens the control stream; says nothing. */
  call(options?: CallOptions): Promise<Caller>
  /** Calls, says HELLO and hears ACCEPT; every request is answered with what it brings. */
  join(service?: string, options?: CallOptions & { serve?: Serve | null }): Promise<Caller & { accepted: AcceptMessage; requests: BidirectionalStream[] }>
  identity(...names: string[]): Identity
}

export type Serve = (stream: BidirectionalStream, connection: Connection) => void | Promise<void>

export interface ReverseWorldOptions {
  links?: readonly LinkShape[]
  listen?: Partial<ReverseListenOptions>
  pair?: WorldPair
  /** Certificates that are trusted beside those of `KNOWN`, each by its names. */
  known?: readonly (readonly string[])[]
}

/** Names of the certificates that the public end trusts. */
export const KNOWN: readonly (readonly string[])[] = [['web'], ['api'], ['other'], ['web', 'api']]

export const hello = (service = 'web', pool = 1): ControlMessage => ({ type: 'hello', version: PROTOCOL_VERSION, service, pool })

/** Runs `main` in virtual time and closes the public end. */
export async function inReverseWorld<T>(main: (world: ReverseWorld) => Promise<T>, options: ReverseWorldOptions = {}): Promise<T> {
  const pair = options.pair ?? World.pair(options.links ?? [{ delayMs: 10 }])
  const { world, client, server, tls, paths } = pair
  return world.run(async () => {
    const { cert, key, ca } = tls
    const clientCa = [...KNOWN, ...(options.known ?? [])].map((names) => world.identity(...names).cert)
    const local = server.addresses.map((address) => `${address}:4433`)
    const listener = await listenWith({ ...(options.listen?.endpoint === undefined && { local, cert, key, clientCa }), ...options.listen }, (own) => server.bind(own))
    const near = await client.bind()
    const events: ReverseEvent[] = []
    listener.events$.subscribe((event) => events.push(event))
    const to = listener.local[0] ?? ''
    const call: ReverseWorld['call'] = async ({ names = ['web'], connection: more, endpoint = near, streams = 100 } = {}) => {
      const shows = names === null ? null : world.identity(...names)
      const connection = await endpoint.connect(to, {
        alpn: REVERSE_ALPN, ca, serverName: 'server', paths: paths.slice(0, 1), ...(shows !== null && { cert: shows.cert, key: shows.key }), ...more, limits: { bidirectionalStreams: streams, ...more?.limits },
      })
      const control = new ControlStream(await connection.openBidirectional())
      return { connection, control, say: (message) => control.send(message), hear: () => control.next() }
    }
    const join: ReverseWorld['join'] = async (service = 'web', { serve = echo, ...more } = {}) => {
      const caller = await call({ names: [service], ...more })
      await caller.say(hello(service))
      const accepted = await caller.hear()
      if (accepted?.type !== 'accept') throw new Error(`${service} was not accepted: ${JSON.stringify(accepted, (_, value: unknown) => (typeof value === 'bigint' ? Number(value) : value))}`)
      const requests: BidirectionalStream[] = []
      if (serve !== null) void serveAll(caller.connection, requests, serve)
      await world.sleep(0)
      return { ...caller, accepted, requests }
    }
    try {
      return await main({ ...pair, listener, to, events, near, call, join, identity: (...names) => world.identity(...names) })
    } finally {
      await listener.close({ drainMs: 0 })
    }
  })
}

async function serveAll(connection: Connection, requests: BidirectionalStream[], serve: Serve): Promise<void> {
  for await (const stream of connection.incomingBidirectional()) {
    requests.push(stream)
    void serve(stream, connection)
  }
}

/** Answers with the bytes of the request. */
export async function echo(stream: BidirectionalStream): Promise<void> {
  try {
    const bytes = await stream.bytes()
    for (let at = stream.write(bytes); at < bytes.length; at += stream.write(bytes.subarray(at))) await stream.ready()
    stream.end()
  } catch {
    stream.reset()
  }
}

/** Sends all of it, and answers with what comes. */
export async function ask(stream: BidirectionalStream, text: string): Promise<string> {
  stream.write(Buffer.from(text))
  stream.end()
  return Buffer.from(await stream.bytes()).toString()
}

/** A private end of this world for `service`. */
export function dial({ to, near, tls, identity, paths }: ReverseWorld, service: string, more: Partial<ReverseConnectOptions> = {}, serve: Serve = echo): ReverseDialler {
  return reverseConnect({ to, endpoint: near, identity: identity(service), service, ...more, connection: { ca: tls.ca, serverName: 'server', paths: paths.slice(0, 1), ...more.connection } }, serve)
}
