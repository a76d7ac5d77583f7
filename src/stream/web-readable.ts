/**
 * The Web Streams face of a receiving part: a byte stream (streams-over-ring S6). Nothing is queued in the stream itself:
 * each pull is answered once, into the reader's own view if it lent one, else with one piece of at most 64 KiB that owns its memory (S7).
 */
import { ReadableStream } from 'node:stream/web'
import type { ReadableByteStreamController, ReadableStreamBYOBRequest } from 'node:stream/web'
import { codeOf } from './codes.ts'
import { Loose } from './dropped.ts'
import type { Reader, ReceiveHalf } from './receive-half.ts'

export function webReadable(half: ReceiveHalf): ReadableStream<Uint8Array> {
  let face!: ByteFace
  const source = {
    type: 'bytes',
    start(controller: ReadableByteStreamController): void {
      face = new ByteFace(half, controller)
    },
    pull(): void {
      face.pull()
    },
    cancel(reason: unknown): void {
      half.stop(codeOf(half.host, reason, 'read'))
    },
  }
  // Node's types of version 20 do not know byte sources.
  const stream = new ReadableStream<Uint8Array>(source as object, { highWaterMark: 0 })
  half.attach(face)
  face.notify()
  return stream
}

class ByteFace implements Reader {
  readonly #half: ReceiveHalf
  readonly #controller: Loose<ReadableByteStreamController>
  /** A pull waits for its answer. */
  #pulled = false
  #closed = false

  constructor(half: ReceiveHalf, controller: ReadableByteStreamController) {
    this.#half = half
    this.#controller = new Loose(controller, half.host.watchesHandles)
  }

  pull(): void {
    this.#setPulled(true)
    this.notify()
  }

  notify(): void {
    if (this.#closed) return
    while (this.#pulled && this.#half.waiting) this.#answer()
    if (this.#half.atEnd) this.#close()
    else if (this.#half.error !== null) this.#fail(this.#half.error)
  }

  fill(staging: Buffer, start: number, end: number): number {
    const request = this.#request()
    const view = request?.view
    if (!this.#pulled || request === null || view === null || view === undefined) return 0
    const length = Math.min(view.byteLength, end - start)
    staging.copy(new Uint8Array(view.buffer, view.byteOffset, length), 0, start, start + length)
    this.#setPulled(false)
    request.respond(length)
    return length
  }

  #answer(): void {
    const request = this.#request()
    const controller = this.#controller.face
    const view = request?.view
    // Answering may pull again at once, so the flag falls first.
    this.#setPulled(false)
    if (request !== null && view !== null && view !== undefined) {
      request.respond(this.#half.takeInto(new Uint8Array(view.buffer, view.byteOffset, view.byteLength)))
      return
    }
    const piece = this.#half.take()
    if (piece !== null) controller?.enqueue(piece)
  }

  #close(): void {
    this.#closed = true
    try {
      this.#controller.face?.close()
      this.#request()?.respond(0)
    } catch {
      // The reader cancelled meanwhile: closed either way.
    }
    this.#setPulled(false)
  }

  #fail(error: Error): void {
    this.#closed = true
    this.#controller.face?.error(error)
    this.#setPulled(false)
  }

  /** A read that waits keeps its stream. */
  #setPulled(pulled: boolean): void {
    this.#pulled = pulled
    if (pulled) this.#controller.hold()
    else this.#controller.release()
  }

  /** Read anew each time: an answer makes the old one void. Node's types leave the request's view wide. */
  #request(): ReadableStreamBYOBRequest | null {
    return (this.#controller.face?.byobRequest as ReadableStreamBYOBRequest | undefined) ?? null
  }
}
