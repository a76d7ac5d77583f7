/**
 * The public end (reverse.md §6): takes the connections of `qb-rev/1` of an endpoint, of its own or the user's, and puts the parts together:
 * who may wait (`gate.ts`), who is accepted (`arrival.ts`), who gets requests (`pools.ts`). Never dials.
 */
import { checkCall, invalidOption } from '../config/index.ts'
import type { EndpointOptions, Observable, ServerOptions, Waiting } from '../config/index.ts'
import type { Connection } from '../connection/index.ts'
import { Endpoint } from '../endpoint/index.ts'
import type { EndpointService } from '../endpoint/index.ts'
import type { BidirectionalStream } from '../stream/index.ts'
import { Arrival, turnAway } from './arrival.ts'
import type { ArrivalOwner } from './arrival.ts'
import { ReverseCode } from './codes.ts'
import { Gate } from './gate.ts'
import { Ledger } from './ledger.ts'
import { REVERSE_ALPN, checkListen, serviceOfEndpoint } from './options.ts'
import type { CheckedListen, RequestOptions, ReverseListenOptions } from './options.ts'
import { polarise } from './polarity.ts'
import { Pools } from './pools.ts'
import { exposition } from './prometheus.ts'
import type { ReverseEvent, ReverseHealth, ReverseListener, ReversePool, ReverseStatistics } from './types.ts'

const DRAIN_MS = 2000

type Bind = (options: EndpointOptions) => Promise<Endpoint>

/** @throws (reject) QB_BIND_FAILED QB_TLS_IDENTITY QB_OPTION_INVALID (also: neither `clientCa` nor `pins`, or an endpoint with a public end) QB_OPTION_UNKNOWN QB_ENDPOINT_CLOSED */
export async function reverseListen(options: ReverseListenOptions): Promise<ReverseListener> {
  return listenWith(options, (own) => Endpoint.bind(own))
}

/** `reverseListen` with another way to bind, for simulated hosts. @throws as that */
export async function listenWith(options: ReverseListenOptions, bind: Bind): Promise<ReverseListener> {
  const choice = checkListen(options)
  if ('endpoint' in choice.on) return new Listener(choice.on.endpoint, choice, null)
  const { local, server } = choice.on
  // Attempts that are let in are counted from the first; the endpoint's clock starts with it.
  let endpoint: Endpoint | null = null
  const gate = new Gate(choice.limits, () => endpoint?.now() ?? 0)
  endpoint = await bind({ local, server: { ...server, admit: admitting(gate, server) } })
  try {
    return new Listener(endpoint, choice, gate)
  } catch (error) {
    endpoint.destroy()
    throw error
  }
}

/** Our bounds first, then the user's own verdict. */
function admitting(gate: Gate, { admit }: ServerOptions): NonNullable<ServerOptions['admit']> {
  return (attempt) => {
    const verdict = gate.admit(attempt)
    return verdict === 'accept' && admit !== undefined ? admit(attempt) : verdict
  }
}

class Listener implements ReverseListener {
  readonly #endpoint: Endpoint
  readonly #service: EndpointService
  readonly #ledger: Ledger
  readonly #gate: Gate
  readonly #pools: Pools
  readonly #arrivals: ArrivalOwner
  /** Gives the endpoint back what was taken of it. */
  readonly #leave: () => void
  readonly #isOwn: boolean
  #closing: Promise<void> | null = null

  /** `gate`: the endpoint is our own, and has asked it already. @throws QB_OPTION_INVALID */
  constructor(endpoint: Endpoint, choice: CheckedListen, gate: Gate | null) {
    const service = serviceOfEndpoint(endpoint)
    this.#endpoint = endpoint
    this.#service = service
    this.#isOwn = gate !== null
    this.#gate = gate ?? new Gate(choice.limits, () => endpoint.now())
    const { habitat: { timing }, sampling, logger, newcomers } = service
    const { limits, keyFromSni } = choice
    this.#pools = new Pools({ timing, logger, limits, keyFromSni, now: () => endpoint.now() }, () => this.#ledger)
    this.#ledger = new Ledger(() => endpoint.now(), sampling, () => ({ ...this.#pools.standing(), pending: this.#gate.pending }))
    this.#arrivals = { timing, logger, choice, ledger: this.#ledger, pools: this.#pools, isClosing: () => this.#closing !== null }
    const unclaim = newcomers.claim(REVERSE_ALPN, (connection) => this.#onConnection(connection))
    if (unclaim === null) throw invalidOption('endpoint', endpoint, 'an endpoint without another reverseListen')
    const unpolarise = polarise(service)
    // Of our own endpoint every connection counts, from its first datagram on.
    const starts = this.#isOwn ? endpoint.connections$.subscribe((connection) => void (connection.role === 'server' && this.#gate.enter(connection))) : null
    this.#leave = () => {
      unclaim()
      unpolarise()
      starts?.unsubscribe()
    }
    void endpoint.closed.then(() => this.close({ drainMs: 0 }))
  }

  get local(): readonly string[] {
    return this.#endpoint.local
  }

  get connections$(): Observable<readonly Connection[]> {
    return this.#pools.connections$
  }

  get events$(): Observable<ReverseEvent> {
    return this.#ledger.events$
  }

  get metrics$(): Observable<ReverseStatistics> {
    return this.#ledger.metrics$
  }

  pool(key?: string): ReversePool {
    if (key !== undefined && typeof key !== 'string') throw invalidOption('key', key, 'a pool key')
    return new Pool(this.#pools, key ?? null)
  }

  keyOf(serverName: string): string | undefined {
    return this.#pools.keyOf(serverName)
  }

  statistics(): ReverseStatistics {
    return this.#ledger.statistics()
  }

  prometheus(): string {
    return exposition(this.statistics(), this.health())
  }

  health(): ReverseHealth {
    return { ok: this.#pools.size(null) > 0, keys: this.#pools.sizes() }
  }

  close(options: { drainMs?: number } = {}): Promise<void> {
    checkCall(options, ['drainMs'])
    const { drainMs = DRAIN_MS } = options
    if (typeof drainMs !== 'number' || !(drainMs >= 0)) throw invalidOption('drainMs', drainMs, 'a number of milliseconds from 0')
    this.#closing ??= this.#close(drainMs)
    return this.#closing
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  async #close(drainMs: number): Promise<void> {
    // The promise of this call must stand before anything is told.
    await Promise.resolve()
    const drained = this.#pools.close()
    const stop = this.#service.habitat.timing.after(drainMs, () => this.#pools.abort(ReverseCode.SHUTDOWN))
    await drained
    stop()
    // Those that came meanwhile have been turned away.
    await Promise.all([...this.#gate].map((connection) => turnAway(connection, ReverseCode.SHUTDOWN)))
    this.#leave()
    if (this.#isOwn) await this.#endpoint.close({ drainMs: 0 })
    this.#pools.end()
    this.#ledger.end()
  }

  #onConnection(connection: Connection): void {
    const arrival = new Arrival(connection, this.#arrivals)
    if (!this.#gate.enter(connection)) return void arrival.refuse(ReverseCode.BUSY, 'too many connections wait to be accepted')
    if (this.#closing !== null) return void arrival.refuse(ReverseCode.SHUTDOWN, '')
    return void arrival.run().then(() => this.#gate.accepted(connection))
  }
}

/** A view of the pools by key; there may be any number of it. */
class Pool implements ReversePool {
  readonly key: string | null
  readonly #pools: Pools

  constructor(pools: Pools, key: string | null) {
    this.#pools = pools
    this.key = key
  }

  get size(): number {
    return this.#pools.size(this.key)
  }

  get empty$(): Observable<boolean> {
    return this.#pools.empty$(this.key)
  }

  request(key?: string, options?: RequestOptions & Waiting): Promise<BidirectionalStream> {
    return this.#pools.request(this.key, key, options)
  }

  drain(): Promise<void> {
    return this.#pools.drain(this.key)
  }

  resume(): void {
    this.#pools.resume(this.key)
  }
}
