/**
 * The receiving part of a stream: bytes that crossed and wait for the reader, the end, the reset, the stop. What the reader
 * takes is told to the engine with the turn's flush, which opens both windows. One reader (`Reader`) stands on it.
 */
import { Command, DataFlag } from '../binding/index.ts'
import type { Consumer } from '../binding/index.ts'
import { Loans } from './borrow.ts'
import { cutError, lockedError } from './codes.ts'
import type { PartError } from './codes.ts'
import type { StreamHost } from './host.ts'

/** Taken pieces at the head of a queue that are cut off together. */
const LEAST_GONE = 64

export type ReadStyle = 'readable' | 'toReadable()' | 'toDuplex()' | 'the async iterator' | 'borrow()' | 'bytes()' | 'another bytes()'

/** Who reads. Called from the drain; takes bytes by `take`. */
export interface Reader {
  /** Bytes wait, or the end was reached, or the part failed. */
  notify(): void
  /** Nothing waits: may take bytes of `staging` directly; answers how many. */
  fill?(staging: Buffer, start: number, end: number): number
}

export class ReceiveHalf implements Consumer {
  readonly host: StreamHost
  readonly id: bigint
  readonly connection: number
  readonly stream: number
  /** Bytes that crossed. */
  received = 0
  consumed = 0
  untold = false
  released = false
  /** open -> done (all read up to FIN) or failed. */
  state: 'open' | 'done' | 'failed' = 'open'
  error: PartError | null = null
  /** FIN crossed: no more bytes come. */
  complete = false
  readonly #settled: () => void
  /** What the outbox had handed over when the part was stopped; -1: it was not. */
  #owedSince = -1
  #style: ReadStyle | null = null
  #reader: Reader | null = null
  #queue: Buffer[] = []
  #head = 0
  /** Bytes of the first waiting piece that a view has taken. */
  #offset = 0
  /** In place of the queue, once somebody borrows. */
  #loans: Loans | null = null

  /** `settled` runs once, when the part is done or failed. */
  constructor(host: StreamHost, stream: number, settled: () => void) {
    this.host = host
    this.stream = stream
    this.id = BigInt(stream)
    this.connection = host.key
    this.#settled = settled
  }

  /** @throws QB_STREAM_LOCKED if another style reads */
  lock(style: ReadStyle): void {
    if (this.#style !== null && this.#style !== style) throw lockedError(this.id, 'reading', this.#style, style)
    this.#style = style
  }

  /** The reader is told of what is there already by its own first look. */
  attach(reader: Reader): void {
    this.#reader = reader
  }

  /** It reads no more, and is held no more. */
  detach(reader: Reader): void {
    if (this.#reader === reader) this.#reader = null
  }

  /** It was stopped, and the engine does not know yet (mux §4, ERROR). */
  get owesStop(): boolean {
    return this.#owedSince === this.host.outbox.handedOver
  }

  /** Everything up to FIN was taken. */
  get atEnd(): boolean {
    return this.state === 'done'
  }

  get waiting(): boolean {
    return this.#loans?.waiting ?? this.#head < this.#queue.length
  }

  /** The next piece, at most 64 KiB, owning its memory; null if nothing waits. */
  take(): Buffer | null {
    const piece = this.#shift()
    if (piece !== null) this.#took(piece.length)
    return piece
  }

  /** All that waits, in pieces; the list belongs to the caller. */
  takeAll(): Buffer[] {
    const pieces: Buffer[] = []
    let bytes = 0
    for (let piece = this.#shift(); piece !== null; piece = this.#shift()) {
      pieces.push(piece)
      bytes += piece.length
    }
    if (bytes > 0) this.#took(bytes)
    return pieces
  }

  /** Copies what waits into `view`; answers how many bytes. */
  takeInto(view: Uint8Array): number {
    let filled = 0
    while (filled < view.length) {
      const piece = this.#queue[this.#head]
      if (piece === undefined) break
      const length = Math.min(piece.length - this.#offset, view.length - filled)
      view.set(piece.subarray(this.#offset, this.#offset + length), filled)
      filled += length
      this.#offset += length
      if (this.#offset === piece.length) this.#next()
    }
    if (filled > 0) this.#took(filled)
    return filled
  }

  /** From now on bytes are lent and not taken: for the one style that does. */
  get loans(): Loans {
    if (this.#loans === null) {
      this.#loans = new Loans(this, this.#queue)
      this.#queue = []
      this.attach(this.#loans)
    }
    return this.#loans
  }

  /** A piece that waited was lent. */
  onLent(): void {
    this.#checkDone()
  }

  /** Bytes that were lent came back: the reader took them. */
  onReturned(bytes: number): void {
    this.consumed += bytes
    if (this.released) return
    this.host.outbox.consumed(this, bytes)
    this.host.outbox.flushCredit()
  }

  /** STOP_SENDING, unless everything has come; what waits is dropped. */
  stop(code: bigint): void {
    if (this.state !== 'open') return
    if (!this.complete) {
      this.#owedSince = this.host.outbox.handedOver
      this.host.outbox.send(Command.STOP, this.connection, this.stream, 0, code)
    }
    this.fail(cutError(this.host, this.id, 'reset', 'local', code))
  }

  onData(flags: number, staging: Buffer, start: number, end: number): void {
    if (this.state !== 'open') return
    this.received += end - start
    let from = start
    if (from < end && !this.waiting && this.#reader?.fill !== undefined) {
      const filled = this.#reader.fill(staging, start, end)
      from += filled
      if (filled > 0) this.#took(filled)
    }
    if (from < end && this.#loans !== null) this.#loans.push(staging, from, end)
    else if (from < end) this.#queue.push(copyOf(staging, from, end))
    if ((flags & DataFlag.FIN) !== 0) {
      this.complete = true
      this.#checkDone()
    }
    this.#reader?.notify()
  }

  onReset(code: bigint): void {
    this.fail(cutError(this.host, this.id, 'reset', 'peer', code))
  }

  /** The part is over without success; a part that is complete keeps what was not read yet. */
  fail(error: PartError): void {
    if (this.state !== 'open') return
    this.state = 'failed'
    this.error = error
    this.#queue = []
    this.#head = 0
    this.#offset = 0
    this.#loans?.clear()
    this.#reader?.notify()
    this.#settled()
  }

  /** The connection ended: nothing more comes. What is complete can still be read. */
  cut(error: PartError): void {
    if (!this.complete) this.fail(error)
  }

  #shift(): Buffer | null {
    const piece = this.#queue[this.#head]
    if (piece === undefined) return null
    const rest = this.#offset === 0 ? piece : copyOf(piece, this.#offset, piece.length)
    this.#next()
    return rest
  }

  #next(): void {
    this.#offset = 0
    this.#head += 1
    if (this.#head < Math.min(this.#queue.length, LEAST_GONE)) return
    // Now and then also while there is more: what was taken must not stay reachable from here.
    this.#queue = this.#queue.slice(this.#head)
    this.#head = 0
  }

  #took(bytes: number): void {
    this.consumed += bytes
    this.host.outbox.consumed(this, bytes)
    this.#checkDone()
  }

  #checkDone(): void {
    if (!this.complete || this.waiting || this.state !== 'open') return
    this.state = 'done'
    this.#settled()
  }
}

/** A fresh copy that owns exactly its bytes (streams-over-ring S7). */
function copyOf(source: Buffer, start: number, end: number): Buffer {
  const copy = Buffer.allocUnsafeSlow(end - start)
  source.copy(copy, 0, start, end)
  return copy
}
