/** The observables of an endpoint: `connections$`, `events$`, `raw$` [H0] tick, `metrics$` [H1] sample; all complete when it has closed. */
import { hot, sampled, watched } from '../config/index.ts'
import type { Feed, Observable, Sampling } from '../config/index.ts'
import type { Connection } from '../connection/index.ts'
import { CONNECTION_OPEN, ENDPOINT_CLOSED, ENDPOINT_EVENT, ENDPOINT_OPEN } from '../diagnostics/index.ts'
import type { EndpointEvent, EndpointStatistics, RawDatagram } from './facts.ts'

export class EndpointFeeds {
  readonly #connections: Feed<Connection> = hot(0)
  readonly #events: Feed<EndpointEvent> = hot(0)
  readonly #metrics: Omit<Feed<EndpointStatistics>, 'emit'>
  readonly connections$: Observable<Connection> = this.#connections.values$
  readonly events$: Observable<EndpointEvent> = this.#events.values$
  readonly raw: Feed<RawDatagram>
  readonly #endpoint: object
  readonly metrics$: Observable<EndpointStatistics>

  /** `endpoint`: whose they are, for `diagnostics_channel`. `onRaw`: somebody wants datagrams that are no QUIC, or nobody any more. */
  constructor(endpoint: object, sampling: Sampling, read: () => EndpointStatistics, onRaw: (wanted: boolean) => void) {
    this.#endpoint = endpoint
    this.raw = watched(onRaw)
    this.#metrics = sampled(sampling, read)
    this.metrics$ = this.#metrics.values$
    if (ENDPOINT_OPEN.hasSubscribers) ENDPOINT_OPEN.publish({ endpoint })
  }

  connection(connection: Connection): void {
    if (CONNECTION_OPEN.hasSubscribers) CONNECTION_OPEN.publish({ endpoint: this.#endpoint, connection })
    this.#connections.emit(connection)
  }

  emit(event: EndpointEvent): void {
    if (ENDPOINT_EVENT.hasSubscribers) ENDPOINT_EVENT.publish({ endpoint: this.#endpoint, event })
    this.#events.emit(event)
  }

  /** `error`: what broke the endpoint, or null. */
  end(error: unknown): void {
    if (ENDPOINT_CLOSED.hasSubscribers) ENDPOINT_CLOSED.publish({ endpoint: this.#endpoint, error })
    this.#metrics.end()
    this.raw.end()
    this.#connections.end()
    this.#events.end()
  }
}
