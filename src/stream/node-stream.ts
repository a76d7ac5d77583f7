/**
 * The node:stream faces, built directly on the two parts (streams-over-ring S5, S8, S10, S12): no promise and no call into the
 * engine a chunk. Writes complete at once when they are accepted; reads push fresh Buffers until the stream has enough.
 */
import { Duplex, Readable, Writable } from 'node:stream'
import type { DuplexOptions, ReadableOptions, WritableOptions } from 'node:stream'
import { codeOf } from './codes.ts'
import { Loose } from './dropped.ts'
import type { Reader, ReceiveHalf } from './receive-half.ts'
import type { SendHalf } from './send-half.ts'

type Done = (error?: Error | null) => void

const HIGH_WATER_BYTES = 262_144
/** Whatever the caller's options say: these are streams of bytes, and their methods are ours. */
const OURS = {
  objectMode: false, readableObjectMode: false, writableObjectMode: false, decodeStrings: true,
  read: undefined, write: undefined, writev: undefined, final: undefined, destroy: undefined,
}
/** Shared by all streams without options of the caller's: one a stream would be a good part of what a small stream costs. */
const READABLE: ReadableOptions = { highWaterMark: HIGH_WATER_BYTES }
const DUPLEX: DuplexOptions = { readableHighWaterMark: HIGH_WATER_BYTES, writableHighWaterMark: HIGH_WATER_BYTES }

export function nodeReadable(half: ReceiveHalf, options: DuplexOptions | undefined): Readable {
  return new ReadableFace(half, options === undefined ? READABLE : { ...READABLE, ...options, ...OURS } as ReadableOptions)
}

export function nodeWritable(half: SendHalf, options: DuplexOptions | undefined): Writable {
  return new WritableFace(half, options === undefined ? READABLE as WritableOptions : { ...READABLE, ...options, ...OURS } as WritableOptions)
}

export function nodeDuplex(sending: SendHalf, receiving: ReceiveHalf, options: DuplexOptions | undefined): Duplex {
  return new DuplexFace(sending, receiving, options === undefined ? DUPLEX : { ...DUPLEX, ...options, ...OURS } as DuplexOptions)
}

class ReadableFace extends Readable {
  readonly #reading: ReadFace

  constructor(half: ReceiveHalf, options: ReadableOptions) {
    super(options)
    this.#reading = new ReadFace(half, new Loose<Readable>(this, half.host.watchesHandles))
    this.#reading.start()
  }

  override _read(): void {
    this.#reading.read()
  }

  override _destroy(error: Error | null, done: Done): void {
    this.#reading.end(error)
    done(error)
  }
}

class WritableFace extends Writable {
  readonly #writing: WriteFace

  constructor(half: SendHalf, options: WritableOptions) {
    super(options)
    this.#writing = new WriteFace(half)
    const loose = new Loose(this, half.host.watchesHandles)
    half.onFailure = (error) => void loose.face?.destroy(error)
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: Done): void {
    this.#writing.write([chunk], done)
  }

  override _writev(items: { chunk: Buffer }[], done: Done): void {
    this.#writing.write(items.map((item) => item.chunk), done)
  }

  override _final(done: Done): void {
    this.#writing.end(done)
  }

  override _destroy(error: Error | null, done: Done): void {
    this.#writing.cut(error)
    done(error)
  }
}

class DuplexFace extends Duplex {
  readonly #reading: ReadFace
  readonly #writing: WriteFace

  constructor(sending: SendHalf, receiving: ReceiveHalf, options: DuplexOptions) {
    super(options)
    const loose = new Loose<Readable>(this, sending.host.watchesHandles)
    this.#writing = new WriteFace(sending)
    this.#reading = new ReadFace(receiving, loose)
    // While there is something to read a failed sending part is told to the next write; after that it is all there is.
    sending.onFailure = (error) => {
      if (receiving.state !== 'open') loose.face?.destroy(error)
    }
    this.#reading.start()
  }

  override _read(): void {
    this.#reading.read()
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: Done): void {
    this.#writing.write([chunk], done)
  }

  override _writev(items: { chunk: Buffer }[], done: Done): void {
    this.#writing.write(items.map((item) => item.chunk), done)
  }

  override _final(done: Done): void {
    this.#writing.end(done)
  }

  /** Resets and stops what has not ended. */
  override _destroy(error: Error | null, done: Done): void {
    this.#writing.cut(error)
    this.#reading.end(error)
    done(error)
  }
}

class ReadFace implements Reader {
  readonly #half: ReceiveHalf
  readonly #stream: Loose<Readable>
  /** The stream asked for bytes and has not said enough. */
  #wanting = false
  #ended = false

  constructor(half: ReceiveHalf, stream: Loose<Readable>) {
    this.#half = half
    this.#stream = stream
  }

  /** The stream is there and can be told. */
  start(): void {
    this.#half.attach(this)
    this.notify()
  }

  read(): void {
    this.#setWanting(true)
    this.notify()
  }

  /** Stops what has not ended. */
  end(error: Error | null): void {
    const half = this.#half
    if (half.state === 'open') half.stop(codeOf(half.host, error, 'read'))
  }

  notify(): void {
    const stream = this.#stream.face
    if (stream === undefined || stream.destroyed) return
    while (this.#wanting && this.#half.waiting) {
      // Pushing may ask for more at once, so the flag falls first.
      this.#setWanting(false)
      const piece = this.#half.take()
      if (piece !== null && stream.push(piece)) this.#setWanting(true)
    }
    if (this.#half.error !== null) stream.destroy(this.#half.error)
    else if (this.#half.atEnd && !this.#ended) {
      this.#ended = true
      this.#setWanting(false)
      stream.push(null)
    }
  }

  /** A read that waits keeps its stream. */
  #setWanting(wanting: boolean): void {
    this.#wanting = wanting
    if (wanting) this.#stream.hold()
    else this.#stream.release()
  }
}

class WriteFace {
  readonly #half: SendHalf
  #chunks: readonly Uint8Array[] = []
  #index = 0
  #offset = 0
  #done: Done | null = null

  constructor(half: SendHalf) {
    this.#half = half
  }

  write(chunks: readonly Uint8Array[], done: Done): void {
    this.#chunks = chunks
    this.#index = 0
    this.#offset = 0
    this.#done = done
    this.#goOn()
  }

  end(done: Done): void {
    this.#half.end()
    done(this.#half.state === 'failed' ? this.#half.error : null)
  }

  /** Resets what has not ended. */
  cut(error: Error | null): void {
    const half = this.#half
    if (half.state === 'open') half.reset(codeOf(half.host, error, 'write'))
  }

  #goOn = (): void => {
    const done = this.#done
    if (done === null) return
    try {
      if (!this.#advance()) {
        this.#half.whenRoom(this.#goOn)
        return
      }
    } catch (error) {
      this.#done = null
      return done(error as Error)
    }
    this.#done = null
    this.#chunks = []
    if (this.#half.host.outbox.hasTurnLeft()) done()
    else this.#half.host.outbox.nextTurn(done)
  }

  /** Writes on; true when all chunks are accepted. */
  #advance(): boolean {
    for (; this.#index < this.#chunks.length; this.#index++) {
      const chunk = this.#chunks[this.#index]
      if (chunk === undefined) break
      this.#offset += this.#half.write(chunk, this.#offset)
      if (this.#offset < chunk.length) return false
      this.#offset = 0
    }
    return true
  }
}
