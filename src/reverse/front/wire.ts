/**
 * The "socket" of a request to a service before there is one: keeps the head that Node writes until somebody has opened a way with it
 * (`open` writes the head itself, and again elsewhere if need be: reverse.md V47), then carries everything else over that way.
 * Node's parser cannot tell a reset from an end where a body has no length; the wire tells its owner before the parser hears.
 */
import { Duplex } from 'node:stream'

type Done = (error?: Error | null) => void

/** A way that was told the end of its request may still have something to say; not for ever. */
export const LINGER_MS = 1000
const HEAD_END = Buffer.from('\r\n\r\n')

export interface WireOwner {
  onHead: (head: Buffer) => void
  /** The way broke; called before the wire is destroyed. */
  onBroken: (error: Error) => void
  after: (ms: number, run: () => void) => () => void
}

export class Wire extends Duplex {
  readonly #owner: WireOwner
  #head: Buffer[] | null = []
  #way: Duplex | null = null
  /** What came with or behind the head before the way. */
  #early: { chunk: Buffer; done: Done } | null = null
  #final: Done | null = null
  #flowing = false

  constructor(owner: WireOwner) {
    super({ decodeStrings: true, allowHalfOpen: true })
    this.#owner = owner
  }

  /** The head is written there already. */
  attach(way: Duplex): void {
    this.#way = way
    way.on('data', (chunk: Buffer) => {
      if (!this.push(chunk)) {
        this.#flowing = false
        way.pause()
      }
    })
    way.once('end', () => this.push(null))
    way.on('error', (error) => this.#onBroken(error))
    way.once('close', () => {
      if (!way.readableEnded) this.#onBroken(new Error('the way to the service closed'))
    })
    if (!this.#flowing) way.pause()
    const early = this.#early
    this.#early = null
    if (early !== null) this.#send(early.chunk, early.done)
    const final = this.#final
    this.#final = null
    if (final !== null) way.end(() => final())
  }

  /** Everything was said and heard: the end, and time for the other side to do the same. */
  finish(): void {
    const way = this.#way
    if (way === null || way.destroyed) return void this.destroy()
    way.end()
    way.resume()
    const stop = this.#owner.after(LINGER_MS, () => void this.destroy())
    way.once('close', () => {
      stop()
      this.destroy()
    })
  }

  override _read(): void {
    this.#flowing = true
    this.#way?.resume()
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: Done): void {
    if (this.#head === null) return this.#send(chunk, done)
    this.#head.push(chunk)
    const all = Buffer.concat(this.#head)
    const end = all.indexOf(HEAD_END)
    if (end < 0) return done()
    this.#head = null
    const rest = all.subarray(end + HEAD_END.length)
    if (rest.length > 0) this.#early = { chunk: rest, done }
    else done()
    this.#owner.onHead(all.subarray(0, end + HEAD_END.length))
  }

  override _final(done: Done): void {
    if (this.#way === null) this.#final = done
    else this.#way.end(() => done())
  }

  override _destroy(error: Error | null, done: Done): void {
    const way = this.#way
    const early = this.#early
    this.#early = null
    if (way !== null && !way.destroyed) way.destroy(error ?? undefined)
    early?.done(error ?? new Error('destroyed'))
    done(error)
  }

  #send(chunk: Buffer, done: Done): void {
    const way = this.#way
    if (way === null) {
      this.#early = { chunk, done }
      return
    }
    // All of the response is here: what is left of the request is of no use to anybody.
    if (way.destroyed && way.readableEnded) return done()
    if (way.destroyed || way.writableEnded) return done(new Error('the way to the service closed'))
    if (way.write(chunk)) return done()
    const onDrain = (): void => {
      way.off('close', onDrain)
      way.off('drain', onDrain)
      done()
    }
    way.once('drain', onDrain)
    way.once('close', onDrain)
  }

  #onBroken(error: Error): void {
    if (this.destroyed || this.#way?.readableEnded === true) return
    this.#owner.onBroken(error)
    this.destroy()
  }
}
