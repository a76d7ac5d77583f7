/**
 * Commands on their way to the engine: one `flush` a turn of the event loop, earlier at 256 KiB (streams-over-ring S11).
 * Small writes are copied into an arena and joined, large ones cross by themselves so that they are copied once.
 * Knows nothing of stream states; the caller has checked room and order.
 */
import { Command, RECORD_WORDS, Wake, WriteFlag } from './native.ts'
import type { NativeEndpoint } from './native.ts'

const COMMANDS = 1024
const ARENA_BYTES = 262_144
/** From here on a chunk crosses as the tail of its own call: the call costs less than a second copy. */
const TAIL_BYTES = 16_384
/** The engine is woken before the turn ends when so much waits. */
const EARLY_BYTES = 262_144
/** Bytes that sinks accept in one turn before they must yield (S12). */
const TURN_BYTES = 1_048_576

/** A receiving part that has consumed bytes since it last told. */
export interface Consumer {
  readonly connection: number
  readonly stream: number
  /** Bytes the reader took, cumulative. */
  readonly consumed: number
  /** In the list of those to tell; set and cleared by the outbox. */
  untold: boolean
  /** Its stream is gone: nothing to tell. */
  readonly released: boolean
}

export class Outbox {
  readonly #native: NativeEndpoint
  readonly #soon: (run: () => void) => void
  readonly #words = new Uint32Array(COMMANDS * RECORD_WORDS)
  readonly #floats = new Float64Array(this.#words.buffer)
  readonly #arena = new Uint8Array(ARENA_BYTES)
  #consumers: Consumer[] = []
  /** Bytes consumed since the last flush: a reader that waits for the engine should not wait for the end of the turn. */
  #consumedBytes = 0
  #count = 0
  #used = 0
  /** Bytes handed over or waiting since the engine was last woken. */
  #unwoken = 0
  #accepted = 0
  #scheduled = false
  #closed = false
  /** Stream of the last command if that is a WRITE in the arena without FIN, which can grow; else -1. */
  #growing = -1
  #growingConnection = 0
  /** Calls across N-API so far. */
  crossings = 0
  /** How often commands were handed over. */
  handedOver = 0

  /** `soon` runs something when the present turn of the event loop is over. */
  constructor(native: NativeEndpoint, soon: (run: () => void) => void = (run) => void setImmediate(run)) {
    this.#native = native
    this.#soon = soon
  }

  /** Copies `length` bytes of `chunk` from `start` on; returns when the caller may change it. */
  write(connection: number, stream: number, chunk: Uint8Array, start: number, length: number): void {
    this.#accepted += length
    if (length >= TAIL_BYTES && !(chunk.buffer instanceof SharedArrayBuffer)) {
      this.#writeTail(connection, stream, chunk, start, length)
    } else {
      for (let at = start; at < start + length; at += TAIL_BYTES) this.#writeArena(connection, stream, chunk, at, Math.min(TAIL_BYTES, start + length - at))
    }
    if (this.#unwoken >= EARLY_BYTES) this.flush()
    else this.#schedule()
  }

  /** One message; `data` fits into the arena. `path` null: any. `expiresMs` 0: never given up for its age. */
  datagram(connection: number, number: number, data: Uint8Array, path: number | null, expiresMs: number): void {
    if (this.#used + data.length > ARENA_BYTES) this.#submit(Wake.LATER, null)
    // Before the copy: appending may hand over a full list, and the arena with it.
    const at = this.#append(Command.DATAGRAM, 0, connection, number)
    this.#words[at + 2] = data.length
    this.#words[at + 3] = path === null ? 0 : path + 1
    this.#floats[at / 2 + 3] = expiresMs
    this.#arena.set(data, this.#used)
    this.#used += data.length
    this.#unwoken += data.length
    if (this.#unwoken >= EARLY_BYTES) this.flush()
    else this.#schedule()
  }

  /** One datagram that is no QUIC; it fits into the arena. `local` '': the first socket of the family. `ttl` 0: the system's. */
  raw(remote: string, local: string, data: Uint8Array, ttl: number): void {
    const head = Buffer.from(`${remote}\n${local}\n`, 'latin1')
    const length = head.length + data.length
    if (this.#used + length > ARENA_BYTES) this.#submit(Wake.LATER, null)
    const at = this.#append(Command.RAW, 0, 0, 0)
    this.#words[at + 2] = length
    this.#words[at + 3] = ttl
    this.#arena.set(head, this.#used)
    this.#arena.set(data, this.#used + head.length)
    this.#used += length
    this.#unwoken += length
    if (this.#unwoken >= EARLY_BYTES) this.flush()
    else this.#schedule()
  }

  /** FIN, on the last write if that can still be changed. */
  end(connection: number, stream: number): void {
    if (this.#growing === stream && this.#growingConnection === connection) {
      const at = (this.#count - 1) * RECORD_WORDS
      this.#words[at] = Command.WRITE | (WriteFlag.FIN << 8)
      this.#growing = -1
    } else {
      this.#append(Command.WRITE, WriteFlag.FIN, connection, stream)
    }
    this.#schedule()
  }

  /** A command without bytes. `c` and `code` where the command has them. */
  send(kind: number, connection: number, stream: number, c = 0, code = 0n): void {
    const at = this.#append(kind, 0, connection, stream)
    this.#words[at + 3] = c
    this.#words[at + 6] = Number(code & 0xffff_ffffn)
    this.#words[at + 7] = Number(code >> 32n)
    this.#schedule()
  }

  /** Tells with the next flush what `consumer.consumed` is then. */
  consumed(consumer: Consumer, bytes: number): void {
    this.#consumedBytes += bytes
    if (consumer.untold) return
    consumer.untold = true
    this.#consumers.push(consumer)
    this.#schedule()
  }

  /** False when sinks have accepted enough in this turn of the event loop: the next completion belongs into `nextTurn`. */
  hasTurnLeft(): boolean {
    return this.#accepted < TURN_BYTES
  }

  /** Runs in the next turn of the event loop. */
  nextTurn(run: () => void): void {
    this.#soon(run)
  }

  /** The engine has something to begin with the next flush. */
  soon(): void {
    this.#unwoken = Math.max(1, this.#unwoken)
    this.#schedule()
  }

  /** Between two drains: credit goes back at once when the engine may be waiting for it. */
  flushCredit(): void {
    if (this.#consumedBytes >= EARLY_BYTES / 2) this.flush()
  }

  /** Hands everything over and wakes the engine. */
  flush(): void {
    this.#collectCredit()
    if (this.#count > 0 || this.#unwoken > 0) this.#submit(Wake.NOW, null)
  }

  /** Hands over what waits, before a call that wakes the engine by itself. */
  handOver(): void {
    this.#collectCredit()
    if (this.#count > 0) this.#submit(Wake.LATER, null)
  }

  /** Nothing crosses any more. */
  close(): void {
    this.#closed = true
    this.#consumers = []
  }

  /** One CONSUMED for each part whose reader took bytes. */
  #collectCredit(): void {
    for (const consumer of this.#consumers) {
      consumer.untold = false
      if (!consumer.released) this.#floats[this.#append(Command.CONSUMED, 0, consumer.connection, consumer.stream) / 2 + 3] = consumer.consumed
    }
    if (this.#consumers.length > 0) this.#consumers = []
    this.#consumedBytes = 0
  }

  #writeArena(connection: number, stream: number, chunk: Uint8Array, start: number, length: number): void {
    if (this.#used + length > ARENA_BYTES) this.#submit(Wake.LATER, null)
    const part = start === 0 && length === chunk.length ? chunk : chunk.subarray(start, start + length)
    if (this.#growing === stream && this.#growingConnection === connection) {
      const at = (this.#count - 1) * RECORD_WORDS + 2
      this.#words[at] = (this.#words[at] ?? 0) + length
    } else {
      // Before the copy: appending may hand over a full list, and the arena with it.
      this.#words[this.#append(Command.WRITE, 0, connection, stream) + 2] = length
      this.#growing = stream
      this.#growingConnection = connection
    }
    this.#arena.set(part, this.#used)
    this.#used += length
    this.#unwoken += length
  }

  #writeTail(connection: number, stream: number, chunk: Uint8Array, start: number, length: number): void {
    const part = start === 0 && length === chunk.length ? chunk : chunk.subarray(start, start + length)
    this.#words[this.#append(Command.WRITE, WriteFlag.TAIL, connection, stream) + 2] = length
    this.#unwoken += length
    this.#submit(this.#unwoken >= EARLY_BYTES ? Wake.NOW : Wake.LATER, part)
  }

  /** Index of the first word of a fresh command; makes room first. */
  #append(kind: number, flags: number, connection: number, stream: number): number {
    if (this.#count === COMMANDS) this.#submit(Wake.LATER, null)
    const at = this.#count * RECORD_WORDS
    this.#count += 1
    this.#growing = -1
    const words = this.#words
    words[at] = kind | (flags << 8)
    words[at + 1] = connection
    words[at + 2] = 0
    words[at + 3] = 0
    words[at + 6] = 0
    words[at + 7] = 0
    this.#floats[at / 2 + 2] = stream
    return at
  }

  #submit(wake: number, tail: Uint8Array | null): void {
    const count = this.#count
    this.#count = 0
    this.handedOver += 1
    this.#used = 0
    this.#growing = -1
    if (wake === Wake.NOW) this.#unwoken = 0
    else this.#unwoken = Math.max(1, this.#unwoken)
    if (this.#closed) return
    this.crossings += 1
    this.#native.flush(this.#words, count, this.#arena, wake, tail)
  }

  #schedule(): void {
    if (this.#scheduled || this.#closed) return
    this.#scheduled = true
    this.#soon(() => {
      this.#scheduled = false
      this.#accepted = 0
      this.flush()
    })
  }
}
