/**
 * One connection by js-quic's rules: it runs until it is stopped or ended, every end is an error event, streams come as events.
 * Made by the client or the server around a connection of ours whose handshake is complete.
 */
import type { BidirectionalStream, Connection, ReceiveStream, SendStream } from '../index.ts'
import { closeOptions, endError, stopError } from './ends.ts'
import { ErrorQUICConnectionNotRunning, ErrorQUICConnectionStopping } from './errors.ts'
import type { ConnectionEnd, ErrorQUICConnection } from './errors.ts'
import { QUICEventTarget, emit } from './event-target.ts'
import { EventQUICConnectionClose, EventQUICConnectionError, EventQUICConnectionStop, EventQUICConnectionStopped, EventQUICConnectionStream } from './events.ts'
import { QUICStream } from './stream.ts'
import type { CodeToReason, ConnectionMetadata, FacadeLogger, QUICConfig, ReasonToCode, StopOptions } from './types.ts'
import { collectPEMs, pemToDER, promise } from './utils.ts'

/** How long bytes of streams that were closed in order may take to be acknowledged when a connection stops in order. */
const DRAIN_MS = 10_000

export interface ConnectionOriginOptions {
  inner: Connection
  config: QUICConfig
  reasonToCode: ReasonToCode
  codeToReason: CodeToReason
  logger: FacadeLogger | undefined
}

export class QUICConnection extends QUICEventTarget {
  readonly type: 'client' | 'server'
  /** The connection of this package: paths, statistics, datagrams, `explain()`. */
  readonly inner: Connection
  readonly closedP: Promise<void>
  readonly #origin: ConnectionOriginOptions
  readonly #streams = new Set<QUICStream>()
  readonly #closed = promise()
  readonly #end = promise<ErrorQUICConnection>()
  /** By direction: streams opened here. */
  readonly #opened: Record<'bidi' | 'uni', number> = { bidi: 0, uni: 0 }
  #error: ErrorQUICConnection | null = null
  /** What this side asked for, if it did. */
  #asked: ErrorQUICConnection | null = null
  #stopping: Promise<void> | null = null

  constructor(origin: ConnectionOriginOptions) {
    super()
    this.#origin = origin
    this.inner = origin.inner
    this.type = origin.inner.role
    this.closedP = this.#closed.p
    // Listeners of whoever gets us come first.
    setImmediate(() => {
      void this.inner.closed.then((info) => this.#onEnd(this.#asked !== null && info.by === 'local' ? this.#asked : endError(info)))
      void this.#take(this.inner.incomingBidirectional(), 'bidi')
      void this.#take(this.inner.incomingUnidirectional(), 'uni')
    })
  }

  /** Neither stopping nor ended. */
  get running(): boolean {
    return this.#stopping === null && this.#error === null
  }

  get closed(): boolean {
    return this.#error !== null
  }

  get remoteHost(): string {
    return splitAddress(this.inner.remote).host
  }

  get remotePort(): number {
    return splitAddress(this.inner.remote).port
  }

  get localHost(): string {
    return splitAddress(this.inner.local).host
  }

  get localPort(): number {
    return splitAddress(this.inner.local).port
  }

  getLocalCACertsChain(): Uint8Array[] {
    return collectPEMs(this.#origin.config.ca).map(pemToDER)
  }

  getLocalCertsChain(): Uint8Array[] {
    return collectPEMs(this.#origin.config.cert).map(pemToDER)
  }

  getRemoteCertsChain(): Uint8Array[] {
    return [...(this.inner.peer?.chain ?? [])]
  }

  /** Undefined while it runs, and after a timeout. */
  getConnectionError(): ConnectionEnd | undefined {
    const data = this.#error?.data
    return data !== undefined && 'errorCode' in data ? (data as ConnectionEnd) : undefined
  }

  meta(): ConnectionMetadata {
    const { localHost, localPort, remoteHost, remotePort } = this
    return { localHost, localPort, remoteHost, remotePort, localCertsChain: this.getLocalCertsChain(), localCACertsChain: this.getLocalCACertsChain(), remoteCertsChain: this.getRemoteCertsChain() }
  }

  /** At once; the first write waits until the peer allows the stream. @throws ErrorQUICConnectionNotRunning */
  newStream(type: 'bidi' | 'uni' = 'bidi'): QUICStream {
    if (!this.running) throw new ErrorQUICConnectionNotRunning('the connection is stopping or has ended; make another one')
    const count = this.#opened[type]
    this.#opened[type] += 1
    // Ids are consecutive (RFC 9000 §2.1), and nobody else opens streams here.
    const streamId = 4 * count + (type === 'uni' ? 2 : 0) + (this.type === 'server' ? 1 : 0)
    return this.#add(type, 'local', streamId, type === 'bidi' ? this.inner.openBidirectional() : this.inner.openUnidirectional())
  }

  /** Destroys all streams; the connection goes on. */
  destroyStreams(reason?: unknown): void {
    for (const stream of this.#streams) stream.cancel(reason)
  }

  /** Ends the connection; without `force` it waits until all streams are closed. A second call waits for the first. */
  stop(options: StopOptions = {}): Promise<void> {
    this.#stopping ??= this.#stop(options)
    return this.#stopping
  }

  async #stop(options: StopOptions): Promise<void> {
    const { force = true } = options
    this.#origin.logger?.info?.('Stop QUICConnection')
    emit(this, new EventQUICConnectionStop())
    // What was queued in this turn goes first.
    await Promise.resolve()
    if (this.#error === null) {
      const asked = stopError(options)
      if (force) for (const stream of this.#streams) QUICStream.connectionStops(stream, asked)
      else await Promise.race([Promise.all([...this.#streams].map(({ closedP }) => closedP)), this.#end.p])
      this.#asked = asked
      await this.inner.close({ ...closeOptions(options), drainMs: force ? 0 : DRAIN_MS })
    }
    await this.closedP
    emit(this, new EventQUICConnectionStopped())
    this.#origin.logger?.info?.('Stopped QUICConnection')
  }

  #onEnd(error: ErrorQUICConnection): void {
    this.#error = error
    this.#origin.logger?.info?.(`${error.name}: ${error.description} - ${error.message}`)
    emit(this, new EventQUICConnectionClose({ detail: error }))
    emit(this, new EventQUICConnectionError({ detail: error }))
    this.#end.resolveP(error)
    void this.#endStreams(error)
    void this.stop()
  }

  async #endStreams(reason: ErrorQUICConnection): Promise<void> {
    const streams = [...this.#streams]
    for (const stream of streams) QUICStream.connectionEnded(stream, reason)
    await Promise.all(streams.map(({ closedP }) => closedP))
    this.#closed.resolveP()
  }

  async #take(incoming: AsyncIterable<BidirectionalStream | ReceiveStream>, type: 'bidi' | 'uni'): Promise<void> {
    for await (const inner of incoming) {
      if (this.#stopping !== null) this.#reject(inner)
      else emit(this, new EventQUICConnectionStream({ detail: this.#add(type, 'peer', Number(inner.id), Promise.resolve(inner)) }))
    }
  }

  /** Streams that come while we stop. */
  #reject(inner: BidirectionalStream | ReceiveStream): void {
    const stream = this.#add('reset' in inner ? 'bidi' : 'uni', 'peer', Number(inner.id), Promise.resolve(inner))
    QUICStream.connectionStops(stream, new ErrorQUICConnectionStopping('the connection is stopping'))
  }

  #add(type: 'bidi' | 'uni', initiated: 'local' | 'peer', streamId: number, inner: Promise<BidirectionalStream | ReceiveStream | SendStream>): QUICStream {
    const { reasonToCode, codeToReason } = this.#origin
    const forget = (stream: QUICStream): boolean => this.#streams.delete(stream)
    const stream = new QUICStream({ connection: this, type, initiated, streamId, inner, connectionEnd: this.#end.p, reasonToCode, codeToReason, forget })
    this.#streams.add(stream)
    return stream
  }
}

/** `ip:port` or `[ip]:port`. */
export function splitAddress(address: string): { host: string; port: number } {
  const at = address.lastIndexOf(':')
  return { host: address.slice(0, at).replace(/^\[|\]$/g, ''), port: Number(address.slice(at + 1)) }
}
