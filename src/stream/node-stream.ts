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
/** Whatever the caller's options say: these are streams of bytes. */
const BYTES = { objectMode: false, readableObjectMode: false, writableObjectMode: false, decodeStrings: true }

export function nodeReadable(half: ReceiveHalf, options: DuplexOptions): Readable {
  const reading = new ReadFace(half)
  const own = { ...BYTES, ...readMethods(reading), destroy: destroyBy(null, half) }
  return reading.start(new Readable({ highWaterMark: HIGH_WATER_BYTES, ...(options as ReadableOptions), ...own }))
}

export function nodeWritable(half: SendHalf, options: DuplexOptions): Writable {
  const own = { ...BYTES, ...writeMethods(new WriteFace(half)), destroy: destroyBy(half, null) }
  const stream = new Writable({ highWaterMark: HIGH_WATER_BYTES, ...(options as WritableOptions), ...own })
  const loose = new Loose(stream, half.host.watchesHandles)
  half.onFailure = (error) => void loose.face?.destroy(error)
  return stream
}

export function nodeDuplex(sending: SendHalf, receiving: ReceiveHalf, options: DuplexOptions): Duplex {
  const reading = new ReadFace(receiving)
  const marks = { readableHighWaterMark: HIGH_WATER_BYTES, writableHighWaterMark: HIGH_WATER_BYTES }
  const own = { ...BYTES, ...readMethods(reading), ...writeMethods(new WriteFace(sending)), destroy: destroyBy(sending, receiving) }
  const stream = new Duplex({ ...marks, ...options, ...own })
  const loose = new Loose(stream, sending.host.watchesHandles)
  // While there is something to read a failed sending part is told to the next write; after that it is all there is.
  sending.onFailure = (error) => {
    if (receiving.state !== 'open') loose.face?.destroy(error)
  }
  return reading.start(stream)
}

function readMethods(face: ReadFace): { read(): void } {
  return { read: () => face.read() }
}

interface WriteMethods {
  write(chunk: Buffer, encoding: BufferEncoding, done: Done): void
  writev(items: { chunk: Buffer }[], done: Done): void
  final(done: Done): void
}

function writeMethods(face: WriteFace): WriteMethods {
  return {
    write: (chunk, _encoding, done) => face.write([chunk], done),
    writev: (items, done) => face.write(items.map((item) => item.chunk), done),
    final: (done) => face.end(done),
  }
}

/** Resets and stops what has not ended. */
function destroyBy(sending: SendHalf | null, receiving: ReceiveHalf | null): (error: Error | null, done: (error?: Error | null) => void) => void {
  return (error, done) => {
    if (sending?.state === 'open') sending.reset(codeOf(sending.host, error, 'write'))
    if (receiving?.state === 'open') receiving.stop(codeOf(receiving.host, error, 'read'))
    done(error)
  }
}

class ReadFace implements Reader {
  readonly #half: ReceiveHalf
  #stream: Loose<Readable> | null = null
  /** The stream asked for bytes and has not said enough. */
  #wanting = false
  #ended = false

  constructor(half: ReceiveHalf) {
    this.#half = half
  }

  start<T extends Readable>(stream: T): T {
    this.#stream = new Loose<Readable>(stream, this.#half.host.watchesHandles)
    this.#half.attach(this)
    this.notify()
    return stream
  }

  read(): void {
    this.#setWanting(true)
    this.notify()
  }

  notify(): void {
    const stream = this.#stream?.face
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
    if (wanting) this.#stream?.hold()
    else this.#stream?.release()
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
