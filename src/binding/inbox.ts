/**
 * Records from the engine: drained when it wakes us, within a budget a turn (streams-over-ring S3), and handed to the
 * sink of their connection. Payload bytes are lent to the sink for the length of the call; it copies what it keeps.
 * Nothing that a sink throws leaves the loop: it becomes an uncaught exception of its own, as from any event handler.
 */
import type { BlockedRecord, BurstRecord } from './burst-records.ts'
import type { NativeAcks, NativeEvent } from './messages.ts'
import { DRAIN_MORE, Record, RECORD_WORDS } from './native.ts'
import type { NativeEndpoint } from './native.ts'
import { Slabs } from './slabs.ts'
import type { SpliceSink } from './splices.ts'

const RECORDS = 256
const TURN_BYTES = 1_048_576
/** A record counts as much towards the turn's budget as these bytes: 1,024 records a turn. */
const RECORD_COST = 1024

/** Where the records of one connection go. Stream ids are numbers below 2^53. */
export interface ConnectionSink {
  /** `flags`: `DataFlag`. The bytes are `staging` from `start` to `end`, until the call returns. */
  onData(stream: number, flags: number, staging: Buffer, start: number, end: number): void
  onWritable(stream: number, left: number, unacknowledged: number): void
  onFinished(stream: number): void
  onStopped(stream: number, code: bigint): void
  onReset(stream: number, flags: number, code: bigint): void
  onStreams(direction: number, limit: number): void
  onConnectionWritable(left: number): void
  /** The bytes are `staging` from `start` to `end`, until the call returns. `flags`: `DataFlag.EARLY` or 0. */
  onDatagram(flags: number, staging: Buffer, start: number, end: number): void
  /** `fate`: 0 acknowledged, 1 lost, 2 never sent. */
  onDatagramFate(number: number, fate: number, path: number | null): void
  onDatagramRoom(left: number, size: number): void
  onEvent(event: NativeEvent): void
  onTrace(record: BurstRecord | BlockedRecord): void
  onAcks(acks: NativeAcks): void
}

/** Where the rest goes: events of the endpoint, and of connections that have no sink yet. */
export interface EndpointSink {
  onEvent(connection: number, event: NativeEvent): void
  onKeylog(line: string): void
  /** A datagram that is no QUIC; the bytes are `staging` from `start` to `end`, until the call returns. */
  onRaw(remote: string, local: string, atMs: number, staging: Buffer, start: number, end: number): void
  /** `piece`: name of a log, a line feed, whole records. */
  onQlog(connection: number, piece: string, end: 'open' | 'last'): void
}

export class Inbox {
  readonly sinks: Map<number, ConnectionSink> = new Map()
  /** By name of the pair. */
  readonly splices: Map<number, SpliceSink> = new Map()
  readonly #native: NativeEndpoint
  readonly #endpoint: EndpointSink
  readonly #afterBatch: () => void
  readonly #soon: (run: () => void) => void
  readonly #words = new Uint32Array(RECORDS * RECORD_WORDS)
  readonly #floats = new Float64Array(this.#words.buffer)
  /** What drains fill; readers borrow of it. */
  readonly slabs: Slabs = new Slabs()
  #staging: Buffer = this.slabs.region()
  #running = false
  /** Calls across N-API so far. */
  crossings = 0

  /** `afterBatch` runs after each drained batch, for credit; `soon` runs something in the next turn of the event loop. */
  constructor(native: NativeEndpoint, endpoint: EndpointSink, afterBatch: () => void, soon: (run: () => void) => void = (run) => void setImmediate(run)) {
    this.#soon = soon
    this.#native = native
    this.#endpoint = endpoint
    this.#afterBatch = afterBatch
  }

  /** The engine's wake. */
  wake(): void {
    if (!this.#running) this.#turn()
  }

  #turn(): void {
    this.#running = true
    let spent = 0
    for (;;) {
      this.crossings += 1
      this.#staging = this.slabs.region()
      const answer = this.#native.drain(this.#words, this.#staging)
      const count = answer & 0xffff
      spent += this.#dispatchAll(count) + count * RECORD_COST
      this.#afterBatch()
      if ((answer & DRAIN_MORE) === 0) break
      if (spent >= TURN_BYTES) {
        this.#soon(() => this.#turn())
        return
      }
    }
    this.#running = false
  }

  #dispatchAll(count: number): number {
    let offset = 0
    for (let index = 0; index < count; index++) {
      const at = index * RECORD_WORDS
      const length = this.#words[at + 2] ?? 0
      try {
        this.#dispatch(at, offset, offset + length)
      } catch (error) {
        process.nextTick(() => {
          throw error
        })
      }
      offset += length
    }
    return offset
  }

  #dispatch(at: number, start: number, end: number): void {
    const words = this.#words
    const head = words[at] ?? 0
    const kind = head & 0xff
    const key = words[at + 1] ?? 0
    if (kind === Record.KEYLOG) return this.#endpoint.onKeylog(this.#text(start, end))
    if (kind === Record.QLOG) return this.#endpoint.onQlog(key, this.#text(start, end), words[at + 3] === 1 ? 'last' : 'open')
    if (kind === Record.RAW) return this.#onRaw(at, start, end)
    if (kind === Record.SPLICE) return this.splices.get(this.#floats[at / 2 + 2] ?? 0)?.(words[at + 3] ?? 0, this.#b(at))
    const sink = key === 0 ? undefined : this.sinks.get(key)
    if (sink === undefined) {
      // Data for what JavaScript has let go of finds nothing and is skipped.
      if (kind === Record.EVENT) this.#endpoint.onEvent(key, JSON.parse(this.#text(start, end)) as NativeEvent)
      return undefined
    }
    const stream = this.#floats[at / 2 + 2] ?? 0
    const flags = head >>> 8
    switch (kind) {
      case Record.DATA: return sink.onData(stream, flags, this.#staging, start, end)
      case Record.WRITABLE: return sink.onWritable(stream, this.#b(at), words[at + 3] ?? 0)
      case Record.FINISHED: return sink.onFinished(stream)
      case Record.STOPPED: return sink.onStopped(stream, this.#code(at))
      case Record.RESET: return sink.onReset(stream, flags, this.#code(at))
      case Record.STREAMS: return sink.onStreams(words[at + 3] ?? 0, this.#b(at))
      case Record.CONNECTION_WRITABLE: return sink.onConnectionWritable(this.#b(at))
      case Record.DATAGRAM: return sink.onDatagram(flags, this.#staging, start, end)
      case Record.DATAGRAM_FATE: return sink.onDatagramFate(stream, words[at + 3] ?? 0, this.#b(at) === 0 ? null : this.#b(at) - 1)
      case Record.DATAGRAM_ROOM: return sink.onDatagramRoom(this.#b(at), words[at + 3] ?? 0)
      case Record.EVENT: return sink.onEvent(JSON.parse(this.#text(start, end)) as NativeEvent)
      case Record.TRACE: return sink.onTrace(JSON.parse(this.#text(start, end)) as BurstRecord | BlockedRecord)
      case Record.ACKS: return sink.onAcks(JSON.parse(this.#text(start, end)) as NativeAcks)
      default: return undefined
    }
  }

  #onRaw(at: number, start: number, end: number): void {
    const head = start + (this.#words[at + 3] ?? 0)
    const [remote = '', local = ''] = this.#staging.toString('latin1', start, head).split('\n')
    this.#endpoint.onRaw(remote, local, this.#b(at), this.#staging, head, end)
  }

  #text(start: number, end: number): string {
    return this.#staging.toString('utf8', start, end)
  }

  #b(at: number): number {
    return this.#floats[at / 2 + 3] ?? 0
  }

  #code(at: number): bigint {
    return BigInt(this.#words[at + 6] ?? 0) | (BigInt(this.#words[at + 7] ?? 0) << 32n)
  }
}
