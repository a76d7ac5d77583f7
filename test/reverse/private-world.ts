/** A private end in a simulated world, and a public end that does what a test says: for rules about time, loss and every kind of answer. */
import type { Endpoint } from '../../src/index.ts'
import type { BidirectionalStream, Connection, EndpointOptions, Logger, ServerOptions } from '../../src/index.ts'
import { ControlStream } from '../../src/reverse/control.ts'
import type { HelloMessage } from '../../src/reverse/messages.ts'
import { REVERSE_ALPN, reverseConnect } from '../../src/reverse/index.ts'
import type { DiallerEvent, PreconnectChange, ReverseConnectOptions, ReverseDialler, ReverseHandler, ServedRequest } from '../../src/reverse/index.ts'
import { polarise, reverse } from '../../src/reverse/polarity.ts'
import { serviceOf } from '../../src/endpoint/index.ts'
import { World } from '../../src/sim/index.ts'
import type { LinkShape, WorldPair } from '../../src/sim/index.ts'

/** One connection at the public end of a test. */
export interface Guest {
  connection: Connection
  control: ControlStream
  hello: HelloMessage
  /** The public end is requester now. */
  accept(more?: { pingMs?: number; maxPerKey?: number }): Promise<void>
  refuse(code: bigint, text?: string): Promise<void>
  goAway(code?: bigint, streams?: number | null): Promise<void>
  /** A request, its answer as text. */
  ask(text: string): Promise<string>
}

/** What the public end does with a newcomer after its HELLO; the default accepts. */
export type Script = (guest: Guest, count: number) => void | Promise<void>

export interface PrivateWorldOptions {
  links?: readonly LinkShape[]
  script?: Script
  /** In place of the whole public end, before HELLO. */
  raw?: (connection: Connection, count: number) => void | Promise<void>
  server?: Partial<ServerOptions>
  dial?: Partial<ReverseConnectOptions>
  handler?: ReverseHandler
  logger?: Logger
  seed?: number
  pair?: WorldPair
  /** The test dials itself. */
  manual?: boolean
  /** The public end is an ordinary server, which may open streams as far as it has credit. */
  plain?: boolean
  private?: EndpointOptions
}

export interface PrivateWorld extends WorldPair {
  near: Endpoint
  /** Undefined while nothing listens. */
  far: Endpoint
  remote: string
  dialler: ReverseDialler
  /** Starts another. */
  dial(more?: Partial<ReverseConnectOptions>, handler?: ReverseHandler): ReverseDialler
  guests: Guest[]
  /** Virtual ms at which each connection came to the public end. */
  dials: number[]
  states: PreconnectChange[]
  steps: DiallerEvent[]
  served: ServedRequest[]
  serverOptions: ServerOptions
  /** Waits until it is true, in steps of 1 ms, later of 20. */
  until(what: () => boolean, mostMs?: number): Promise<void>
}

/** Answers with what came, in capitals. */
export const shout: ReverseHandler = async (stream) => {
  stream.write(Buffer.from(Buffer.from(await stream.bytes()).toString().toUpperCase()))
  stream.end()
}

export async function inPrivateWorld<T>(main: (world: PrivateWorld) => Promise<T>, options: PrivateWorldOptions = {}): Promise<T> {
  const pair = options.pair ?? World.pair(options.links ?? [{ delayMs: 10 }], { ...(options.seed !== undefined && { seed: options.seed }) })
  const { world, client, server, tls, paths } = pair
  return world.run(async () => {
    const serverOptions: ServerOptions = { ...tls, alpn: REVERSE_ALPN, clientAuth: 'require', limits: { bidirectionalStreams: 1, unidirectionalStreams: 0 }, ...options.server }
    const far = await server.bind({ server: serverOptions })
    const near = await client.bind({ ...(options.logger && { logger: options.logger }), ...options.private })
    const guests: Guest[] = []
    const dials: number[] = []
    if (options.plain !== true) polarise(serviceOf(far) as NonNullable<ReturnType<typeof serviceOf>>)
    void host(far, () => world.nowMs, { script: ({ accept }) => accept(), ...options }, guests, dials)
    const remote = far.local[0] ?? ''
    const [states, steps, served]: [PreconnectChange[], DiallerEvent[], ServedRequest[]] = [[], [], []]
    const made: ReverseDialler[] = []
    const dial = (more: Partial<ReverseConnectOptions> = {}, handler: ReverseHandler = options.handler ?? shout): ReverseDialler => {
      const connection = { ca: tls.ca, serverName: 'server', paths: paths.slice(0, 1), ...options.dial?.connection, ...more.connection }
      const dialler = reverseConnect({ to: remote, identity: { cert: tls.cert, key: tls.key }, service: 'web', endpoint: near, ...options.dial, ...more, connection }, handler)
      made.push(dialler)
      dialler.state$.subscribe((change) => states.push(change))
      dialler.events$.subscribe((event) => steps.push(event))
      dialler.requests$.subscribe((event) => served.push(event))
      return dialler
    }
    const until = async (what: () => boolean, mostMs = 60_000): Promise<void> => {
      for (const since = world.nowMs; !what();) {
        if (world.nowMs > since + mostMs) throw new Error(`not within ${mostMs} ms; states: ${JSON.stringify(states)}; steps: ${JSON.stringify(steps)}`)
        await world.sleep(world.nowMs < since + 300 ? 1 : 20)
      }
    }
    const dialler = options.manual === true ? (undefined as unknown as ReverseDialler) : dial()
    try {
      return await main({ ...pair, near, far, remote, dialler, dial, guests, dials, states, steps, served, serverOptions, until })
    } finally {
      await Promise.all(made.map((each) => each.stop({ drainMs: 0 })))
    }
  })
}

async function host(far: Endpoint, now: () => number, options: PrivateWorldOptions, guests: Guest[], dials: number[]): Promise<void> {
  for await (const connection of far.incoming()) {
    dials.push(now())
    void welcome(connection, dials.length, options, guests).catch(() => {})
  }
}

async function welcome(connection: Connection, count: number, { script, raw, plain }: PrivateWorldOptions, guests: Guest[]): Promise<void> {
  if (raw !== undefined) return void (await raw(connection, count))
  const first = await connection.incomingBidirectional().next()
  if (first.done === true) return
  const control = new ControlStream(first.value)
  const hello = await control.next()
  if (hello?.type !== 'hello') throw new Error('no HELLO')
  const guest: Guest = {
    connection, control, hello,
    accept: async ({ pingMs = 0, maxPerKey = 256 } = {}) => {
      await control.send({ type: 'accept', key: hello.service, pingMs, maxPerKey })
      if (plain !== true) reverse(connection)
    },
    refuse: (code, text = '') => control.send({ type: 'refuse', code, text }),
    goAway: (code = 0n, streams = null) => control.send({ type: 'goaway', code, text: '', streams }),
    ask: (text) => ask(connection, text),
  }
  guests.push(guest)
  await script?.(guest, count)
}

export async function ask(connection: Connection, text: string): Promise<string> {
  const stream: BidirectionalStream = await connection.openBidirectional()
  stream.write(Buffer.from(text))
  stream.end()
  return Buffer.from(await stream.bytes()).toString()
}
