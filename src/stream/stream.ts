/**
 * The three kinds of streams as people hold them. Each is its two parts (`SendHalf`, `ReceiveHalf`) and the choice of one
 * style per part; all work is there and in the faces. Made by the connection's stream table.
 */
import type { Duplex, DuplexOptions, Readable, Writable } from 'node:stream'
import type { ReadableStream, WritableStream } from 'node:stream/web'
import { Command } from '../binding/index.ts'
import type { Splice, SpliceSink } from '../binding/index.ts'
import { checkCall, invalidOption, waitFor } from '../config/index.ts'
import type { Bytes, Settle, Waiting } from '../config/index.ts'
import type { Connection } from '../connection/index.ts'
import type { ConnectionError, StreamError } from '../errors/index.ts'
import { BorrowIterator } from './borrow.ts'
import type { Loan } from './borrow.ts'
import { codeOf, endedError, givenCode } from './codes.ts'
import { BatchIterator, collectBytes } from './collect.ts'
import { tie } from './dropped.ts'
import { nodeDuplex, nodeReadable, nodeWritable } from './node-stream.ts'
import type { ReceiveHalf } from './receive-half.ts'
import { checkChunk } from './send-half.ts'
import type { SendHalf } from './send-half.ts'
import { pinWord, priorityWord } from './priority.ts'
import type { StreamOptions } from './priority.ts'
import type { StreamState } from './state.ts'
import { webReadable } from './web-readable.ts'
import { webWritable } from './web-writable.ts'

const MAX_BYTES = 67_108_864

/** What all streams have. */
export abstract class StreamBase implements AsyncDisposable {
  readonly id: bigint
  readonly connection: Connection
  readonly direction: 'bidi' | 'uni'
  readonly initiated: 'local' | 'peer'
  readonly #core: StreamState

  /** @internal */
  constructor(core: StreamState) {
    this.#core = core
    this.id = BigInt(core.stream)
    this.connection = core.host.connection
    this.direction = (core.stream & 2) === 0 ? 'bidi' : 'uni'
    this.initiated = core.initiated
    core.host.watchHandle(this, core.stream)
  }

  get state(): 'idle' | 'open' | 'half-local' | 'half-remote' | 'error' | 'reset' | 'closed' {
    return this.#core.summary
  }

  /** Its first bytes came or went in 0-RTT: may be a replay. */
  get early(): boolean {
    return this.#core.early && this.connection.early !== 'rejected'
  }

  /** Both parts ended; never rejects. */
  get closed(): Promise<{ error: StreamError | ConnectionError | null }> {
    const { closed } = this.#core
    this.#core.waitBy(this)
    return closed
  }

  /** Drops the handle: what has not ended is reset and stopped, with the code of `error` or `cancelCode`. */
  destroy(error?: Error): void {
    const { sending, receiving, host } = this.#core
    if (sending?.state === 'open') sending.reset(codeOf(host, error, 'write'))
    if (receiving?.state === 'open') receiving.stop(codeOf(host, error, 'read'))
  }

  /** As `destroy()`: what was not ended must not look complete. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.destroy()
    await this.closed
  }
}

/** The writing side of both kinds that have one. */
export class SendStream extends StreamBase {
  readonly #half: SendHalf
  readonly #state: StreamState
  #writable: WritableStream<Bytes> | null = null

  /** @internal */
  constructor(core: StreamState, half: SendHalf) {
    super(core)
    this.#state = core
    this.#half = half
  }

  get writable(): WritableStream<Bytes> {
    if (this.#writable === null) {
      this.#half.lock('writable')
      this.#writable = tie(webWritable(this.#half), this)
    }
    return this.#writable
  }

  /** Copies synchronously; returns bytes accepted (0 ... all). Fewer: wait for `ready()`. @throws QB_STREAM_RESET QB_STREAM_STOPPED QB_STREAM_ENDED or the connection's error */
  write(chunk: Bytes | readonly Bytes[]): number {
    this.#half.lock('write()')
    if (!Array.isArray(chunk)) {
      checkChunk(chunk)
      return this.#half.write(chunk, 0)
    }
    chunk.forEach(checkChunk)
    let accepted = 0
    for (const part of chunk as readonly Bytes[]) {
      const taken = this.#half.write(part, 0)
      accepted += taken
      if (taken < part.length) break
    }
    return accepted
  }

  /** When `write` accepts something. @throws as `write` */
  async ready(options: Waiting = {}): Promise<void> {
    checkCall(options, ['signal'])
    this.#half.lock('write()')
    return waitFor(options.signal, (deferred) => this.#half.whenRoom(() => this.#settleReady(deferred)))
  }

  /** FIN after the accepted bytes. Idempotent. */
  end(): void {
    this.#half.lock('write()')
    this.#half.end()
  }

  /** The peer acknowledged everything including FIN. @throws QB_STREAM_RESET QB_STREAM_STOPPED or the connection's error */
  get finished(): Promise<void> {
    const { finished } = this.#half
    if (!this.#half.settled) this.#state.waitBy(this)
    return finished
  }

  /** RESET_STREAM; unsent bytes are dropped. After the end: nothing. */
  reset(code?: number | bigint): void {
    this.#half.reset(givenCode(this.#half.host, code))
  }

  setPriority(options: Pick<StreamOptions, 'urgency' | 'incremental'>): void {
    const { host } = this.#half
    const word = priorityWord(options, host.features)
    if (!this.#half.settled) host.outbox.send(Command.PRIORITY, host.key, Number(this.id), word)
  }

  /** Keeps all bytes on one path while it lives: while it does not answer, and once it has gone, they go over the others. null frees it. @throws QB_PATH_UNKNOWN */
  pin(path: number | null): void {
    const { host, settled } = this.#half
    const word = pinWord(path, host.features, this.connection.paths)
    if (!settled) host.outbox.send(Command.PIN, host.key, Number(this.id), word)
  }

  get bytesWritten(): number {
    return this.#half.written
  }

  get bytesAcknowledged(): number {
    return this.#half.bytesAcknowledged
  }

  /** As a node:stream; locks writing to it. */
  toWritable(options?: DuplexOptions): Writable {
    this.#half.lock('toWritable()')
    return tie(nodeWritable(this.#half, options), this)
  }

  #settleReady(deferred: Settle<void>): void {
    if (this.#half.state === 'open') deferred.resolve()
    else deferred.reject(this.#half.error ?? endedError(this.id))
  }
}

/** What reading means, for both kinds that have it. */
class Reading {
  readonly half: ReceiveHalf
  readonly #handle: object
  #readable: ReadableStream<Bytes> | null = null
  #batches: BatchIterator | null = null
  #collecting = false

  constructor(half: ReceiveHalf, handle: object) {
    this.half = half
    this.#handle = handle
  }

  get readable(): ReadableStream<Bytes> {
    if (this.#readable === null) {
      this.half.lock('readable')
      this.#readable = tie(webReadable(this.half), this.#handle)
    }
    return this.#readable
  }

  batches(): BatchIterator {
    this.half.lock('the async iterator')
    this.#batches ??= new BatchIterator(this.half, this.#handle)
    return this.#batches
  }

  borrow(options: Waiting): BorrowIterator {
    checkCall(options, ['signal'])
    this.half.lock('borrow()')
    return new BorrowIterator(this.half.loans, this.half, this.#handle, options.signal)
  }

  bytes(options: Waiting & { maxBytes?: number | undefined }): Promise<Bytes> {
    checkCall(options, ['maxBytes', 'signal'])
    const maxBytes = options.maxBytes ?? MAX_BYTES
    if (typeof maxBytes !== 'number' || !(maxBytes >= 0)) throw invalidOption('maxBytes', maxBytes, 'a number from 0')
    this.half.lock(this.#collecting ? 'another bytes()' : 'bytes()')
    this.#collecting = true
    return collectBytes(this.half, options, maxBytes, this.#handle)
  }

  stop(code: number | bigint | undefined): void {
    this.half.stop(givenCode(this.half.host, code))
  }
}

/** A stream that the peer sends. */
export class ReceiveStream extends StreamBase implements AsyncIterable<readonly Bytes[]> {
  readonly #reading: Reading

  /** @internal */
  constructor(core: StreamState, half: ReceiveHalf) {
    super(core)
    this.#reading = new Reading(half, this)
  }

  /** Byte stream (BYOB). `cancel(reason)` = `stop`. A peer's reset errors it with QB_STREAM_RESET. */
  get readable(): ReadableStream<Bytes> {
    return this.#reading.readable
  }

  [Symbol.asyncIterator](): AsyncIterableIterator<readonly Bytes[]> {
    return this.#reading.batches()
  }

  /** Fast path: engine memory lent until `release()`; at most one window (512 KiB) is lent at a time, then it waits for what comes back. Leaving the loop stops the stream. @throws as `readable` */
  borrow(options: Waiting = {}): AsyncIterableIterator<Loan> {
    return this.#reading.borrow(options)
  }

  /** All bytes up to FIN. @throws QB_STREAM_TOO_LONG (over maxBytes, default 64 MiB), as `readable` */
  async bytes(options: Waiting & { maxBytes?: number | undefined } = {}): Promise<Bytes> {
    return this.#reading.bytes(options)
  }

  /** STOP_SENDING. */
  stop(code?: number | bigint): void {
    this.#reading.stop(code)
  }

  get bytesReceived(): number {
    return this.#reading.half.received
  }

  /** As a node:stream; locks reading to it. */
  toReadable(options?: DuplexOptions): Readable {
    this.#reading.half.lock('toReadable()')
    return tie(nodeReadable(this.#reading.half, options), this)
  }
}

/** A stream that both ends write. */
export class BidirectionalStream extends SendStream implements AsyncIterable<readonly Bytes[]> {
  readonly #sending: SendHalf
  readonly #reading: Reading

  /** @internal */
  constructor(core: StreamState, sending: SendHalf, receiving: ReceiveHalf) {
    super(core, sending)
    this.#sending = sending
    this.#reading = new Reading(receiving, this)
  }

  /** The engine joins it to the TCP connection behind `descriptor`: neither is used here any more; null: it cannot. @internal */
  static splice(stream: BidirectionalStream, descriptor: number, sink: SpliceSink): Splice | null {
    return stream.#sending.host.splice(Number(stream.id), descriptor, sink)
  }

  /** For `sayUntilHeard`. @internal */
  static halves(stream: BidirectionalStream): { sending: SendHalf; receiving: ReceiveHalf } {
    return { sending: stream.#sending, receiving: stream.#reading.half }
  }

  /** As of `ReceiveStream`. */
  get readable(): ReadableStream<Bytes> {
    return this.#reading.readable
  }

  [Symbol.asyncIterator](): AsyncIterableIterator<readonly Bytes[]> {
    return this.#reading.batches()
  }

  /** As of `ReceiveStream`. */
  borrow(options: Waiting = {}): AsyncIterableIterator<Loan> {
    return this.#reading.borrow(options)
  }

  /** As of `ReceiveStream`. */
  async bytes(options: Waiting & { maxBytes?: number | undefined } = {}): Promise<Bytes> {
    return this.#reading.bytes(options)
  }

  /** STOP_SENDING. */
  stop(code?: number | bigint): void {
    this.#reading.stop(code)
  }

  get bytesReceived(): number {
    return this.#reading.half.received
  }

  /** As of `ReceiveStream`; the writing side stays as it is. */
  toReadable(options?: DuplexOptions): Readable {
    this.#reading.half.lock('toReadable()')
    return tie(nodeReadable(this.#reading.half, options), this)
  }

  /** One node:stream of both parts; half-open by default; `destroy(error)` resets and stops. */
  toDuplex(options?: DuplexOptions): Duplex {
    this.#sending.lock('toDuplex()')
    this.#reading.half.lock('toDuplex()')
    return tie(nodeDuplex(this.#sending, this.#reading.half, options), this)
  }
}

