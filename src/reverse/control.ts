/**
 * The control stream of a reverse connection (reverse.md V4): whole messages over a bidirectional stream, the same at both ends. It stays open as
 * long as the connection. What a message means, and when one may come, is for the two ends to say.
 */
import { waitFor } from '../config/index.ts'
import type { BidirectionalStream } from '../stream/index.ts'
import { ReverseCode, reverseError } from './codes.ts'
import { MessageReader, encodeMessage } from './messages.ts'
import type { ControlMessage } from './messages.ts'

export class ControlStream {
  readonly stream: BidirectionalStream
  readonly #reader = new MessageReader()
  #lastSent: Promise<void> = Promise.resolve()

  constructor(stream: BidirectionalStream) {
    this.stream = stream
  }

  /** In order; resolves when the stream has taken all of it. @throws the stream's error */
  send(message: ControlMessage): Promise<void> {
    const bytes = encodeMessage(message)
    const sent = this.#lastSent.then(() => writeAll(this.stream, bytes))
    this.#lastSent = sent.catch(() => {})
    return sent
  }

  /**
   * The next message; null at the end of the stream. One call at a time; what a call that was aborted would have got is for the next.
   * @throws QB_REVERSE_PROTOCOL (malformed, longer than 4 KiB, or cut off), the stream's error, the abort reason
   */
  async next(signal?: AbortSignal): Promise<ControlMessage | null> {
    for (;;) {
      const message = this.#reader.next()
      if (message === null) throw this.#malformed('a message is malformed or longer than 4 KiB')
      if (message !== undefined) return message
      const loan = await this.stream.borrow({ ...(signal !== undefined && { signal }) }).next()
      if (loan.done === true) {
        if (this.#reader.rest > 0) throw this.#malformed('the stream ended within a message')
        return null
      }
      this.#reader.push(loan.value.bytes)
      loan.value.release()
    }
  }

  #malformed(text: string): Error {
    return reverseError(ReverseCode.PROTOCOL, { service: '', text, by: 'local' })
  }
}

async function writeAll(stream: BidirectionalStream, bytes: Uint8Array): Promise<void> {
  for (let at = stream.write(bytes); at < bytes.length; at += stream.write(bytes.subarray(at))) await stream.ready()
}

/** `promise`, or `late()` as the error if it takes longer. The promise goes on; what becomes of it then is nobody's concern. */
export function within<T>(promise: Promise<T>, ms: number, timing: { after(ms: number, run: () => void): () => void }, late: () => unknown): Promise<T> {
  promise.catch(() => {})
  return waitFor<T>(undefined, (settle) => {
    promise.then(settle.resolve, settle.reject)
    return timing.after(ms, () => settle.reject(late()))
  })
}
