/** Requests that wait for a connection, by key, in order of their coming (`waitForMs`). Bounded; who waits too long or is aborted is gone at once. */
import { waitFor } from '../config/index.ts'
import type { Timing } from '../config/index.ts'
import type { BidirectionalStream } from '../stream/index.ts'
import type { Member } from './member.ts'
import type { CheckedRequest } from './options.ts'

interface Waiter {
  /** Opens the stream over this connection. */
  take(member: Member): void
  fail(error: Error): void
}

export class Waiters {
  readonly #timing: Timing
  /** Null: any key will do. */
  readonly #lines = new Map<string | null, Waiter[]>()
  #size = 0

  constructor(timing: Timing) {
    this.#timing = timing
  }

  get size(): number {
    return this.#size
  }

  /** A stream over the next connection with this key that takes one. `late`: the error when there is none in time. */
  wait(key: string | null, request: CheckedRequest, late: () => Error): Promise<BidirectionalStream> {
    return waitFor(request.signal, (settle) => {
      let gone = false
      const hand = (stream: BidirectionalStream): void => {
        // Aborted in the turn in which it was opened: nobody else has it.
        if (gone) stream.destroy()
        else settle.resolve(stream)
      }
      const waiter: Waiter = {
        take: (member) => void member.request(request).then(hand, settle.reject),
        fail: settle.reject,
      }
      const line = this.#lines.get(key)
      if (line === undefined) this.#lines.set(key, [waiter])
      else line.push(waiter)
      this.#size += 1
      const cancel = this.#timing.after(request.waitForMs, () => settle.reject(late()))
      return () => {
        gone = true
        cancel()
        this.#leave(key, waiter)
      }
    })
  }

  /** It may take requests: those who wait get it, as far as its credit goes. */
  serve(member: Member): void {
    if (this.#size === 0) return
    for (const key of [member.key, null]) {
      for (let line = this.#lines.get(key); line !== undefined && member.takes; line = this.#lines.get(key)) {
        const waiter = line[0] as Waiter
        this.#leave(key, waiter)
        waiter.take(member)
      }
    }
  }

  /** Nobody comes any more for this key (null: for any). */
  fail(key: string | null, error: () => Error): void {
    // Whoever fails leaves the line, and the last one takes it along.
    for (let line = this.#lines.get(key); line !== undefined; line = this.#lines.get(key)) line[0]?.fail(error())
  }

  failAll(error: () => Error): void {
    for (let [key] = this.#lines.keys(); key !== undefined; [key] = this.#lines.keys()) this.fail(key, error)
  }

  #leave(key: string | null, waiter: Waiter): void {
    const line = this.#lines.get(key)
    const at = line?.indexOf(waiter) ?? -1
    if (line === undefined || at === -1) return
    this.#size -= 1
    if (line.length === 1) this.#lines.delete(key)
    else line.splice(at, 1)
  }
}
