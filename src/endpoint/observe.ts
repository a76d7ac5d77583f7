/** The observables of an endpoint: `connections$`, `events$`, `raw$` [H0] tick, `metrics$` [H1] sample; all complete when it has closed. */
import { hot, sampled, watched } from '../config/index.ts'
import type { Feed, Observable, Sampling } from '../config/index.ts'
import type { Connection } from '../connection/index.ts'
import type { EndpointEvent, EndpointStatistics, RawDatagram } from './facts.ts'

export class EndpointFeeds {
  readonly #connections: Feed<Connection> = hot(0)
  readonly #events: Feed<EndpointEvent> = hot(0)
  readonly #metrics: Omit<Feed<EndpointStatistics>, 'emit'>
  readonly connections$: Observable<Connection> = this.#connections.values$
  readonly events$: Observable<EndpointEvent> = this.#events.values$
  readonly raw: Feed<RawDatagram>
  readonly metrics$: Observable<EndpointStatistics>

  /** `onRaw`: somebody wants datagrams that are no QUIC, or nobody any more. */
  constructor(sampling: Sampling, read: () => EndpointStatistics, onRaw: (wanted: boolean) => void) {
    this.raw = watched(onRaw)
    this.#metrics = sampled(sampling, read)
    this.metrics$ = this.#metrics.values$
  }

  connection(connection: Connection): void {
    this.#connections.emit(connection)
  }

  emit(event: EndpointEvent): void {
    this.#events.emit(event)
  }

  end(): void {
    this.#metrics.end()
    this.raw.end()
    this.#connections.end()
    this.#events.end()
  }
}
