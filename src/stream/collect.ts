/** Reading by the batch: the async iterator (streams-over-ring S9) and `bytes()`. One promise a batch, never one a packet. */
import { waitFor } from '../config/index.ts'
import type { Settle, Waiting } from '../config/index.ts'
import { StreamError } from '../errors/index.ts'
import { cancelCode } from './codes.ts'
import { tie } from './dropped.ts'
import type { Reader, ReceiveHalf } from './receive-half.ts'

type Batch = readonly Uint8Array[]

/** Who waits, and what must not be collected meanwhile. */
type Wait = Settle<IteratorResult<Batch, undefined>> & { holder: object }

/** All that waits, batch by batch. Leaving the loop early stops the stream. */
export class BatchIterator implements AsyncIterableIterator<Batch> {
  readonly #batches: Batches
  readonly #half: ReceiveHalf

  constructor(half: ReceiveHalf, handle: object) {
    this.#half = half
    this.#batches = new Batches(half)
    tie(this, handle)
  }

  next(): Promise<IteratorResult<Batch, undefined>> {
    return this.#batches.next(this)
  }

  return(): Promise<IteratorResult<Batch, undefined>> {
    this.#half.stop(cancelCode(this.#half.host))
    return Promise.resolve({ done: true, value: undefined })
  }

  [Symbol.asyncIterator](): this {
    return this
  }
}

/** What the part holds of an iterator: nothing, unless somebody waits. */
class Batches implements Reader {
  readonly #half: ReceiveHalf
  #waiting: Wait[] = []

  constructor(half: ReceiveHalf) {
    this.#half = half
    half.attach(this)
  }

  next(holder: object): Promise<IteratorResult<Batch, undefined>> {
    if (this.#waiting.length === 0) {
      if (this.#half.waiting) return Promise.resolve({ done: false, value: this.#half.takeAll() })
      if (this.#half.atEnd) return Promise.resolve({ done: true, value: undefined })
      if (this.#half.error !== null) return Promise.reject(this.#half.error)
    }
    return waitFor(undefined, (deferred) => {
      this.#waiting.push({ ...deferred, holder })
      return () => {}
    })
  }

  notify(): void {
    while (this.#waiting.length > 0) {
      const half = this.#half
      if (half.waiting) this.#waiting.shift()?.resolve({ done: false, value: half.takeAll() })
      else if (half.atEnd) this.#waiting.shift()?.resolve({ done: true, value: undefined })
      else if (half.error !== null) this.#waiting.shift()?.reject(half.error)
      else return
    }
  }
}

/** All bytes up to FIN. @throws QB_STREAM_TOO_LONG (then the stream is stopped), the part's error */
export function collectBytes(half: ReceiveHalf, options: Waiting, maxBytes: number, handle: object): Promise<Uint8Array> {
  const pieces: Buffer[] = []
  let total = 0
  return waitFor<Uint8Array>(options.signal, (deferred) => {
    const notify = (): void => {
      for (const piece of half.takeAll()) {
        pieces.push(piece)
        total += piece.length
      }
      if (total > maxBytes) {
        half.stop(cancelCode(half.host))
        deferred.reject(new StreamError('QB_STREAM_TOO_LONG', `stream ${half.id} is longer than maxBytes (${maxBytes}); pass a larger maxBytes or read it in pieces`, { stream: half.id }))
      } else if (half.atEnd) deferred.resolve(join(pieces, total))
      else if (half.error !== null) deferred.reject(half.error)
    }
    const reader: Reader & { holder: object } = { notify, holder: handle }
    half.attach(reader)
    notify()
    return () => {
      half.detach(reader)
      // Still open here means: given up. What was taken cannot be put back.
      half.stop(cancelCode(half.host))
    }
  })
}

function join(pieces: readonly Buffer[], total: number): Uint8Array {
  const whole = new Uint8Array(total)
  let at = 0
  for (const piece of pieces) {
    whole.set(piece, at)
    at += piece.length
  }
  return whole
}
