/**
 * Reading by borrowed views: what a drain wrote is handed out as it lies there, without a copy and without memory of its own
 * (streams-over-ring S13). The reader gives each piece back; at most a window is with it, and the peer's credit follows what came back.
 * Pieces that came before the reader, and small ones, are copies: that nobody can tell but by their speed.
 */
import { AHEAD_BYTES } from '../binding/index.ts'
import type { Slab, Slabs } from '../binding/index.ts'
import { waitFor } from '../config/index.ts'
import type { Bytes, Settle } from '../config/index.ts'
import { cancelCode } from './codes.ts'
import { tie } from './dropped.ts'
import type { Reader, ReceiveHalf } from './receive-half.ts'

/** Bytes of a stream, lent until `release()`. */
export interface Loan {
  /**
   * Engine memory. Until `release()` nothing else is written there, whatever becomes of stream, connection and endpoint; afterwards its content
   * is anybody's, though it stays memory of this process. Its `buffer` holds other bytes as well: neither transfer nor detach it.
   */
  readonly bytes: Bytes
  /** Gives the bytes back, and the peer its credit for them. Again: nothing. */
  release(): void
}

/** Longest piece: what one drain brings of a stream is one. */
const PIECE_BYTES = 262_144

/** Lent pieces at the head of the list that are cut off together. */
const LEAST_GONE = 64

/** A part of a block that waits for the reader, or a copy (`slab` null). */
interface Piece {
  slab: Slab | null
  buffer: Buffer
  start: number
  end: number
}

/** Who waits, and what must not be collected meanwhile. */
type Wait = Settle<IteratorResult<Loan, undefined>> & { holder: object }

/** What waits for a reader who borrows, and what is with it. */
export class Loans implements Reader {
  readonly #half: ReceiveHalf
  readonly #slabs: Slabs
  #pieces: Piece[] = []
  #head = 0
  /** Bytes with the reader. */
  #lent = 0
  #waiting: Wait[] = []
  /** Views that were collected without having been released. In a simulated world nobody looks. */
  readonly #lost: FinalizationRegistry<LoanState> | null

  constructor(half: ReceiveHalf, before: readonly Buffer[]) {
    this.#half = half
    this.#slabs = half.host.slabs
    this.#lost = half.host.watchesHandles ? new FinalizationRegistry((state) => this.#lose(state)) : null
    for (const buffer of before) this.#pieces.push({ slab: null, buffer, start: 0, end: buffer.length })
  }

  /** Bytes wait that nobody has borrowed. */
  get waiting(): boolean {
    return this.#head < this.#pieces.length
  }

  next(holder: object, signal: AbortSignal | undefined): Promise<IteratorResult<Loan, undefined>> {
    if (signal?.aborted === true) return Promise.reject(signal.reason)
    if (this.#waiting.length === 0) {
      if (this.#mayLend()) return Promise.resolve({ done: false, value: this.#lend() })
      if (this.#half.atEnd) return Promise.resolve({ done: true, value: undefined })
      if (this.#half.error !== null) return Promise.reject(this.#half.error)
    }
    return waitFor(signal, (deferred) => {
      const wait = { ...deferred, holder }
      this.#waiting.push(wait)
      return () => {
        this.#waiting = this.#waiting.filter((other) => other !== wait)
      }
    })
  }

  notify(): void {
    while (this.#waiting.length > 0) {
      const half = this.#half
      if (this.#mayLend()) this.#waiting.shift()?.resolve({ done: false, value: this.#lend() })
      else if (half.atEnd) this.#waiting.shift()?.resolve({ done: true, value: undefined })
      else if (half.error !== null) this.#waiting.shift()?.reject(half.error)
      else return
    }
  }

  /** Bytes of the drain under way. What lies right behind the piece before becomes part of it. */
  push(staging: Buffer, start: number, end: number): void {
    const place = this.#slabs.lend(start, end)
    if (place === null) {
      const copy = Buffer.allocUnsafeSlow(end - start)
      staging.copy(copy, 0, start, end)
      this.#pieces.push({ slab: null, buffer: copy, start: 0, end: copy.length })
      return
    }
    const { slab, at } = place
    const last = this.#pieces.at(-1)
    if (last?.slab === slab && last.end === at && this.waiting && at + end - start - last.start <= PIECE_BYTES) {
      last.end += end - start
      this.#slabs.giveBack(slab)
    } else {
      this.#pieces.push({ slab, buffer: slab.buffer, start: at, end: at + end - start })
    }
  }

  /** Drops what nobody has borrowed. */
  clear(): void {
    for (const { slab } of this.#pieces.slice(this.#head)) if (slab !== null) this.#slabs.giveBack(slab)
    this.#pieces = []
    this.#head = 0
  }

  #mayLend(): boolean {
    return this.waiting && this.#lent < AHEAD_BYTES
  }

  /** The next piece, as far as the window goes. */
  #lend(): Loan {
    const piece = this.#pieces[this.#head] as Piece
    const { slab, buffer, start } = piece
    const end = Math.min(piece.end, start + AHEAD_BYTES - this.#lent)
    if (end < piece.end) {
      piece.start = end
      if (slab !== null) slab.loans += 1
    } else {
      this.#head += 1
      if (this.#head >= Math.min(this.#pieces.length, LEAST_GONE)) {
        this.#pieces = this.#pieces.slice(this.#head)
        this.#head = 0
      }
    }
    this.#lent += end - start
    this.#half.onLent()
    const state = { slab, length: end - start, back: false }
    const bytes = buffer.subarray(start, end)
    this.#lost?.register(bytes, state, state)
    return { bytes, release: () => this.#release(state) }
  }

  #release(state: LoanState): void {
    if (state.back) return
    this.#lost?.unregister(state)
    this.#settle(state)
    if (state.slab !== null) this.#slabs.giveBack(state.slab)
  }

  /** Parts of the view may still be in sight: the memory is not used again. */
  #lose(state: LoanState): void {
    if (state.back) return
    this.#settle(state)
    if (state.slab !== null) this.#slabs.lose(state.slab)
  }

  #settle(state: LoanState): void {
    state.back = true
    this.#lent -= state.length
    this.#half.onReturned(state.length)
    this.notify()
  }
}

interface LoanState {
  readonly slab: Slab | null
  readonly length: number
  back: boolean
}

/** Loans in order. Leaving the loop early stops the stream; what was lent stays so until it is released. */
export class BorrowIterator implements AsyncIterableIterator<Loan> {
  readonly #loans: Loans
  readonly #half: ReceiveHalf
  readonly #signal: AbortSignal | undefined

  constructor(loans: Loans, half: ReceiveHalf, handle: object, signal: AbortSignal | undefined) {
    this.#loans = loans
    this.#half = half
    this.#signal = signal
    tie(this, handle)
  }

  next(): Promise<IteratorResult<Loan, undefined>> {
    return this.#loans.next(this, this.#signal)
  }

  return(): Promise<IteratorResult<Loan, undefined>> {
    this.#half.stop(cancelCode(this.#half.host))
    return Promise.resolve({ done: true, value: undefined })
  }

  [Symbol.asyncIterator](): this {
    return this
  }
}
