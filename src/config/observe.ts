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
  return new HotFeed(replay)
}

/** [H0] whose source costs something: `onWatched(true)` with the first subscriber, `false` when the last has gone. */
export function watched<T>(onWatched: (on: boolean) => void): Feed<T> {
  return new WatchedFeed(onWatched)
}

/** How often numbers are read, and on which clock. */
export interface Sampling {
  intervalMs: number
  timing: Timing
}

/** [H1] sample: `read` every `intervalMs` while somebody is subscribed, at once for the first. After the end `read` answers what it answered then. */
export function sampled<T>(sampling: Sampling, read: () => T): Omit<Feed<T>, 'emit'> {
  return new SampledFeed(sampling, read)
}

// Connections have a dozen feeds each and mostly nobody who looks: what belongs to rxjs is made when somebody does.

class HotFeed<T> implements Feed<T> {
  readonly #replay: number
  /** The last values, while nobody has looked. */
  #kept: T[] | null = null
  #subject: Subject<T> | null = null
  #values: Observable<T> | null = null
  #ended = false

  constructor(replay: number) {
    this.#replay = replay
  }

  get values$(): Observable<T> {
    return (this.#values ??= this.#look().asObservable())
  }

  get watched(): boolean {
    return this.#subject?.observed ?? false
  }

  emit(value: T): void {
    if (this.#subject !== null) return this.#subject.next(value)
    if (this.#replay === 0 || this.#ended) return
    this.#kept ??= []
    if (this.#kept.length >= this.#replay) this.#kept.shift()
    this.#kept.push(value)
  }

  end(): void {
    this.#ended = true
    this.#subject?.complete()
  }

  #look(): Subject<T> {
    const subject = this.#replay === 0 ? new Subject<T>() : new ReplaySubject<T>(this.#replay)
    for (const value of this.#kept ?? []) subject.next(value)
    this.#kept = null
    if (this.#ended) subject.complete()
    this.#subject = subject
    return subject
  }
}

class WatchedFeed<T> implements Feed<T> {
  readonly #onWatched: (on: boolean) => void
  #subject: Subject<T> | null = null
  #values: Observable<T> | null = null
  #watchers = 0
  #ended = false

  constructor(onWatched: (on: boolean) => void) {
    this.#onWatched = onWatched
  }

  get values$(): Observable<T> {
    return (this.#values ??= this.#look(new Subject<T>()))
  }

  emit(value: T): void {
    this.#subject?.next(value)
  }

  end(): void {
    this.#ended = true
    this.#subject?.complete()
  }

  #look(subject: Subject<T>): Observable<T> {
    this.#subject = subject
    return new Observable<T>((subscriber) => {
      if (this.#ended) return subscriber.complete()
      this.#watchers += 1
      if (this.#watchers === 1) this.#onWatched(true)
      const subscription = subject.subscribe(subscriber)
      return () => {
        subscription.unsubscribe()
        this.#watchers -= 1
        if (this.#watchers === 0 && !this.#ended) this.#onWatched(false)
      }
    })
  }
}

class SampledFeed<T> implements Omit<Feed<T>, 'emit'> {
  readonly #sampling: Sampling
  readonly #read: () => T
  #subject: Subject<T> | null = null
  #values: Observable<T> | null = null
  #watchers = 0
  #ended = false
  #stop: Cancel | null = null

  constructor(sampling: Sampling, read: () => T) {
    this.#sampling = sampling
    this.#read = read
  }

  get values$(): Observable<T> {
    return (this.#values ??= this.#look(new ReplaySubject<T>(1)))
  }

  end(): void {
    if (this.#ended) return
    this.#ended = true
    this.#stop?.()
    if (this.#subject !== null) this.#finish(this.#subject)
  }

  #look(subject: Subject<T>): Observable<T> {
    this.#subject = subject
    if (this.#ended) this.#finish(subject)
    const { intervalMs, timing } = this.#sampling
    const sample = (): void => subject.next(this.#read())
    return new Observable<T>((subscriber) => {
      this.#watchers += 1
      if (this.#watchers === 1 && !this.#ended) {
        sample()
        this.#stop = timing.every(intervalMs, sample)
      }
      const subscription = subject.subscribe(subscriber)
      return () => {
        subscription.unsubscribe()
        this.#watchers -= 1
        if (this.#watchers === 0) this.#stop?.()
      }
    })
  }

  /** The last value is for those who come later, too. */
  #finish(subject: Subject<T>): void {
    subject.next(this.#read())
    subject.complete()
  }
}
