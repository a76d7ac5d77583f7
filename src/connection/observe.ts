/** The observables of a connection. `events$` [H0] tick · `metrics$` [H1] sample · `buffers$` [H1] sample, at most ten a second · `handshake$` [H256] tick; all complete when it ends. */
import { concat, from, Observable } from 'rxjs'
import { hot, sampled } from '../config/index.ts'
import type { Feed, Sampling } from '../config/index.ts'
import { CONNECTION_CLOSED, CONNECTION_EVENT } from '../diagnostics/index.ts'
import type { BufferFacts, CloseInfo, ConnectionEvent, ConnectionStatistics, HandshakeEvent } from './facts.ts'

/** Between two values of `buffers$` (mux R61). */
const LEAST_BUFFERS_MS = 100

export class ConnectionFeeds {
  readonly #events: ReturnType<typeof hot<ConnectionEvent>> = hot<ConnectionEvent>(0)
  readonly #metrics: Omit<Feed<ConnectionStatistics>, 'emit'>
  readonly #buffers: Omit<Feed<BufferFacts>, 'emit'>
  readonly #told: Feed<HandshakeEvent> = hot(0)
  readonly #steps: () => readonly HandshakeEvent[]
  readonly #connection: object
  #handshake: Observable<HandshakeEvent> | null = null

  /** `connection`: whose they are, for `diagnostics_channel`. */
  constructor(connection: object, sampling: Sampling, read: () => ConnectionStatistics, readBuffers: () => BufferFacts, steps: () => readonly HandshakeEvent[]) {
    this.#connection = connection
    this.#metrics = sampled(sampling, read)
    this.#buffers = sampled({ ...sampling, intervalMs: Math.max(sampling.intervalMs, LEAST_BUFFERS_MS) }, readBuffers)
    this.#steps = steps
  }

  get events$(): Observable<ConnectionEvent> {
    return this.#events.values$
  }

  get metrics$(): Observable<ConnectionStatistics> {
    return this.#metrics.values$
  }

  get buffers$(): Observable<BufferFacts> {
    return this.#buffers.values$
  }

  /** The steps so far, whoever keeps them, and those that come. */
  get handshake$(): Observable<HandshakeEvent> {
    return (this.#handshake ??= new Observable((subscriber) => concat(from([...this.#steps()]), this.#told.values$).subscribe(subscriber)))
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
    this.#told.emit(event)
  }

  end(info: CloseInfo): void {
    if (CONNECTION_CLOSED.hasSubscribers) CONNECTION_CLOSED.publish({ connection: this.#connection, info })
    this.#told.end()
    this.#metrics.end()
    this.#buffers.end()
    this.#events.end()
  }
}
