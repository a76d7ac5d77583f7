/**
 * The observables of paths; none of them errors.
 *
 * | | of | kind | clock | completes |
 * |---|---|---|---|---|
 * | `all$` | the set | [H1] | tick: in the event-loop turn that drained the record; each change of membership | with the connection |
 * | `events$` | the set | [H64] | tick, in the order of the engine; `atMs` is when it happened, on the endpoint's clock | with the connection |
 * | `state$` | a path | [H1] | tick; each change of its facts | at 'abandoned', or with the connection |
 * | `metrics$` | a path | [H1] | sample: every `metricsIntervalMs` of real time while somebody is subscribed, and once at the end | as `state$` |
 */
import { hot, sampled } from '../config/index.ts'
import type { Feed, Observable, Sampling } from '../config/index.ts'
import { PATH_EVENT } from '../diagnostics/index.ts'
import type { PathEvent, PathFacts, PathMetrics } from './facts.ts'
import type { Path } from './path.ts'

export class PathSetFeeds {
  readonly #all: Feed<readonly Path[]> = hot(1)
  readonly #events: Feed<PathEvent> = hot(64)

  readonly #connection: object

  /** `connection`: whose paths they are, for `diagnostics_channel`. */
  constructor(connection: object) {
    this.#connection = connection
    this.#all.emit([])
  }

  get all$(): Observable<readonly Path[]> {
    return this.#all.values$
  }

  get events$(): Observable<PathEvent> {
    return this.#events.values$
  }

  changed(paths: readonly Path[]): void {
    this.#all.emit(paths)
  }

  emit(event: PathEvent): void {
    if (PATH_EVENT.hasSubscribers) PATH_EVENT.publish({ connection: this.#connection, event })
    this.#events.emit(event)
  }

  end(): void {
    this.#all.end()
    this.#events.end()
  }
}

export class PathFeeds {
  readonly #state: Feed<PathFacts> = hot(1)
  readonly #metrics: Omit<Feed<PathMetrics>, 'emit'>

  constructor(sampling: Sampling, read: () => PathMetrics) {
    this.#metrics = sampled(sampling, read)
  }

  get state$(): Observable<PathFacts> {
    return this.#state.values$
  }

  get metrics$(): Observable<PathMetrics> {
    return this.#metrics.values$
  }

  changed(facts: PathFacts): void {
    this.#state.emit(facts)
  }

  end(): void {
    this.#state.end()
    this.#metrics.end()
  }
}
