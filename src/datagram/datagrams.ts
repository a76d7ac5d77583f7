/**
 * The messages of one connection (RFC 9221): sent once, delivered at once or never. Ids are counted here, in the order in which messages
 * cross; the engine gives the oldest up when more than its queue holds wait. Bytes cross in the arena of the tick's flush, no call for each.
 */
import { WritableStream } from 'node:stream/web'
import type { ReadableStream, WritableStreamDefaultController } from 'node:stream/web'
import { DataFlag } from '../binding/index.ts'
import { checkCall, defer, invalidOption } from '../config/index.ts'
import type { Bytes, Observable, Waiting } from '../config/index.ts'
import { PathError, StreamError } from '../errors/index.ts'
import type { ConnectionError } from '../errors/index.ts'
import { Inlet } from './inlet.ts'
import { DatagramFeeds } from './observe.ts'
import type { DatagramStatus } from './observe.ts'
import type { DatagramOwner, DatagramSink } from './sink.ts'

/** Messages that `writable` has under way, and bytes of them: `native/binding/src/engine/datagrams.rs` counts the same. */
const WINDOW = 32
const WINDOW_BYTES = 49_152
const STATUS = ['acknowledged', 'lost', 'abandoned'] as const

export interface DatagramOptions {
  /** Only on this path. @default scheduler's choice */
  path?: number
  /** Given up when it has not left for so long. @default none */
  expiresMs?: number
}

export class Datagrams {
  readonly #owner: DatagramOwner
  readonly #feeds: DatagramFeeds
  readonly #inlet = new Inlet()
  /** Made by the first message of a 0-RTT packet. */
  #early: WeakSet<Bytes> | null = null
  #size = 0
  #last = 0
  #left = 0
  #writable: WritableStream<Bytes> | null = null
  #controller: WritableStreamDefaultController | null = null
  #wake: (() => void) | null = null

  /** @internal */
  constructor(owner: DatagramOwner) {
    this.#owner = owner
    this.#feeds = new DatagramFeeds((bit, on) => owner.trace(bit, on))
  }

  /** What every path in use can carry now. 0: the peer takes none, or nothing can be sent yet. Before the handshake is complete that is so without early data. */
  get maxDatagramSizeBytes(): number {
    return this.#size
  }

  /** [H1] tick. */
  get maxDatagramSize$(): Observable<number> {
    return this.#feeds.size.values$
  }

  /** Fate of each sent one; told only while somebody subscribes. [H0] tick */
  get status$(): Observable<DatagramStatus> {
    return this.#feeds.status.values$
  }

  /** Copies; returns an id, 1, 2, ... Of more than 64 messages or 64 KiB that wait the oldest are given up. @throws QB_DATAGRAM_TOO_LARGE QB_DATAGRAM_REFUSED QB_PATH_UNKNOWN or the connection's error */
  send(data: Bytes, options: DatagramOptions = {}): number {
    const { path, expiresMs } = this.#options(options)
    this.#check(data)
    return this.#push(data, path, expiresMs)
  }

  /** As `send` for each; if one of them cannot be sent, none is. */
  sendBatch(data: readonly Bytes[], options: DatagramOptions = {}): number[] {
    if (!Array.isArray(data)) throw invalidOption('data', data, 'a list of Uint8Arrays')
    const { path, expiresMs } = this.#options(options)
    for (const one of data) this.#check(one)
    return data.map((one) => this.#push(one, path, expiresMs))
  }

  /** Each chunk is one message. Waits where `send` would give messages up. Errors with the connection's error. */
  get writable(): WritableStream<Bytes> {
    this.#writable ??= new WritableStream<Bytes>({
      start: (controller) => {
        this.#controller = controller
        const error = this.#owner.error()
        if (error !== null) controller.error(error)
      },
      write: (chunk) => {
        this.send(chunk)
        return this.#hasRoom() ? undefined : this.#room()
      },
    })
    return this.#writable
  }

  /** Each chunk is one message. Ends with the connection. @throws QB_STREAM_LOCKED after `batches()` */
  get readable(): ReadableStream<Bytes> {
    return this.#inlet.readable
  }

  /** Received ones, batch by batch; ends with the connection. Loops share the supply. Of more than 1,024 messages or 1 MiB that nobody took the oldest go. @throws QB_STREAM_LOCKED after `readable` */
  batches(options: Waiting = {}): AsyncIterableIterator<readonly Bytes[]> {
    checkCall(options, ['signal'])
    this.#inlet.lock('batches()')
    return this.#inlet.batches(options)
  }

  /** A received message came in 0-RTT: it may be a replay. The message itself is asked for, not a copy. */
  isEarly(message: Bytes): boolean {
    return this.#early?.has(message) ?? false
  }

  /** The engine's side. @internal */
  static sinkOf(datagrams: Datagrams): DatagramSink {
    return {
      onDatagram: (flags, staging, start, end) => {
        const message = new Uint8Array(end - start)
        staging.copy(message, 0, start, end)
        if ((flags & DataFlag.EARLY) !== 0) (datagrams.#early ??= new WeakSet()).add(message)
        datagrams.#inlet.push(message)
      },
      onFate: (id, fate, path) => datagrams.#feeds.status.emit({ id, status: STATUS[fate] ?? 'abandoned', path }),
      onRoom: (left, size) => datagrams.#onRoom(left, size),
      end: (error) => datagrams.#end(error),
    }
  }

  #options(options: DatagramOptions): { path: number | null; expiresMs: number } {
    checkCall(options, ['path', 'expiresMs'])
    const { path = null, expiresMs = 0 } = options
    if (!(typeof expiresMs === 'number' && expiresMs >= 0 && expiresMs <= 2_147_483_647)) throw invalidOption('expiresMs', expiresMs, 'a number of milliseconds from 0')
    if (path !== null && !(Number.isInteger(path) && this.#owner.hasPath(path))) throw new PathError('QB_PATH_UNKNOWN', `there is no path ${String(path)}; connection.paths lists those there are`, typeof path === 'number' ? { path } : {})
    return { path, expiresMs: Math.ceil(expiresMs) }
  }

  #check(data: unknown): asserts data is Uint8Array {
    if (!(data instanceof Uint8Array)) throw invalidOption('data', data, 'a Uint8Array or Buffer; encode text with TextEncoder')
    const error = this.#owner.error()
    if (error !== null) throw error
    if (this.#size === 0) throw new StreamError('QB_DATAGRAM_REFUSED', 'the peer takes no datagrams (or has not said so yet: wait for `opened`); use a stream')
    if (data.length > this.#size) throw new StreamError('QB_DATAGRAM_TOO_LARGE', `the datagram has ${data.length} bytes, at most ${this.#size} are possible now; split it, or use a stream`)
  }

  #push(data: Uint8Array, path: number | null, expiresMs: number): number {
    this.#last += 1
    this.#owner.engine.outbox.datagram(this.#owner.key, this.#last, data, path, expiresMs)
    return this.#last
  }

  #hasRoom(): boolean {
    const window = Math.max(1, Math.min(WINDOW, Math.floor(WINDOW_BYTES / Math.max(1, this.#size))))
    return this.#last - this.#left < window
  }

  #room(): Promise<void> {
    const { promise, resolve } = defer<void>()
    this.#wake = resolve
    return promise
  }

  #onRoom(left: number, size: number): void {
    this.#left = left
    if (size !== this.#size) {
      this.#size = size
      this.#feeds.size.emit(size)
    }
    if (this.#wake === null || !this.#hasRoom()) return
    this.#wake()
    this.#wake = null
  }

  #end(error: ConnectionError): void {
    this.#size = 0
    this.#controller?.error(error)
    this.#wake?.()
    this.#wake = null
    this.#inlet.end()
    this.#feeds.end()
  }
}

/** Of one connection, with the side that its records go to. */
export function createDatagrams(owner: DatagramOwner): { datagrams: Datagrams; sink: DatagramSink } {
  const datagrams = new Datagrams(owner)
  return { datagrams, sink: Datagrams.sinkOf(datagrams) }
}
