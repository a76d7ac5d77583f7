/**
 * The Web Streams face of a sending part (streams-over-ring S8, S10, S12; mux R60). A write that is accepted whole completes at once,
 * without a promise of ours, unless it filled the window: then, as one that is not accepted whole, it waits for room. What waits there counts
 * as the whole window, so that `desiredSize` is 0 as long as nothing that blocks the sending lets bytes go.
 */
import { WritableStream } from 'node:stream/web'
import type { WritableStreamDefaultController } from 'node:stream/web'
import { defer } from '../config/index.ts'
import { codeOf } from './codes.ts'
import { Loose } from './dropped.ts'
import { checkChunk } from './send-half.ts'
import type { SendHalf } from './send-half.ts'

/** Node's types of version 20 do not know the signal. */
type Controller = WritableStreamDefaultController & { signal: AbortSignal }

export function webWritable(half: SendHalf): WritableStream<Uint8Array> {
  const sink = new Sink(half)
  return new WritableStream<Uint8Array>(sink, { highWaterMark: half.host.sendBufferBytes, size: (chunk) => sink.sizeOf(chunk) })
}

class Sink {
  readonly #half: SendHalf
  /** Bytes in the queue of the stream, which `write` has not seen. */
  #queued = 0

  constructor(half: SendHalf) {
    this.#half = half
  }

  start(controller: WritableStreamDefaultController): void {
    const half = this.#half
    const loose = new Loose(controller, half.host.watchesHandles)
    half.onFailure = (error) => loose.face?.error(error)
    if (half.error !== null) controller.error(half.error)
    // Before `abort` below, which waits for a write under way; the reset ends that write. The abort itself errors the stream.
    const { signal } = controller as Controller
    const onAbort = (): void => {
      half.onFailure = null
      half.reset(codeOf(half.host, signal.reason, 'write'))
    }
    signal.addEventListener('abort', onAbort, { once: true })
  }

  /** As ByteLengthQueuingStrategy while there is room; the chunk that fills the window, and those behind it, count as all of it. What is no bytes reaches `write` and its error. */
  sizeOf(chunk: Uint8Array | undefined): number {
    const bytes = byteLengthOf(chunk)
    const fits = this.#queued + bytes < this.#half.room
    this.#queued += bytes
    return fits || bytes === 0 ? bytes : Math.max(bytes, this.#half.host.sendBufferBytes)
  }

  write(chunk: Uint8Array): void | Promise<void> {
    const half = this.#half
    this.#queued -= byteLengthOf(chunk)
    checkChunk(chunk)
    const accepted = half.write(chunk, 0)
    if (accepted < chunk.length || (half.room === 0 && accepted > 0)) return this.#writeRest(chunk, accepted)
    return half.host.outbox.hasTurnLeft() ? undefined : new Promise((resolve) => half.host.outbox.nextTurn(resolve))
  }

  close(): void {
    this.#half.end()
  }

  abort(reason: unknown): void {
    this.#half.reset(codeOf(this.#half.host, reason, 'write'))
  }

  /** Writes `chunk` from `start` on as room comes; completes when there is some behind it. */
  #writeRest(chunk: Uint8Array, start: number): Promise<void> {
    const half = this.#half
    const { promise, resolve, reject } = defer<void>()
    let at = start
    const goOn = (): void => {
      try {
        at += half.write(chunk, at)
      } catch (error) {
        // All of it was taken before the part failed: the stream hears of that by itself.
        return at === chunk.length ? resolve() : reject(error)
      }
      if (at === chunk.length && half.room > 0) return resolve()
      half.whenRoom(goOn)
      return undefined
    }
    half.whenRoom(goOn)
    return promise
  }
}

function byteLengthOf(chunk: unknown): number {
  return chunk instanceof Uint8Array ? chunk.byteLength : 0
}
