/**
 * The client preface of HTTP/2 (RFC 9113 §3.4) where the ends have changed places. HAProxy's *dialler* sends it, though it serves requests then, and
 * HAProxy's *acceptor* sends SETTINGS alone; Node expects it from whoever asks (reverse.md §9). So a dialler of ours writes the preface to the wire
 * and reads it to itself; an acceptor of ours cuts it out of both directions.
 */
import { Duplex } from 'node:stream'
import type { Socket } from 'node:net'
import { PREFACE, endsInTime } from '../front/index.ts'

type Done = (error?: Error | null) => void

/** Makes the socket of a dialler, of which nothing was read yet, ready for `performServerHandshake`; not before the preface has left: Node's session writes past the stream, and a write that is under way there ends the process. */
export function sendPreface(socket: Socket, onReady: () => void): void {
  socket.unshift(PREFACE)
  socket.write(PREFACE, (error) => {
    if (error === null || error === undefined) onReady()
  })
}

/** The socket of an acceptor, ready for `http2.connect`. Destroyed with an error if the other end does not begin with the preface. */
export class PrefaceCut extends Duplex {
  readonly #socket: Socket
  /** Bytes of it that have come, and gone. */
  #seen = 0
  #said = 0

  constructor(socket: Socket) {
    super({ allowHalfOpen: true })
    this.#socket = socket
    endsInTime(socket)
    socket.on('data', (chunk: Buffer) => this.#onData(chunk))
    socket.once('end', () => this.push(null))
    socket.on('error', (error) => this.destroy(error))
    socket.once('close', () => this.destroy())
    socket.pause()
  }

  override _read(): void {
    this.#socket.resume()
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: Done): void {
    const rest = chunk.subarray(Math.min(chunk.length, PREFACE.length - this.#said))
    this.#said += chunk.length - rest.length
    if (rest.length === 0 || this.#socket.write(rest)) return done()
    const onDrain = (): void => {
      this.#socket.off('drain', onDrain)
      this.#socket.off('close', onDrain)
      done()
    }
    this.#socket.once('drain', onDrain)
    this.#socket.once('close', onDrain)
  }

  override _final(done: Done): void {
    this.#socket.end(() => done())
  }

  override _destroy(error: Error | null, done: Done): void {
    this.#socket.destroy()
    done(error)
  }

  #onData(chunk: Buffer): void {
    let bytes = chunk
    if (this.#seen < PREFACE.length) {
      const count = Math.min(bytes.length, PREFACE.length - this.#seen)
      if (PREFACE.compare(bytes, 0, count, this.#seen, this.#seen + count) !== 0) return void this.destroy(new Error('what came is not the preface of HTTP/2'))
      this.#seen += count
      bytes = bytes.subarray(count)
    }
    if (bytes.length > 0 && !this.push(bytes)) this.#socket.pause()
  }
}
