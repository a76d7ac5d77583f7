/**
 * The program on a host of the laboratory: a relay, or an end of a connection behind a NAT, on the public API. Takes orders as JSON lines on
 * stdin, answers each, and ends with its stdin. Run by `pair.ts` and by tests, in a network namespace (`dist/nat-lab-peer.mjs`).
 */
import { createHash, randomBytes } from 'node:crypto'
import type { Hash } from 'node:crypto'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import type { Duplex } from 'node:stream'
import { backgroundClock as clock } from '../../config/index.ts'
import { createDevCertificate, Endpoint } from '../../index.ts'
import type { Connection, DevCertificate } from '../../index.ts'
import { NatProbe, Relay, registerRelay } from '../../traversal/index.ts'
import type { TraversalEvent, TraversalOptions } from '../../traversal/index.ts'

const ALPN = 'nat'
/** Beside the port of other relays. */
const RELAY_PORT = 4440
/** Bytes go to and fro so often. */
const BEAT_MS = 20
const BEAT = new Uint8Array(200)
const CHUNK = 64 * 1024

/** What both ends are told of the relay. */
interface Meeting {
  local: string
  relay: string
  relayCa: string
  portSearch: boolean
}

interface State {
  certificate: DevCertificate | null
  relay: Relay | null
  endpoint: Endpoint | null
  connection: Connection | null
  rounds: Rounds | null
  beats: Beats | null
  transfer: Transfer | null
  startMs: number
}

const state: State = { certificate: null, relay: null, endpoint: null, connection: null, rounds: null, beats: null, transfer: null, startMs: 0 }

const ORDERS: Readonly<Record<string, (order: never) => Promise<object>>> = {
  /** A relay and STUN server on two addresses. */
  async relay({ ips: [first, second] }: { ips: readonly [string, string] }) {
    const { cert, key } = ownCertificate([first, second])
    const local = [RELAY_PORT, RELAY_PORT + 1].flatMap((port) => [`${first}:${port}`, `${second}:${port}`])
    const endpoint = await Endpoint.bind({ local })
    state.relay = await Relay.listen({ tls: { cert, key }, authorize() {}, alternate: `${second}:${RELAY_PORT + 1}` }, endpoint)
    return { address: state.relay.address, ca: cert }
  },

  async 'relay-statistics'() {
    return { ...state.relay?.statistics() }
  },

  async classify({ local, servers }: { local: string; servers: readonly string[] }) {
    const endpoint = await Endpoint.bind({ local: `${local}:0` })
    try {
      return { report: await new NatProbe(endpoint, { servers }).classify() }
    } finally {
      endpoint.destroy()
    }
  },

  /** Waits for one that dials; every stream of it goes back as it came. */
  async listen(meeting: Meeting) {
    const { cert, key } = ownCertificate()
    const endpoint = await Endpoint.bind({ local: `${meeting.local}:0`, server: { cert, key, alpn: ALPN, traversal: traversalOf(meeting) } })
    state.endpoint = endpoint
    const { address } = await prepare(endpoint, meeting)
    void accept(endpoint)
    return { address, ca: cert }
  },

  async prepare(meeting: Meeting) {
    const endpoint = await Endpoint.bind({ local: `${meeting.local}:0` })
    state.endpoint = endpoint
    await prepare(endpoint, meeting)
    return {}
  },

  /** After `prepare`: over the relay, with bytes to and fro from then on. */
  async dial({ address, ca, ...meeting }: Meeting & { address: string; ca: string }) {
    const { endpoint } = state
    if (endpoint === null) throw new Error('nothing is prepared')
    state.startMs = clock.now()
    const connection = await endpoint.connect(address, { alpn: ALPN, ca, serverName: 'localhost', traversal: traversalOf(meeting) })
    take(connection)
    const beats = await Beats.over(connection)
    state.beats = beats
    await beats.first
    return { firstByteMs: beats.firstMs - state.startMs }
  },

  /** The direct path, or that there is none: nothing is left to try, or `limitMs` is over. */
  async direct({ limitMs }: { limitMs: number }) {
    const { traversal } = connected()
    const over = new AbortController()
    const timer = clock.setTimeout(() => over.abort(), limitMs)
    try {
      const path = await traversal.direct({ signal: over.signal })
      return { direct: true, directMs: clock.now() - state.startMs, path: { local: path.local, remote: path.remote } }
    } catch (error) {
      if (over.signal.aborted) return { direct: false, directMs: null, reason: 'nothing came of it in time' }
      if ((error as { code?: unknown }).code === 'QB_PUNCH_FAILED') return { direct: false, directMs: null, reason: (error as Error).message }
      throw error
    } finally {
      clock.clearTimeout(timer)
    }
  },

  async facts() {
    const { connection, rounds, beats } = state
    const paths = connection === null ? [] : [...connection.paths].map(({ id, local, remote, relayed, facts }) => ({ id, local, remote, relayed, state: facts.state, status: facts.status }))
    return { paths, probes: connection?.traversal.puncher.probesSent ?? 0, rounds: rounds?.count ?? 0, winner: rounds?.winner ?? null, pauseMs: beats?.pauseMs ?? 0, events: rounds?.events ?? [] }
  },

  /** The bytes to and fro end; every one must have come back. */
  async 'stop-beats'() {
    await state.beats?.end()
    return {}
  },

  /** Sends so many random bytes on a stream of its own and resolves when half of them have come back: the rest is under way. */
  async transfer({ bytes }: { bytes: number }) {
    state.transfer ??= new Transfer((await connected().openBidirectional()).toDuplex())
    return state.transfer.send(bytes)
  },

  /** Ends that stream: hashes of what went and of what came back. */
  async 'end-transfer'() {
    const done = await state.transfer?.end()
    state.transfer = null
    return done ?? {}
  },

  /** Back to the beginning; a relay stays. */
  async reset() {
    state.beats?.stop()
    state.endpoint?.destroy()
    Object.assign(state, { endpoint: null, connection: null, rounds: null, beats: null, transfer: null })
    return {}
  },
}

function ownCertificate(addresses: readonly string[] = []): DevCertificate {
  state.certificate ??= createDevCertificate({ names: ['localhost', ...addresses] })
  return state.certificate
}

const relayTls = ({ relayCa }: Meeting): { ca: string } => ({ ca: relayCa })

function traversalOf(meeting: Meeting): TraversalOptions {
  return { relays: [meeting.relay], relayTls: relayTls(meeting), portSearch: meeting.portSearch }
}

/** Known to the relay, and knowing what NAT it is behind: connections of the endpoint begin with that. */
async function prepare(endpoint: Endpoint, meeting: Meeting): Promise<{ address: string }> {
  const [registration] = await Promise.all([registerRelay(endpoint, meeting.relay, { tls: relayTls(meeting) }), new NatProbe(endpoint, { servers: [meeting.relay] }).classify()])
  return registration
}

function connected(): Connection {
  if (state.connection === null) throw new Error('nobody is connected')
  return state.connection
}

function take(connection: Connection): void {
  state.connection = connection
  state.rounds = new Rounds(connection)
}

async function accept(endpoint: Endpoint): Promise<void> {
  for await (const connection of endpoint.incoming()) {
    take(connection)
    tell({ event: 'connected' })
    void giveBack(connection)
  }
}

async function giveBack(connection: Connection): Promise<void> {
  for await (const stream of connection.incomingBidirectional()) {
    const duplex = stream.toDuplex()
    duplex.on('error', () => undefined)
    duplex.pipe(duplex)
  }
}

/** What the rounds of a connection came to. */
class Rounds {
  count = 0
  winner: string | null = null
  /** In their order, without addresses. */
  readonly events: object[] = []

  constructor({ traversal }: Connection) {
    traversal.events$.subscribe((event: TraversalEvent) => this.#note(event))
  }

  #note(event: TraversalEvent): void {
    if (event.type === 'upgraded' || event.type === 'fell-back') {
      this.events.push(event)
      tell({ event: event.type, from: event.from, to: event.to, afterMs: event.afterMs })
    }
    if (event.type !== 'round') return
    this.events.push(event)
    if (event.state === 'started') this.count += 1
    if (event.state === 'done') this.winner ??= event.as === 'active' ? 'client' : 'server'
  }
}

/** Bytes that go out every `BEAT_MS` and come back: when the first did, and the longest time in which none did. */
class Beats {
  firstMs = Number.NaN
  pauseMs = 0
  readonly first: Promise<unknown>
  readonly #stream: Duplex
  #timer: unknown = null
  #lastMs = clock.now()
  #sent = 0
  #received = 0

  static async over(connection: Connection): Promise<Beats> {
    return new Beats((await connection.openBidirectional()).toDuplex())
  }

  private constructor(stream: Duplex) {
    this.#stream = stream
    this.first = once(stream, 'data')
    stream.on('data', (chunk: Uint8Array) => this.#onData(chunk.length))
    stream.on('error', () => this.stop())
    this.#beat()
  }

  stop(): void {
    clock.clearTimeout(this.#timer)
  }

  async end(): Promise<void> {
    this.stop()
    this.#stream.end()
    await once(this.#stream, 'end')
    if (this.#sent !== this.#received) throw new Error(`${this.#received} of ${this.#sent} bytes came back`)
  }

  #beat(): void {
    this.#stream.write(BEAT)
    this.#sent += BEAT.length
    this.#timer = clock.setTimeout(() => this.#beat(), BEAT_MS)
  }

  #onData(bytes: number): void {
    const now = clock.now()
    if (Number.isNaN(this.firstMs)) this.firstMs = now
    else this.pauseMs = Math.max(this.pauseMs, now - this.#lastMs)
    this.#lastMs = now
    this.#received += bytes
  }
}

/** Random bytes to and fro on one stream, with their hashes. */
class Transfer {
  readonly #stream: Duplex
  readonly #hashes: { sent: Hash; received: Hash } = { sent: createHash('sha256'), received: createHash('sha256') }
  #sent = 0
  #received = 0
  #awaited: { bytes: number; resolve: () => void; reject: (error: unknown) => void } | null = null

  constructor(stream: Duplex) {
    this.#stream = stream
    stream.on('data', (chunk: Uint8Array) => {
      this.#hashes.received.update(chunk)
      this.#received += chunk.length
      if (this.#awaited !== null && this.#received >= this.#awaited.bytes) this.#awaited.resolve()
    })
    stream.on('error', (error) => this.#awaited?.reject(error))
  }

  async send(bytes: number): Promise<object> {
    const half = new Promise<void>((resolve, reject) => { this.#awaited = { bytes: this.#received + bytes / 2, resolve, reject } })
    for (let left = bytes; left > 0; left -= CHUNK) {
      const chunk = randomBytes(Math.min(CHUNK, left))
      this.#hashes.sent.update(chunk)
      this.#sent += chunk.length
      this.#stream.write(chunk)
    }
    await half
    return { sent: this.#sent, received: this.#received }
  }

  async end(): Promise<object> {
    this.#stream.end()
    if (!this.#stream.readableEnded) await once(this.#stream, 'end')
    return { sent: this.#hashes.sent.digest('hex'), received: this.#hashes.received.digest('hex'), bytes: this.#received }
  }
}

function tell(line: object): void {
  process.stdout.write(`${JSON.stringify(line)}\n`)
}

async function main(): Promise<void> {
  const input = createInterface({ input: process.stdin })
  input.on('close', () => process.exit(0))
  input.on('line', (text) => void obey(JSON.parse(text) as { id: number; do: string }))
}

async function obey({ id, do: verb, ...order }: { id: number; do: string }): Promise<void> {
  try {
    const run = ORDERS[verb]
    if (run === undefined) throw new Error(`no order ${verb}`)
    tell({ ...await run(order as never), id })
  } catch (error) {
    const { code = 'ERROR', message = String(error) } = error as { code?: string; message?: string }
    tell({ id, error: { code, message } })
  }
}

await main()
