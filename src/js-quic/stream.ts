/** One stream by js-quic's rules: both web streams and the id are there at once, each side closes by itself, and the object destroys itself when both are closed. Made by its connection. */
import type { ReadableStream, WritableStream } from 'node:stream/web'
import type { QUICConnection } from './connection.ts'
import { ErrorQUICStreamInternal } from './errors.ts'
import { QUICEventTarget, adopt, emit } from './event-target.ts'
import { EventQUICStreamCloseRead, EventQUICStreamCloseWrite, EventQUICStreamDestroy, EventQUICStreamDestroyed, EventQUICStreamError } from './events.ts'
import { ReadSide } from './read-side.ts'
import type { ReadEnd, Receiving } from './read-side.ts'
import type { CodeToReason, ConnectionMetadata, ReasonToCode } from './types.ts'
import { promise } from './utils.ts'
import { WriteSide } from './write-side.ts'
import type { Sending, WriteEnd } from './write-side.ts'

export interface StreamOrigin {
  connection: QUICConnection
  type: 'bidi' | 'uni'
  initiated: 'local' | 'peer'
  streamId: number
  /** The real one, perhaps later. */
  inner: Promise<Partial<Receiving & Sending>>
  connectionEnd: Promise<Error>
  reasonToCode: ReasonToCode
  codeToReason: CodeToReason
  forget(stream: QUICStream): void
}

export class QUICStream extends QUICEventTarget {
  readonly type: 'bidi' | 'uni'
  readonly initiated: 'local' | 'peer'
  readonly streamId: number
  /** Both sides are closed, or the connection has ended. */
  readonly closedP: Promise<void>
  readonly #origin: StreamOrigin
  readonly #reading: ReadSide
  readonly #writing: WriteSide
  readonly #closed = promise()
  #destroying = false
  #over = false

  constructor(origin: StreamOrigin) {
    super()
    this.#origin = origin
    this.type = origin.type
    this.initiated = origin.initiated
    this.streamId = origin.streamId
    this.closedP = this.#closed.p
    adopt(this, origin.connection)
    this.#reading = new ReadSide({ ...this.#converters('read'), onClosed: (error) => this.#onReadClosed(error) })
    this.#writing = new WriteSide({ ...this.#converters('write'), onClosed: (error) => this.#onWriteClosed(error) })
    if (this.type === 'uni' && this.initiated === 'local') this.#reading.endAtOnce()
    if (this.type === 'uni' && this.initiated === 'peer') void this.#writing.endAtOnce()
    origin.inner.then((inner) => this.#attach(inner), (error: unknown) => this.#fail(error))
  }

  get readable(): ReadableStream<Uint8Array> {
    return this.#reading.readable
  }

  get writable(): WritableStream<Uint8Array> {
    return this.#writing.writable
  }

  get readClosed(): boolean {
    return this.#reading.closed
  }

  get writeClosed(): boolean {
    return this.#writing.closed
  }

  get closed(): boolean {
    return this.#over
  }

  get meta(): ConnectionMetadata {
    return this.#origin.connection.meta()
  }

  /** Cancels reading and aborts writing with `reason`. @throws ErrorQUICStreamInternal */
  cancel(reason?: unknown): void {
    if (this.#reading.closed && this.#writing.closed) return
    const [read, write] = [this.#code('read', reason), this.#code('write', reason)]
    this.#reading.cancel(reason, read)
    this.#writing.abort(reason, write)
  }

  /** Resolves when both sides are closed; without `force` it only waits. @throws ErrorQUICStreamInternal */
  async destroy({ force = true, reason }: { force?: boolean; reason?: unknown } = {}): Promise<void> {
    if (this.#over) return
    this.#destroy()
    if (force) this.cancel(reason)
    await this.closedP
  }

  /** Its connection stops, with this error; no converter is in the way. @internal */
  static connectionStops(stream: QUICStream, error: Error): void {
    stream.#destroy()
    stream.#reading.cancel(error)
    stream.#writing.abort(error)
  }

  /** The connection has ended, with this error. What has come whole can still be read. @internal */
  static connectionEnded(stream: QUICStream, error: Error): void {
    stream.#writing.fail(error)
    // What cannot be read any more hears of it in this turn.
    setImmediate(() => stream.#settle())
  }

  #attach(inner: Partial<Receiving & Sending>): void {
    if (inner.stop !== undefined) this.#reading.attach(inner as Receiving)
    if (inner.write !== undefined) this.#writing.attach(inner as Sending)
  }

  #fail(error: unknown): void {
    this.#reading.fail(error)
    this.#writing.fail(error)
  }

  #converters(type: 'read' | 'write'): { toCode(reason: unknown): number; toReason(code: number): unknown; connectionEnd: Promise<Error> } {
    const { codeToReason, connectionEnd } = this.#origin
    return {
      toCode: (reason) => {
        try {
          return this.#code(type, reason)
        } catch {
          return 0
        }
      },
      toReason: (code) => codeToReason(type, code),
      connectionEnd,
    }
  }

  /** @throws ErrorQUICStreamInternal, what the converter throws */
  #code(type: 'read' | 'write', reason: unknown): number {
    const code = this.#origin.reasonToCode(type, reason)
    if (!Number.isSafeInteger(code) || code < 0) throw new ErrorQUICStreamInternal(`reasonToCode answered ${String(code)}, which is no code`, { cause: reason })
    return code
  }

  #onReadClosed(error: ReadEnd | undefined): void {
    emit(this, new EventQUICStreamCloseRead({ detail: error }))
    if (error !== undefined) emit(this, new EventQUICStreamError({ detail: error }))
    if (this.#writing.closed) this.#settle()
  }

  #onWriteClosed(error: WriteEnd | undefined): void {
    emit(this, new EventQUICStreamCloseWrite({ detail: error }))
    if (error !== undefined) emit(this, new EventQUICStreamError({ detail: error }))
    if (this.#reading.closed) this.#settle()
  }

  /** Told once. */
  #destroy(): void {
    if (this.#destroying) return
    this.#destroying = true
    emit(this, new EventQUICStreamDestroy())
  }

  #settle(): void {
    if (this.#over) return
    this.#over = true
    this.#origin.forget(this)
    this.#destroy()
    this.#closed.resolveP()
    emit(this, new EventQUICStreamDestroyed())
  }
}
