/** Things that arrive and are taken by loops: several loops share one supply, each thing goes to one of them. */
import { checkCall } from './check.ts'
import { waitFor } from './waiting.ts'
import type { Settle, Waiting } from './waiting.ts'

export class Supply<T> {
  #items: T[] = []
  #waiting: Settle<IteratorResult<T, undefined>>[] = []
  #ended = false

  /** Things that nobody has taken yet. */
  get size(): number {
    return this.#items.length
  }

  push(item: T): void {
    if (this.#ended) return
    const next = this.#waiting.shift()
    if (next === undefined) this.#items.push(item)
    else next.resolve({ done: false, value: item })
  }

  /** Nothing comes any more; what waits is still handed out. */
  end(): void {
    this.#ended = true
    const waiting = this.#waiting
    this.#waiting = []
    for (const next of waiting) next.resolve({ done: true, value: undefined })
  }

  /** Takes out what waits. */
  drop(): T[] {
    const items = this.#items
    this.#items = []
    return items
  }

  iterate(options: Waiting): AsyncIterableIterator<T> {
    checkCall(options, ['signal'])
    const { signal } = options
    let left = false
    const iterator: AsyncIterableIterator<T> = {
      next: () => (left ? Promise.resolve({ done: true, value: undefined }) : this.#next(signal)),
      return: () => {
        left = true
        return Promise.resolve({ done: true, value: undefined })
      },
      [Symbol.asyncIterator]: () => iterator,
    }
    return iterator
  }

  #next(signal: AbortSignal | undefined): Promise<IteratorResult<T, undefined>> {
    return waitFor(signal, (deferred) => {
      if (this.#items.length > 0) deferred.resolve({ done: false, value: this.#items.shift() as T })
      else if (this.#ended) deferred.resolve({ done: true, value: undefined })
      else this.#waiting.push(deferred)
      return () => {
        this.#waiting = this.#waiting.filter((other) => other !== deferred)
      }
    })
  }
}
