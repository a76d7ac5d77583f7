/** The observables of a connection. `events$` [H0] tick · `metrics$` [H1] sample · `buffers$` [H1] sample, at most ten a second · `handshake$` [H256] tick; all complete when it ends. */
import { concat, from, Observable, Subject } from 'rxjs'
import { hot, sampled } from '../config/index.ts'
import type { Feed, Sampling } from '../config/index.ts'
import { CONNECTION_CLOSED, CONNECTION_EVENT } from '../diagnostics/index.ts'
import type { BufferFacts, CloseInfo, ConnectionEvent, ConnectionStatistics, HandshakeEvent } from './facts.ts'

/** Between two values of `buffers$` (mux R61). */
const LEAST_BUFFERS_MS = 100

export class ConnectionFeeds {
  readonly #events: ReturnType<typeof hot<ConnectionEvent>> = hot<ConnectionEvent>(0)
  readonly #metrics: Omit<Feed<ConnectionStatistics>, 'emit'>
  readonly events$: Observable<ConnectionEvent> = this.#events.values$
  readonly metrics$: Observable<ConnectionStatistics>
  readonly #buffers: Omit<Feed<BufferFacts>, 'emit'>
  readonly buffers$: Observable<BufferFacts>
  readonly #steps = new Subject<HandshakeEvent>()
  readonly #connection: object
  /** The steps so far, whoever keeps them, and those that come. */
  readonly handshake$: Observable<HandshakeEvent>

  /** `connection`: whose they are, for `diagnostics_channel`. */
  constructor(connection: object, sampling: Sampling, read: () => ConnectionStatistics, readBuffers: () => BufferFacts, steps: () => readonly HandshakeEvent[]) {
    this.#connection = connection
    this.handshake$ = new Observable((subscriber) => concat(from([...steps()]), this.#steps).subscribe(subscriber))
    this.#metrics = sampled(sampling, read)
    this.metrics$ = this.#metrics.values$
    this.#buffers = sampled({ ...sampling, intervalMs: Math.max(sampling.intervalMs, LEAST_BUFFERS_MS) }, readBuffers)
    this.buffers$ = this.#buffers.values$
  }

  /** Somebody hears of events. */
  get watched(): boolean {
    return this.#events.watched || CONNECTION_EVENT.hasSubscribers
  }

  emit(event: ConnectionEvent): void {
    if (CONNECTION_EVENT.hasSubscribers) CONNECTION_EVENT.publish({ connection: this.#connection, event })
    this.#events.emit(event)
  }

  step(event: HandshakeEvent): void {
    this.#steps.next(event)
  }

  end(info: CloseInfo): void {
    if (CONNECTION_CLOSED.hasSubscribers) CONNECTION_CLOSED.publish({ connection: this.#connection, info })
    this.#steps.complete()
    this.#metrics.end()
    this.#buffers.end()
    this.#events.end()
  }
}
