/** The observables of a connection. `events$` [H0] tick · `metrics$` [H1] sample · `handshake$` [H256] tick; all complete when it ends. */
import { concat, from, Observable, Subject } from 'rxjs'
import { hot, sampled } from '../config/index.ts'
import type { Feed, Sampling } from '../config/index.ts'
import type { ConnectionEvent, ConnectionStatistics, HandshakeEvent } from './facts.ts'

export class ConnectionFeeds {
  readonly #events: Feed<ConnectionEvent> = hot(0)
  readonly #metrics: Omit<Feed<ConnectionStatistics>, 'emit'>
  readonly events$: Observable<ConnectionEvent> = this.#events.values$
  readonly metrics$: Observable<ConnectionStatistics>
  readonly #steps = new Subject<HandshakeEvent>()
  /** The steps so far, whoever keeps them, and those that come. */
  readonly handshake$: Observable<HandshakeEvent>

  constructor(sampling: Sampling, read: () => ConnectionStatistics, steps: () => readonly HandshakeEvent[]) {
    this.handshake$ = new Observable((subscriber) => concat(from([...steps()]), this.#steps).subscribe(subscriber))
    this.#metrics = sampled(sampling, read)
    this.metrics$ = this.#metrics.values$
  }

  emit(event: ConnectionEvent): void {
    this.#events.emit(event)
  }

  step(event: HandshakeEvent): void {
    this.#steps.next(event)
  }

  end(): void {
    this.#steps.complete()
    this.#metrics.end()
    this.#events.end()
  }
}
