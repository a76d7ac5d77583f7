/** The observables of probes and relays: `observations$` [C] tick, errors with the ServiceError of `classify`; `metrics$` [H1] sample, completes when the relay has closed. */
import { Observable } from 'rxjs'
import { sampled } from '../config/index.ts'
import type { Feed, Sampling } from '../config/index.ts'
import type { RelayStatistics } from './types.ts'

/** Each subscription starts the work; unsubscribing aborts it. */
export function cold<T>(start: (next: (value: T) => void, signal: AbortSignal) => Promise<unknown>): Observable<T> {
  return new Observable<T>((subscriber) => {
    const abort = new AbortController()
    start((value) => subscriber.next(value), abort.signal).then(() => subscriber.complete(), (error: unknown) => subscriber.error(error))
    return () => abort.abort()
  })
}

/** Numbers of a relay while somebody looks. */
export function relayMetrics(sampling: Sampling, read: () => RelayStatistics): Omit<Feed<RelayStatistics>, 'emit'> {
  return sampled(sampling, read)
}
