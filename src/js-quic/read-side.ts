/**
 * The readable of a façade's stream: there at once, fed when the stream has been opened. Its errors are the reasons of the
 * program (`codeToReason`, `cancel(reason)`), not ours.
 */
import { ReadableStream } from 'node:stream/web'
import type { ReadableStreamDefaultController, ReadableStreamDefaultReader } from 'node:stream/web'
import { isQuicbraidError } from '../index.ts'
import { ErrorQUICStreamLocalRead, ErrorQUICStreamPeerRead } from './errors.ts'
import { promise } from './utils.ts'

/** What this side needs of the real stream. */
export interface Receiving {
  readonly readable: ReadableStream<Uint8Array>
  stop(code: number): void
}

/** What both sides need of theirs. */
export interface SideHost<E> {
  /** 0 if the program's converter throws or answers no code. */
  toCode(reason: unknown): number
  toReason(code: number): unknown
  /** Why the connection has ended, as soon as that is known. */
  readonly connectionEnd: Promise<Error>
  onClosed(error: E | undefined): void
}

export type ReadEnd = ErrorQUICStreamLocalRead | ErrorQUICStreamPeerRead

export class ReadSide {
  readonly readable: ReadableStream<Uint8Array>
  closed = false
  readonly #host: SideHost<ReadEnd>
  readonly #arrived = promise()
  #controller!: ReadableStreamDefaultController<Uint8Array>
  #inner: Receiving | null = null
  #reader: ReadableStreamDefaultReader<Uint8Array> | null = null
  /** The read under way; bytes come before the end. */
  #reading: Promise<void> | null = null
  /** Cancelled before the stream was opened. */
  #stopCode: number | null = null

  constructor(host: SideHost<ReadEnd>) {
    this.#host = host
    const source = {
      start: (controller: ReadableStreamDefaultController<Uint8Array>): void => { this.#controller = controller },
      pull: (): Promise<void> => {
        this.#reading = this.#pull()
        return this.#reading
      },
      cancel: (reason: unknown): void => this.cancel(reason),
    }
    this.readable = new ReadableStream<Uint8Array>(source, { highWaterMark: 1 })
  }

  /** For streams that only go out. */
  endAtOnce(): void {
    this.closed = true
    this.#controller.close()
    this.#arrived.resolveP()
  }

  attach(inner: Receiving): void {
    if (this.#stopCode !== null) return inner.stop(this.#stopCode)
    if (this.closed) return undefined
    this.#inner = inner
    this.#reader = inner.readable.getReader()
    this.#reader.closed.then(() => this.#finish(), (error: unknown) => this.#fail(error))
    return this.#arrived.resolveP()
  }

  /** Tells the peer to stop; what was not read is gone. */
  cancel(reason: unknown, code: number = this.#host.toCode(reason)): void {
    if (this.closed) return
    if (this.#inner === null) this.#stopCode = code
    else this.#inner.stop(code)
    this.#end(reason, new ErrorQUICStreamLocalRead('reading was cancelled here', { data: { code }, cause: reason }))
  }

  /** The stream was never opened. */
  fail(error: unknown): void {
    this.#fail(error)
  }

  async #pull(): Promise<void> {
    await this.#arrived.p
    if (this.#reader === null || this.closed) return
    try {
      const { done, value } = await this.#reader.read()
      if (!done && !this.closed) this.#controller.enqueue(Buffer.from(value.buffer, value.byteOffset, value.byteLength))
    } catch {
      // `closed` of the reader says the same.
    }
  }

  async #finish(): Promise<void> {
    await this.#reading
    if (this.closed) return
    this.closed = true
    this.#controller.close()
    this.#host.onClosed(undefined)
  }

  #fail(error: unknown): void {
    if (this.closed) return
    if (isQuicbraidError(error) && error.code === 'QB_STREAM_RESET') {
      const code = Number(error.errorCode ?? 0n)
      const reason = this.#host.toReason(code)
      return this.#end(reason, new ErrorQUICStreamPeerRead(`the peer reset the stream with code ${code}`, { data: { code }, cause: reason }))
    }
    return void this.#failWithConnection()
  }

  async #failWithConnection(): Promise<void> {
    const end = await this.#host.connectionEnd
    if (!this.closed) this.#end(end, new ErrorQUICStreamLocalRead('the connection ended', { data: { code: this.#host.toCode(end) }, cause: end }))
  }

  #end(reason: unknown, error: ReadEnd): void {
    this.closed = true
    this.#controller.error(reason)
    this.#arrived.resolveP()
    this.#host.onClosed(error)
  }
}
