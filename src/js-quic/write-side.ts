/** The writable of a façade's stream: there at once; its first write waits until the stream has been opened. Errors as in `read-side.ts`. */
import { WritableStream } from 'node:stream/web'
import type { WritableStreamDefaultController } from 'node:stream/web'
import { isQuicbraidError } from '../index.ts'
import { ErrorQUICStreamLocalWrite, ErrorQUICStreamPeerWrite } from './errors.ts'
import type { SideHost } from './read-side.ts'
import { promise } from './utils.ts'

/** What this side needs of the real stream. */
export interface Sending {
  write(bytes: Uint8Array): number
  ready(): Promise<void>
  end(): void
  reset(code: number): void
  readonly finished: Promise<void>
}

export type WriteEnd = ErrorQUICStreamLocalWrite | ErrorQUICStreamPeerWrite

/** Node's types of version 20 do not know the signal. */
type Controller = WritableStreamDefaultController & { signal: AbortSignal }

export class WriteSide {
  readonly writable: WritableStream<Uint8Array>
  closed = false
  readonly #host: SideHost<WriteEnd>
  readonly #arrived = promise()
  #controller!: Controller
  #inner: Sending | null = null
  /** What writing rejects with once it has failed. */
  #reason: unknown
  /** Aborted before the stream was opened. */
  #resetCode: number | null = null

  constructor(host: SideHost<WriteEnd>) {
    this.#host = host
    const sink = {
      start: (controller: WritableStreamDefaultController): void => {
        this.#controller = controller as Controller
        // Before the sink's `abort`, which waits for a write under way; the reset ends that write.
        this.#controller.signal.addEventListener('abort', () => this.#abort(this.#controller.signal.reason), { once: true })
      },
      write: (chunk: Uint8Array): Promise<void> => this.#write(chunk),
      close: (): Promise<void> => this.#close(),
    }
    this.writable = new WritableStream<Uint8Array>(sink, { highWaterMark: 1 })
  }

  /** For streams that only come in. */
  async endAtOnce(): Promise<void> {
    this.closed = true
    this.#arrived.resolveP()
    await this.writable.close()
  }

  attach(inner: Sending): void {
    if (this.#resetCode !== null) return inner.reset(this.#resetCode)
    if (this.closed) return undefined
    this.#inner = inner
    inner.finished.catch((error: unknown) => this.#fail(error))
    return this.#arrived.resolveP()
  }

  /** Resets the stream; what was not sent is gone. */
  abort(reason: unknown, code?: number): void {
    if (this.closed) return
    this.#abort(reason, code)
    this.#controller.error(reason)
  }

  /** The connection has ended, or the stream was never opened. */
  fail(error: unknown): void {
    void this.#fail(error)
  }

  #abort(reason: unknown, code: number = this.#host.toCode(reason)): void {
    if (this.closed) return
    if (this.#inner === null) this.#resetCode = code
    else this.#inner.reset(code)
    this.#end(reason, new ErrorQUICStreamLocalWrite('writing was aborted here', { data: { code }, cause: reason }))
  }

  async #write(chunk: Uint8Array): Promise<void> {
    if (chunk.byteLength === 0) return
    const inner = await this.#opened()
    try {
      for (let at = inner.write(chunk); at < chunk.byteLength; at += inner.write(chunk.subarray(at))) await inner.ready()
    } catch (error) {
      await this.#fail(error)
      throw this.#reason
    }
  }

  async #close(): Promise<void> {
    if (this.closed) return
    const inner = await this.#opened()
    inner.end()
    this.closed = true
    this.#host.onClosed(undefined)
  }

  /** @throws the reason, if it has failed meanwhile */
  async #opened(): Promise<Sending> {
    if (this.#inner === null) await this.#arrived.p
    if (this.closed || this.#inner === null) throw this.#reason
    return this.#inner
  }

  /** When it resolves, `#reason` says why. */
  async #fail(error: unknown): Promise<void> {
    if (this.closed) return
    if (isQuicbraidError(error) && (error.code === 'QB_STREAM_STOPPED')) {
      const code = Number(error.errorCode ?? 0n)
      const reason = this.#host.toReason(code)
      this.#end(reason, new ErrorQUICStreamPeerWrite(`the peer stopped the stream with code ${code}`, { data: { code }, cause: reason }))
      this.#controller.error(reason)
      return
    }
    const reason = isQuicbraidError(error) ? await this.#host.connectionEnd : error
    if (this.closed) return
    this.#end(reason, new ErrorQUICStreamLocalWrite('the stream cannot be written any more', { data: { code: this.#host.toCode(reason) }, cause: reason }))
    this.#controller.error(reason)
  }

  #end(reason: unknown, error: WriteEnd): void {
    this.closed = true
    this.#reason = reason
    this.#arrived.resolveP()
    this.#host.onClosed(error)
  }
}
