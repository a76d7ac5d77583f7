/** `reverseConnect`: the private end as people hold it. What it does while it is enabled is the keeper's; this starts and ends keepers, and tells. */
import { loadNative } from '../binding/index.ts'
import { REAL_TIME, backgroundClock, checkCall, deferHandled, invalidOption } from '../config/index.ts'
import type { Clock, Logger, Observable, Sampling } from '../config/index.ts'
import type { Connection } from '../connection/index.ts'
import { bindWith } from '../endpoint/index.ts'
import type { Endpoint } from '../endpoint/index.ts'
import { ServiceError } from '../errors/index.ts'
import { DiallerLedger } from './dialler-ledger.ts'
import { exposition } from './dialler-prometheus.ts'
import { Keeper } from './keeper.ts'
import type { ReverseHandler } from './line.ts'
import { checkConnect, serviceOfEndpoint } from './options.ts'
import type { CheckedConnect, ReverseConnectOptions } from './options.ts'
import type { DiallerEvent, DiallerStatistics, PreconnectChange, PreconnectState, ReverseDialler, ServedRequest } from './types.ts'

const DRAIN_MS = 2000

/**
 * Starts at once; `handler` serves each request stream; its throw resets that stream with `cancelCode`.
 * @throws QB_OPTION_INVALID QB_OPTION_UNKNOWN QB_ENDPOINT_CLOSED QB_NATIVE_MISSING
 */
export function reverseConnect(options: ReverseConnectOptions, handler: ReverseHandler): ReverseDialler {
  const checked = checkConnect(options)
  if (typeof handler !== 'function') throw invalidOption('handler', handler, 'a function (stream, connection)')
  const dialler = new Dialler(checked, handler)
  dialler.enable()
  return dialler
}

class Dialler implements ReverseDialler {
  readonly #options: CheckedConnect
  readonly #handler: ReverseHandler
  readonly #ledger: DiallerLedger
  readonly #logger: Logger
  #state: PreconnectState = 'STOP'
  /** While it is enabled. */
  #keeper: Keeper | null = null
  #stopped: Promise<void> = Promise.resolve()
  #disposed: Promise<void> | null = null

  constructor(options: CheckedConnect, handler: ReverseHandler) {
    this.#options = options
    this.#handler = handler
    const { clock, zeroMs, sampling, logger } = placeOf(options.endpoint)
    this.#logger = logger
    this.#ledger = new DiallerLedger(() => clock.now() - zeroMs, sampling)
  }

  get state(): PreconnectState {
    return this.#state
  }

  get state$(): Observable<PreconnectChange> {
    return this.#ledger.states$
  }

  get connections$(): Observable<readonly Connection[]> {
    return this.#ledger.connections$
  }

  get events$(): Observable<DiallerEvent> {
    return this.#ledger.events$
  }

  get requests$(): Observable<ServedRequest> {
    return this.#ledger.requests$
  }

  get metrics$(): Observable<DiallerStatistics> {
    return this.#ledger.metrics$
  }

  statistics(): DiallerStatistics {
    return this.#ledger.statistics()
  }

  prometheus(): string {
    return exposition(this.#options.service, this.#state, this.#ledger.statistics())
  }

  enable(): void {
    if (this.#disposed !== null) throw new ServiceError('QB_REVERSE_SHUTDOWN', `service ${this.#options.service}: this private end has been disposed of; call reverseConnect again`, { by: 'local' })
    if (this.#keeper !== null) return
    const endpoint = this.#options.endpoint ?? bindWith(loadNative())
    const keeper = new Keeper({ options: this.#options, handler: this.#handler, ledger: this.#ledger, onChange: (change) => this.#onChange(change) }, endpoint)
    this.#keeper = keeper
    void endpoint.closed.then(() => this.#end(keeper, 0, 'the endpoint has been closed'))
    keeper.start()
  }

  stop(options: { drainMs?: number } = {}): Promise<void> {
    checkCall(options, ['drainMs'])
    const { drainMs = DRAIN_MS } = options
    if (typeof drainMs !== 'number' || !(drainMs >= 0)) throw invalidOption('drainMs', drainMs, 'a number of milliseconds')
    if (this.#keeper !== null) this.#end(this.#keeper, drainMs, 'stopped')
    return this.#stopped
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.#disposed ??= this.stop().then(() => this.#ledger.end())
    return this.#disposed
  }

  #end(keeper: Keeper, drainMs: number, reason: string): void {
    if (this.#keeper !== keeper) return
    this.#keeper = null
    const stopped = deferHandled<void>()
    // One that was enabled again meanwhile ends with the last.
    const before = this.#stopped
    this.#stopped = stopped.promise
    void Promise.all([before, keeper.end(drainMs, reason)]).then(() => stopped.resolve())
  }

  #onChange(change: PreconnectChange): void {
    this.#state = change.state
    const { service, remote } = this.#options
    const facts = { service, remote, state: change.state, reason: change.reason, ...(change.error !== null && { error: change.error }) }
    if (change.state === 'ERR') this.#logger.warn?.('a reverse connection could not be made', facts)
    else this.#logger.info?.('the private end of reverse connections has changed its state', facts)
    this.#ledger.state(change)
  }
}

/** Time and log of a private end. Endpoints of its own come and go with `stop` and `enable`; its time goes on. */
function placeOf(endpoint: Endpoint | null): { clock: Clock; zeroMs: number; sampling: Sampling; logger: Logger } {
  if (endpoint === null) return { clock: backgroundClock, zeroMs: backgroundClock.now(), sampling: { intervalMs: 100, timing: REAL_TIME }, logger: {} }
  const { habitat: { clock }, sampling, logger } = serviceOfEndpoint(endpoint)
  return { clock, zeroMs: clock.now() - endpoint.now(), sampling, logger }
}
