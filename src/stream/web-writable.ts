/**
 * The Web Streams face of a sending part (streams-over-ring S8, S10, S12). A write that is accepted whole completes at once,
 * without a promise of ours; one that is not waits for room.
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

const HIGH_WATER_BYTES = 262_144

export function webWritable(half: SendHalf): WritableStream<Uint8Array> {
  const sink = {
    start(controller: WritableStreamDefaultController): void {
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
    },
    write(chunk: Uint8Array): void | Promise<void> {
      checkChunk(chunk)
      const accepted = half.write(chunk, 0)
      if (accepted === chunk.length) return half.host.outbox.hasTurnLeft() ? undefined : new Promise((resolve) => half.host.outbox.nextTurn(resolve))
      return writeRest(half, chunk, accepted)
    },
    close(): void {
      half.end()
    },
    abort(reason: unknown): void {
      half.reset(codeOf(half.host, reason, 'write'))
    },
  }
  // As ByteLengthQueuingStrategy, but what is no bytes reaches `write` and its error.
  return new WritableStream<Uint8Array>(sink, { highWaterMark: HIGH_WATER_BYTES, size: (chunk: Uint8Array | undefined) => chunk?.byteLength ?? 0 })
}

/** Writes `chunk` from `start` on as room comes. */
function writeRest(half: SendHalf, chunk: Uint8Array, start: number): Promise<void> {
  const { promise, resolve, reject } = defer<void>()
  let at = start
  const goOn = (): void => {
    try {
      at += half.write(chunk, at)
    } catch (error) {
      return reject(error)
    }
    if (at === chunk.length) return resolve()
    half.whenRoom(goOn)
    return undefined
  }
  half.whenRoom(goOn)
  return promise
}
