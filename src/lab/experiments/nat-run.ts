/**
 * One run of `nat`: both ends register with the relay and learn what their NATs are like; one dials the other over the relay and bytes begin to move;
 * the run ends with the direct path, or when nothing is left to try. Bytes that do not come back as they were sent fail it.
 */
import { importFile } from '../../config/index.ts'
import type { BidirectionalStream, Connection, Endpoint } from '../../index.ts'
import type { World } from '../../sim/index.ts'
import { NatProbe, Relay, registerRelay } from '../../traversal/index.ts'
import type { PunchStrategy, TraversalEvent, TraversalOptions } from '../../traversal/index.ts'
import type { NatCell } from './nat.ts'
import { natNetwork } from './nat-network.ts'
import type { NatNetwork } from './nat-network.ts'

export type NatValues = {
  /** There is a path that no relay is on. */
  direct: boolean
  /** From the call of `connect` to that path. */
  directMs: number | null
  /** From the call of `connect` to the first byte of an answer, over the relay. */
  firstByteMs: number
  /** Round trip over the relay, and without it, as the links are. */
  relayRttMs: number
  directRttMs: number
  /** As `firstByteMs`, of a connection without traversal to a server that can be dialled. */
  plainFirstByteMs: number | null
  /** HELLOs of both ends. */
  probes: number
  rounds: number
  /** Who was active in the round that did it, and by which plan. */
  winner: string | null
  /** Longest time that bytes took to come back, beyond a round trip over the relay: how much of a pause anybody saw. */
  pauseMs: number
}

const ALPN = 'nat'
/** Bytes go out so often; where a run takes long, because nothing is direct, ever more rarely: each costs, and nothing changes. */
const BEAT_MS = 50
const SLOWER = 1.2
const SLOWEST_MS = 1000
const BEAT_BYTES = 200
const RELAY_PORT = 4434
/** What is not decided by then stays on the relay. */
const LIMIT_MS = { off: 12_000, on: 40_000 } as const

/** Everything is there before anybody dials. */
interface Stage {
  net: NatNetwork
  relay: Relay
  atA: Endpoint
  atB: Endpoint
  /** `RELAY-OUTER` of b. */
  address: string
  traversal: TraversalOptions
}

/** `strategy`: a file that exports one. */
export function meet(cell: Omit<NatCell, 'strategy'> & { strategy: string | null }, world: World): Promise<NatValues> {
  const net = natNetwork(world, [cell.a, cell.b], cell.loss)
  return world.run(async () => {
    const strategy = cell.strategy === null ? null : await strategyOf(cell.strategy, world)
    const stage = await prepare(net, { portSearch: cell.search === 'on', ...(strategy === null ? {} : { strategy }) })
    return measure(stage, LIMIT_MS[cell.search], world)
  })
}

const strategies = new Map<string, Promise<PunchStrategy>>()

/** Files are real work: the world waits. */
async function strategyOf(file: string, world: World): Promise<PunchStrategy> {
  const release = world.hold()
  try {
    const loading = strategies.get(file) ?? importFile(file).then(({ strategy }) => {
      if (typeof strategy !== 'function') throw new TypeError(`${file} exports no \`strategy\`; write: export function* strategy(context) { yield { do: 'tell-peer' } … }`)
      return strategy as PunchStrategy
    })
    strategies.set(file, loading)
    return await loading
  } finally {
    release()
  }
}

async function prepare(net: NatNetwork, options: Partial<TraversalOptions>): Promise<Stage> {
  const [first = '', second = ''] = net.relay.addresses
  const atRelay = await net.relay.bind({ local: [`${first}:${RELAY_PORT}`, `${second}:${RELAY_PORT}`, `${first}:${RELAY_PORT + 1}`, `${second}:${RELAY_PORT + 1}`] })
  const { cert, key, ca } = net.relayTls
  // No `ca`: that would ask clients for certificates.
  const relay = await Relay.listen({ tls: { cert, key }, authorize() {}, alternate: `${second}:${RELAY_PORT + 1}` }, atRelay)
  const relayTls = { ca }
  const traversal: TraversalOptions = { relays: [relay.address], relayTls, privateTargets: 'never', ...options }
  const [atA, atB] = await Promise.all([net.a.bind(), net.b.bind({ server: { ...net.tls, alpn: ALPN, traversal } })])
  const ready = async (endpoint: Endpoint): Promise<string> => {
    const [{ address }] = await Promise.all([registerRelay(endpoint, relay.address, { tls: relayTls }), new NatProbe(endpoint, { servers: [relay.address] }).classify()])
    return address
  }
  const [, address] = await Promise.all([ready(atA), ready(atB)])
  return { net, relay, atA, atB, address, traversal }
}

async function measure({ net, relay, atA, atB, address, traversal }: Stage, limitMs: number, world: World): Promise<NatValues> {
  const incoming = atB.incoming()
  const start = world.nowMs
  const near = await atA.connect(address, { alpn: ALPN, ca: net.tls.ca, serverName: 'b', traversal })
  const log = new RoundLog(near)
  const echo = await Echo.over(near, world)
  const far = await next(incoming)
  const farLog = new RoundLog(far)
  void giveBack(far)
  const foundMs = await directOf(near, limitMs, world)
  await echo.end()
  const probes = near.traversal.puncher.probesSent + far.traversal.puncher.probesSent
  near.destroy()
  const plainFirstByteMs = net.dialable === null ? null : await plainFirstByte(atA, incoming, net, net.dialable, world)
  for (const endpoint of [atA, atB]) endpoint.destroy()
  await relay.close()
  const { relayRttMs, directRttMs } = net
  return {
    direct: foundMs !== null, directMs: foundMs === null ? null : foundMs - start, firstByteMs: echo.firstMs - start, relayRttMs, directRttMs, plainFirstByteMs,
    probes, rounds: log.rounds, winner: foundMs === null ? null : (log.winner ?? farLog.winner), pauseMs: Math.max(0, echo.slowestMs - relayRttMs),
  }
}

/** When there is a direct path; null: nothing is left to try, or the limit is over. */
async function directOf(near: Connection, limitMs: number, world: World): Promise<number | null> {
  const over = new AbortController()
  const timer = world.clock.setTimeout(() => over.abort(), limitMs)
  try {
    await near.traversal.direct({ signal: over.signal })
    return world.nowMs
  } catch (error) {
    if (over.signal.aborted || (error as { code?: unknown }).code === 'QB_PUNCH_FAILED') return null
    throw error
  } finally {
    world.clock.clearTimeout(timer)
  }
}

/** A connection without traversal to the server's own address. */
async function plainFirstByte(from: Endpoint, incoming: AsyncIterator<Connection>, net: NatNetwork, address: string, world: World): Promise<number> {
  const start = world.nowMs
  const near = await from.connect(address, { alpn: ALPN, ca: net.tls.ca, serverName: 'b' })
  const [echo, far] = await Promise.all([Echo.over(near, world), next(incoming)])
  void giveBack(far)
  await echo.end()
  return echo.firstMs - start
}

async function next(incoming: AsyncIterator<Connection>): Promise<Connection> {
  const { value } = await incoming.next()
  if (value === undefined) throw new Error('the server has ended')
  return value as Connection
}

/** Everything that comes in on a first stream goes out again. */
async function giveBack(connection: Connection): Promise<void> {
  try {
    const { value: stream } = await connection.incomingBidirectional().next()
    if (stream === undefined) return
    for await (const chunks of stream) for (const chunk of chunks) stream.write(chunk)
    stream.end()
  } catch {
    // The other end has what it wanted.
  }
}

/** Bytes that go out and come back: when the first did, how long they took, whether they are the same. */
class Echo {
  firstMs = Number.NaN
  slowestMs = 0
  readonly #stream: BidirectionalStream
  readonly #world: World
  readonly #reading: Promise<void>
  readonly #stopBeating: () => void
  /** Ends of beats under way, and when they went. */
  readonly #beats: { end: number; atMs: number }[] = []
  #sent = 0
  #received = 0
  #wrong = false

  static async over(connection: Connection, world: World): Promise<Echo> {
    return new Echo(await connection.openBidirectional(), world)
  }

  private constructor(stream: BidirectionalStream, world: World) {
    this.#stream = stream
    this.#world = world
    this.#reading = this.#read()
    this.#stopBeating = beating(world, () => this.#beat())
    this.#beat()
  }

  /** Sends the last bytes and waits for them. @throws if other bytes came back than were sent */
  async end(): Promise<void> {
    this.#stopBeating()
    this.#beat()
    this.#stream.end()
    await this.#reading
    if (this.#wrong || this.#received !== this.#sent) throw new Error(`${this.#received} of ${this.#sent} bytes came back${this.#wrong ? ', not as they were sent' : ''}`)
  }

  #beat(): void {
    // Bytes by their place, so that what comes back out of its order shows.
    this.#sent += this.#stream.write(Uint8Array.from({ length: BEAT_BYTES }, (_, index) => valueAt(this.#sent + index)))
    this.#beats.push({ end: this.#sent, atMs: this.#world.nowMs })
  }

  async #read(): Promise<void> {
    for await (const chunks of this.#stream) {
      const now = this.#world.nowMs
      if (Number.isNaN(this.firstMs)) this.firstMs = now
      for (const chunk of chunks) {
        this.#wrong ||= chunk.some((value, index) => value !== valueAt(this.#received + index))
        this.#received += chunk.length
      }
      for (let beat = this.#beats[0]; beat !== undefined && beat.end <= this.#received; beat = this.#beats[0]) {
        this.slowestMs = Math.max(this.slowestMs, now - beat.atMs)
        this.#beats.shift()
      }
    }
  }
}

function valueAt(offset: number): number {
  return (offset * 31 + (offset >> 8)) & 0xff
}

/** Runs until the answer is called. */
function beating(world: World, beat: () => void): () => void {
  let timer: unknown
  let waitMs = BEAT_MS
  const again = (): void => {
    timer = world.clock.setTimeout(() => {
      beat()
      waitMs = Math.min(SLOWEST_MS, waitMs * SLOWER)
      again()
    }, waitMs)
  }
  again()
  return () => world.clock.clearTimeout(timer)
}

/** What the rounds of a connection came to. */
class RoundLog {
  rounds = 0
  winner: string | null = null

  constructor({ traversal, role }: Connection) {
    const other = role === 'client' ? 'server' : 'client'
    traversal.events$.subscribe((event: TraversalEvent) => {
      if (event.type !== 'round') return
      if (event.state === 'started') this.rounds += 1
      if (event.state === 'done') this.winner ??= `${event.as === 'active' ? role : other}${event.as === 'active' && event.plan !== '' ? `, ${event.plan}` : ''}`
    })
  }
}
