/**
 * Requests from where they come (a port of ours, or a stream that the public end of a reverse connection opened) to where a way to their service
 * is opened. Knows no ports; owns the exchanges, their number and their time.
 */
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { IncomingHttpHeaders, ServerHttp2Stream } from 'node:http2'
import type { Duplex } from 'node:stream'
import { REAL_TIME, backgroundClock } from '../../config/index.ts'
import type { Cancel, Observable } from '../../config/index.ts'
import { Exchange } from './exchange.ts'
import type { ExchangeOwner } from './exchange.ts'
import type { Inbound } from './inbound.ts'
import { Http1Inbound } from './inbound-http1.ts'
import { Http2Inbound } from './inbound-http2.ts'
import { FrontLedger } from './ledger.ts'
import { checkGateway } from './options.ts'
import type { CheckedGateway, FrontRequest, FrontStatistics, GatewayOptions } from './options.ts'
import type { Failure } from './page.ts'

const SAMPLE_MS = 1000
const LONGEST_SWEEP_MS = 1000
const SHORTEST_SWEEP_MS = 10
/** For pages that say that this end goes down. */
const PAGE_MS = 1000

/** Which service a request is for. */
export type Choose = (inbound: Inbound) => string | Failure

export class Gateway {
  readonly #choice: CheckedGateway
  readonly #exchanges = new Set<Exchange>()
  readonly #owner: ExchangeOwner
  /** @internal */
  readonly ledger: FrontLedger = new FrontLedger({ intervalMs: SAMPLE_MS, timing: REAL_TIME })
  #sweep: Cancel | null = null
  #closed = false
  #onQuiet: () => void = () => {}

  /** @throws QB_OPTION_INVALID QB_OPTION_UNKNOWN */
  constructor(options: GatewayOptions) {
    this.#choice = checkGateway(options)
    this.#owner = {
      choice: this.#choice, ledger: this.ledger, now: () => backgroundClock.now(), after: (ms, run) => REAL_TIME.after(ms, run),
      onOver: (exchange) => this.#onOver(exchange),
    }
  }

  /** [H0] tick */
  get requests$(): Observable<FrontRequest> {
    return this.ledger.requests$
  }

  /** [H1] sample */
  get metrics$(): Observable<FrontStatistics> {
    return this.ledger.metrics$
  }

  statistics(): FrontStatistics {
    return this.ledger.statistics()
  }

  /** Names `quicbraid_front_*`. */
  prometheus(): string {
    return this.ledger.prometheus()
  }

  /** Serves one request of HTTP/2, of `key`. */
  stream(key: string, stream: ServerHttp2Stream, headers: IncomingHttpHeaders, rawHeaders: readonly string[]): void {
    this.onStream(stream, headers, rawHeaders, () => key)
  }

  /** @internal */
  onStream(stream: ServerHttp2Stream, headers: IncomingHttpHeaders, rawHeaders: readonly string[], choose: Choose): void {
    const { maxHeaderLines } = this.#choice.limits
    this.#begin((onGone) => new Http2Inbound({ stream, headers, rawHeaders, maxHeaderLines }, onGone), choose)
  }

  /** @internal */
  onRequest(request: IncomingMessage, response: ServerResponse, choose: Choose): void {
    this.#begin((onGone) => new Http1Inbound({ request, response, upgraded: null, ...this.#http1() }, onGone), choose)
  }

  /** @internal */
  onUpgrade(request: IncomingMessage, socket: Duplex, head: Buffer, choose: Choose): void {
    this.#begin((onGone) => new Http1Inbound({ request, response: null, upgraded: { socket, head }, ...this.#http1() }, onGone), choose)
  }

  /** Waits for what is under way, then ends what is left. */
  async close({ drainMs = 0 }: { drainMs?: number } = {}): Promise<void> {
    this.#closed = true
    await this.#quiet(drainMs)
    for (const exchange of Array.from(this.#exchanges)) exchange.shutDown()
    // Whoever is told so must be able to read it.
    await this.#quiet(PAGE_MS)
    this.ledger.end()
  }

  /** Until nothing is under way, at most so long. */
  #quiet(ms: number): Promise<void> {
    if (this.#exchanges.size === 0 || ms === 0) return Promise.resolve()
    return new Promise((resolve) => {
      const stop = REAL_TIME.after(ms, resolve)
      this.#onQuiet = () => {
        stop()
        resolve()
      }
    })
  }

  #begin(make: (onGone: () => void) => Inbound, choose: Choose): void {
    const exchange = new Exchange(make, this.#owner)
    const { inbound } = exchange
    const { maxRequests } = this.#choice.limits
    const full = this.#exchanges.size >= maxRequests
    this.#exchanges.add(exchange)
    this.ledger.requestsTotal += 1
    this.ledger.requestsOpen = this.#exchanges.size
    this.#watch()
    if (inbound.refusal !== null) return exchange.refuse({ ...inbound.refusal, reason: 'bad-request' })
    if (this.#closed) return exchange.refuse({ status: 503, reason: 'shutdown', text: 'This front is going down.' })
    if (full) {
      this.ledger.failed('maxRequests')
      return exchange.refuse({ status: 503, reason: 'limit', text: 'There are too many requests at present.' })
    }
    const key = choose(inbound)
    if (typeof key === 'string') exchange.start(key)
    else exchange.refuse(key)
  }

  #onOver(exchange: Exchange): void {
    this.#exchanges.delete(exchange)
    this.ledger.requestsOpen = this.#exchanges.size
    if (this.#exchanges.size > 0) return
    this.#sweep?.()
    this.#sweep = null
    this.#onQuiet()
  }

  #http1(): { maxHeaderLines: number; after: ExchangeOwner['after'] } {
    return { maxHeaderLines: this.#choice.limits.maxHeaderLines, after: this.#owner.after }
  }

  /** One timer for the limits of all exchanges, while there are any. */
  #watch(): void {
    const { openTimeoutMs, responseTimeoutMs, idleTimeoutMs, upgradeIdleMs } = this.#choice.limits
    const shortest = Math.min(openTimeoutMs, responseTimeoutMs, idleTimeoutMs, upgradeIdleMs)
    this.#sweep ??= REAL_TIME.every(Math.min(LONGEST_SWEEP_MS, Math.max(SHORTEST_SWEEP_MS, shortest / 4)), () => {
      const nowMs = this.#owner.now()
      for (const exchange of Array.from(this.#exchanges)) exchange.checkTime(nowMs)
    })
  }
}
