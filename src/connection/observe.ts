/** The observables of a connection. `events$` [H0] tick · `metrics$` [H1] sample; both complete when it ends. */
import { hot, sampled } from '../config/index.ts'
import type { Feed, Observable, Sampling } from '../config/index.ts'
import type { ConnectionEvent, ConnectionStatistics } from './facts.ts'

export class ConnectionFeeds {
  readonly #events: Feed<ConnectionEvent> = hot(0)
  readonly #metrics: Omit<Feed<ConnectionStatistics>, 'emit'>
  readonly events$: Observable<ConnectionEvent> = this.#events.values$
  readonly metrics$: Observable<ConnectionStatistics>

  constructor(sampling: Sampling, read: () => ConnectionStatistics) {
    this.#metrics = sampled(sampling, read)
    this.metrics$ = this.#metrics.values$
  }

  emit(event: ConnectionEvent): void {
    this.#events.emit(event)
  }

  end(): void {
    this.#metrics.end()
    this.#events.end()
  }
}
