/** The observables of a public end's pools: who is in them, and whether one is empty. Made of one feed of changes, so that pools nobody looks at cost nothing. */
import { Observable, Subject, distinctUntilChanged, map } from 'rxjs'
import type { Connection } from '../connection/index.ts'

export class PoolFeeds {
  readonly #changes = new Subject<void>()
  readonly connections$: Observable<readonly Connection[]>

  /** `list`: those that take requests now. */
  constructor(list: () => readonly Connection[]) {
    this.connections$ = this.#replaying(list)
  }

  /** Whether `size` is 0: at once, then each change. */
  empty$(size: () => number): Observable<boolean> {
    return this.#replaying(() => size() === 0).pipe(distinctUntilChanged())
  }

  /** Somebody has come or gone. */
  changed(): void {
    this.#changes.next()
  }

  end(): void {
    this.#changes.complete()
  }

  /** [H1]: what `read` answers now, and after each change. */
  #replaying<T>(read: () => T): Observable<T> {
    return new Observable<T>((subscriber) => {
      subscriber.next(read())
      return this.#changes.pipe(map(read)).subscribe(subscriber)
    })
  }
}
