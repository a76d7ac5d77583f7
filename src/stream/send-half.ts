/**
 * The sending part of a stream: how many bytes are accepted now, its end, its reset. Counts the credit that WRITABLE
 * tells, so that `write` answers without asking the engine. Faces (`web-writable`, `node-stream`) stand on it.
 */
import { Command } from '../binding/index.ts'
import { deferHandled, invalidOption } from '../config/index.ts'
import type { Deferred } from '../config/index.ts'
import { cutError, endedError, lockedError } from './codes.ts'
import type { PartError } from './codes.ts'
import type { StreamHost } from './host.ts'

export type WriteStyle = 'write()' | 'writable' | 'toWritable()' | 'toDuplex()'

export class SendHalf {
  readonly host: StreamHost
  readonly id: bigint
  /** Bytes accepted. */
  written = 0
  /**
   * open -> ended (FIN accepted) -> finished (all acknowledged); open or ended -> failed.
   */
  state: 'open' | 'ended' | 'finished' | 'failed' = 'open'
  error: PartError | null = null
  /** Of `written`, bytes that left the send queue, as told last. */
  #left = 0
  #unacknowledged = 0
  /** What the outbox had handed over when the part was reset; -1: it was not. */
  #owedSince = -1
  readonly #stream: number
  readonly #settled: () => void
  #style: WriteStyle | null = null
  #waiters: (() => void)[] = []
  #finished: Deferred<void> | null = null
  /** Told once when the part fails, whoever waits. */
  onFailure: ((error: PartError) => void) | null = null
  /** Told of every word of the engine about bytes that have left or were acknowledged. */
  onProgress: (() => void) | null = null

  /** `settled` runs once, when the part is finished or failed. */
  constructor(host: StreamHost, stream: number, settled: () => void) {
    this.host = host
    this.#stream = stream
    this.id = BigInt(stream)
    this.#settled = settled
  }

  get bytesAcknowledged(): number {
    return this.state === 'finished' ? this.written : this.#left - this.#unacknowledged
  }

  /** It was reset, and the engine does not know yet (mux §4, ERROR). */
  get owesReset(): boolean {
    return this.#owedSince === this.host.outbox.handedOver
  }

  get settled(): boolean {
    return this.state === 'finished' || this.state === 'failed'
  }

  /** @throws QB_STREAM_LOCKED if another style writes */
  lock(style: WriteStyle): void {
    if (this.#style !== null && this.#style !== style) throw lockedError(this.id, 'writing', this.#style, style)
    this.#style = style
  }

  /** Accepts what fits of `chunk` from `start` on; answers how many bytes. @throws the part's error, QB_STREAM_ENDED */
  write(chunk: Uint8Array, start: number): number {
    if (this.state !== 'open') throw this.error ?? endedError(this.id)
    const length = Math.min(chunk.length - start, this.#room())
    if (length <= 0) return 0
    this.written += length
    this.host.accepted(length)
    this.host.outbox.write(this.host.key, this.#stream, chunk, start, length)
    return length
  }

  /** Bytes that `write` would accept now. */
  get room(): number {
    return Math.max(0, this.#room())
  }

  /** Calls `wake` once: at once if there is room or nothing more to wait for, else when that is so. Answers how to leave. */
  whenRoom(wake: () => void): () => void {
    if (this.state !== 'open' || this.#room() > 0) {
      wake()
      return () => {}
    }
    this.#waiters.push(wake)
    if (this.host.room() <= 0) this.host.onRoom(() => this.#wake())
    return () => {
      this.#waiters = this.#waiters.filter((waiter) => waiter !== wake)
    }
  }

  end(): void {
    if (this.state !== 'open') return
    this.state = 'ended'
    this.host.outbox.end(this.host.key, this.#stream)
    this.#wake()
  }

  /** RESET_STREAM; unsent bytes are dropped. After the end of the part: nothing. */
  reset(code: bigint): void {
    if (this.settled) return
    this.#owedSince = this.host.outbox.handedOver
    this.host.outbox.send(Command.RESET, this.host.key, this.#stream, 0, code)
    this.fail(cutError(this.host, this.id, 'reset', 'local', code))
  }

  get finished(): Promise<void> {
    if (this.#finished === null) {
      this.#finished = deferHandled<void>()
      this.#settleFinished()
    }
    return this.#finished.promise
  }

  onWritable(left: number, unacknowledged: number): void {
    this.#left = left
    this.#unacknowledged = unacknowledged
    this.#wake()
    this.onProgress?.()
  }

  onFinished(): void {
    if (this.settled) return
    this.state = 'finished'
    this.#left = this.written
    this.#unacknowledged = 0
    this.#settleFinished()
    this.#settled()
  }

  onStopped(code: bigint): void {
    this.fail(cutError(this.host, this.id, 'stopped', 'peer', code))
  }

  /** The part is over without success. */
  fail(error: PartError): void {
    if (this.settled) return
    this.state = 'failed'
    this.error = error
    this.#wake()
    this.onFailure?.(error)
    this.#settleFinished()
    this.#settled()
  }

  #room(): number {
    return Math.min(this.host.sendBufferBytes - (this.written - this.#left), this.host.room())
  }

  #wake(): void {
    if (this.#waiters.length === 0) return
    const waiters = this.#waiters
    this.#waiters = []
    for (const wake of waiters) wake()
  }

  #settleFinished(): void {
    if (this.state === 'finished') this.#finished?.resolve()
    else if (this.state === 'failed') this.#finished?.reject(this.error)
  }
}

/** Only bytes are taken: text would need an encoding, other views a copy the caller does not see. @throws QB_OPTION_INVALID */
export function checkChunk(chunk: unknown): asserts chunk is Uint8Array {
  if (!(chunk instanceof Uint8Array)) throw invalidOption('chunk', chunk, 'a Uint8Array or Buffer; encode text with TextEncoder')
}
