/**
 * Promises that end in time: abort signals, limits, and promises whose rejection nobody must catch.
 * Abort rejects with `signal.reason` and leaves nothing behind (no listener, no timer).
 */

export interface Waiting {
  /** @default none */
  signal?: AbortSignal | undefined
}

/** A promise with its two ends in hand. */
export interface Deferred<T> {
  readonly promise: Promise<T>
  resolve(value: T): void
  reject(error: unknown): void
}

export function defer<T>(): Deferred<T> {
  let resolve!: (value: T) => void
  let reject!: (error: unknown) => void
  const promise = new Promise<T>((yes, no) => {
    resolve = yes
    reject = no
  })
  return { promise, resolve, reject }
}

/** As `defer`; a rejection that nobody looks at is not an unhandled one. */
export function deferHandled<T>(): Deferred<T> {
  const deferred = defer<T>()
  deferred.promise.catch(() => {})
  return deferred
}

/** As `deferHandled`; the promise is made when somebody asks for it, if anybody does. The first end counts. */
export class LazyDeferred<T> implements Deferred<T> {
  #made: Deferred<T> | null = null
  #end: { value: T } | { error: unknown } | null = null

  get promise(): Promise<T> {
    if (this.#made === null) {
      this.#made = deferHandled()
      if (this.#end !== null) this.#settle(this.#made, this.#end)
    }
    return this.#made.promise
  }

  resolve(value: T): void {
    this.#finish({ value })
  }

  reject(error: unknown): void {
    this.#finish({ error })
  }

  #finish(end: { value: T } | { error: unknown }): void {
    if (this.#end !== null) return
    this.#end = end
    if (this.#made !== null) this.#settle(this.#made, end)
  }

  #settle(made: Deferred<T>, end: { value: T } | { error: unknown }): void {
    if ('value' in end) made.resolve(end.value)
    else made.reject(end.error)
  }
}

/** The two ends of a promise that `waitFor` holds. */
export type Settle<T> = Pick<Deferred<T>, 'resolve' | 'reject'>

/**
 * A promise that `start` arranges to settle, and the abort of `signal` against it. `start` answers how to leave; that runs once and
 * at once, however the wait ends, so that nothing is handed to somebody who has gone. With a signal aborted already, `start` never runs.
 */
export function waitFor<T>(signal: AbortSignal | undefined, start: (settle: Settle<T>) => () => void): Promise<T> {
  if (signal?.aborted) return Promise.reject(signal.reason)
  return new Promise<T>((resolve, reject) => {
    let over = false
    let leave = (): void => {}
    const finish = (): boolean => {
      if (over) return false
      over = true
      signal?.removeEventListener('abort', onAbort)
      leave()
      return true
    }
    const onAbort = (): void => {
      if (finish()) reject(signal?.reason)
    }
    signal?.addEventListener('abort', onAbort)
    leave = start({
      resolve: (value) => void (finish() && resolve(value)),
      reject: (error) => void (finish() && reject(error)),
    })
    if (over) leave()
  })
}
