/**
 * Messages of the peer until somebody takes them: in batches, by loops or as a stream, one style per connection. Bounded: of more than
 * 1,024 messages or 1 MiB the oldest go, since the newest are worth most to those who use messages (attacks L14).
 */
import { ReadableStream } from 'node:stream/web'
import type { ReadableStreamDefaultController } from 'node:stream/web'
import { Supply } from '../config/index.ts'
import type { Bytes, Waiting } from '../config/index.ts'
import { StreamError } from '../errors/index.ts'

const MESSAGES = 1024
const BYTES = 1_048_576

type Style = 'readable' | 'batches()'

export class Inlet {
  #style: Style | null = null
  #waiting: Bytes[] = []
  #bytes = 0
  #scheduled = false
  #ended = false
  #readable: ReadableStream<Bytes> | null = null
  #controller: ReadableStreamDefaultController<Bytes> | null = null
  /** The reader has asked and got nothing yet. */
  #asked = false
  /** One entry means "look": the messages are taken when a loop gets its turn. */
  readonly #looks = new Supply<null>()

  push(message: Bytes): void {
    if (this.#ended) return
    this.#waiting.push(message)
    this.#bytes += message.length
    while (this.#waiting.length > MESSAGES || this.#bytes > BYTES) this.#bytes -= this.#waiting.shift()?.length ?? 0
    // All that one drain brings is one batch.
    if (this.#scheduled) return
    this.#scheduled = true
    queueMicrotask(() => this.#announce())
  }

  /** Nothing comes any more; what waits can still be read. */
  end(): void {
    if (this.#ended) return
    this.#ended = true
    if (this.#scheduled) return
    this.#announce()
  }

  get readable(): ReadableStream<Bytes> {
    this.lock('readable')
    this.#readable ??= new ReadableStream<Bytes>({
      start: (controller) => {
        this.#controller = controller
      },
      pull: () => {
        this.#asked = true
        this.#feed()
      },
      cancel: () => {
        this.#controller = null
        this.#take()
      },
    }, { highWaterMark: 0 })
    return this.#readable
  }

  async *batches(options: Waiting): AsyncGenerator<readonly Bytes[], void, undefined> {
    for await (const _ of this.#looks.iterate(options)) {
      const batch = this.#take()
      if (batch.length > 0) yield batch
    }
    const rest = this.#take()
    if (rest.length > 0) yield rest
  }

  /** @throws QB_STREAM_LOCKED */
  lock(style: Style): void {
    if (this.#style !== null && this.#style !== style) throw new StreamError('QB_STREAM_LOCKED', `the messages of this connection are read by ${this.#style}; use that`)
    this.#style = style
  }

  #announce(): void {
    this.#scheduled = false
    this.#feed()
    if (this.#looks.size === 0 && this.#waiting.length > 0) this.#looks.push(null)
    if (this.#ended) this.#looks.end()
  }

  /** One message for each time the reader asks. */
  #feed(): void {
    const controller = this.#controller
    if (controller === null) return
    while (this.#asked && this.#waiting.length > 0) {
      // Answering may ask again at once.
      this.#asked = false
      const message = this.#waiting.shift() as Bytes
      this.#bytes -= message.length
      controller.enqueue(message)
    }
    if (!this.#ended || this.#waiting.length > 0) return
    this.#controller = null
    controller.close()
  }

  #take(): Bytes[] {
    const batch = this.#waiting
    this.#waiting = []
    this.#bytes = 0
    return batch
  }
}
