/**
 * The kinds of observables of the public contract, as feeds: hot with replay, watched (work only while somebody looks), sampled.
 * Hot ones never error and complete when their owner ends. A subscriber that throws is rxjs's to report, never ours.
 */
import { Observable, ReplaySubject, Subject } from 'rxjs'
import type { Cancel, Timing } from './clock.ts'

export type { Observable } from 'rxjs'

/** The inner side of an observable. */
export interface Feed<T> {
  readonly values$: Observable<T>
  emit(value: T): void
  /** Completes; later subscribers get the replay and the completion. */
  end(): void
}

/** [H0] for `replay` 0, [H1], [Hn]. `watched`: somebody is subscribed now. */
export function hot<T>(replay: number): Feed<T> & { readonly watched: boolean } {
  const subject = replay === 0 ? new Subject<T>() : new ReplaySubject<T>(replay)
  return { values$: subject.asObservable(), get watched() { return subject.observed }, emit: (value) => subject.next(value), end: () => subject.complete() }
}

/** [H0] whose source costs something: `onWatched(true)` with the first subscriber, `false` when the last has gone. */
export function watched<T>(onWatched: (on: boolean) => void): Feed<T> {
  const subject = new Subject<T>()
  let watchers = 0
  let ended = false
  const values$ = new Observable<T>((subscriber) => {
    if (ended) return subscriber.complete()
    watchers += 1
    if (watchers === 1) onWatched(true)
    const subscription = subject.subscribe(subscriber)
    return () => {
      subscription.unsubscribe()
      watchers -= 1
      if (watchers === 0 && !ended) onWatched(false)
    }
  })
  const end = (): void => {
    ended = true
    subject.complete()
  }
  return { values$, emit: (value) => subject.next(value), end }
}

/** How often numbers are read, and on which clock. */
export interface Sampling {
  intervalMs: number
  timing: Timing
}

/** [H1] sample: `read` every `intervalMs` while somebody is subscribed, at once for the first. */
export function sampled<T>({ intervalMs, timing }: Sampling, read: () => T): Omit<Feed<T>, 'emit'> {
  const subject = new ReplaySubject<T>(1)
  let watchers = 0
  let ended = false
  let stop: Cancel = () => {}
  const sample = (): void => subject.next(read())
  const values$ = new Observable<T>((subscriber) => {
    watchers += 1
    if (watchers === 1 && !ended) {
      sample()
      stop = timing.every(intervalMs, sample)
    }
    const subscription = subject.subscribe(subscriber)
    return () => {
      subscription.unsubscribe()
      watchers -= 1
      if (watchers === 0) stop()
    }
  })
  const end = (): void => {
    if (ended) return
    ended = true
    stop()
    sample()
    subject.complete()
  }
  return { values$, end }
}
