/**
 * Answers `hq-interop` requests of connections with files. Reports each request when it is over. Knows
 * nothing of terminals; `serve` and the demo use it.
 */
import type { BidirectionalStream, Connection } from '../../index.ts'
import { nowMs, within } from '../clock.ts'
import type { LocatedFile } from './locate.ts'
import { FORBIDDEN, MAX_REQUEST_BYTES, NOT_FOUND, readRequest } from './request.ts'
import type { Request } from './request.ts'

/** Read from the disk at once; also what one `write` offers. */
const PIECE_BYTES = 262_144
/** A stream that asks for nothing so long is reset. */
const REQUEST_LIMIT_MS = 10_000

export interface RequestReport {
  method: string
  path: string
  /** Of the file, accepted by the stream. */
  bytes: number
  ms: number
  /** Everything was acknowledged by the client. */
  ok: boolean
  /** Why not; empty if ok. */
  reason: string
}

export class FileServer {
  readonly #open: (path: string) => Promise<LocatedFile | null>
  readonly #onRequest: (connection: Connection, report: RequestReport) => void
  readonly #running = new Set<Promise<void>>()

  /** `open` answers the file that a request's path means, or null for every reason not to. */
  constructor(open: (path: string) => Promise<LocatedFile | null>, onRequest: (connection: Connection, report: RequestReport) => void) {
    this.#open = open
    this.#onRequest = onRequest
  }

  /** Serves until the connection ends or the signal aborts; never rejects. */
  async serve(connection: Connection, signal: AbortSignal): Promise<void> {
    try {
      for await (const stream of connection.incomingBidirectional({ signal })) {
        const answering = this.#answer(connection, stream).finally(() => this.#running.delete(answering))
        this.#running.add(answering)
      }
    } catch {
      // The end of the connection, or of the server.
    }
  }

  /** Requests that are being answered. */
  get active(): number {
    return this.#running.size
  }

  /** Resolves when no request is being answered. */
  async idle(): Promise<void> {
    await Promise.all(this.#running)
  }

  async #answer(connection: Connection, stream: BidirectionalStream): Promise<void> {
    const startedMs = nowMs()
    const report = (request: Request | null, bytes: number, reason: string): void => {
      this.#onRequest(connection, { method: request?.method ?? '-', path: request?.path ?? '-', bytes, ms: nowMs() - startedMs, ok: reason === '', reason })
    }
    let request: Request | null = null
    const sent = { bytes: 0 }
    try {
      request = await readRequestLine(stream)
      if (request === null || request.method !== 'GET') {
        refuse(stream, FORBIDDEN)
        return report(request, 0, 'not a GET request')
      }
      const file = await this.#open(request.path)
      if (file === null) {
        refuse(stream, NOT_FOUND)
        return report(request, 0, 'no such file')
      }
      await sendFile(stream, file, sent)
      return report(request, sent.bytes, '')
    } catch (error) {
      refuse(stream)
      return report(request, sent.bytes, error instanceof Error ? error.message : String(error))
    }
  }
}

async function readRequestLine(stream: BidirectionalStream): Promise<Request | null> {
  const reading = async (): Promise<Request | null> => {
    const pieces: Uint8Array[] = []
    let bytes = 0
    for await (const batch of stream) {
      for (const piece of batch) {
        pieces.push(piece)
        bytes += piece.length
        if (bytes > MAX_REQUEST_BYTES) return null
        if (piece.includes(0x0a)) return readRequest(lineOf(Buffer.concat(pieces)))
      }
    }
    return readRequest(Buffer.concat(pieces))
  }
  return within(REQUEST_LIMIT_MS, reading(), () => new Error('no request within 10 s'))
}

/** Up to the first line feed; what follows belongs to methods that we do not have. */
function lineOf(bytes: Buffer): Buffer {
  return bytes.subarray(0, bytes.indexOf(0x0a) + 1)
}

/** Two buffers in turn: the next piece is read while one is being accepted. `sent` counts as it goes. */
async function sendFile(stream: BidirectionalStream, file: LocatedFile, sent: { bytes: number }): Promise<void> {
  try {
    const buffers = [Buffer.allocUnsafeSlow(PIECE_BYTES), Buffer.allocUnsafeSlow(PIECE_BYTES)]
    const read = (turn: number): Promise<Buffer> => readPiece(file, buffers[turn % 2] as Buffer)
    let next = read(0)
    for (let turn = 1; ; turn++) {
      const piece = await next
      if (piece.length === 0) break
      next = read(turn)
      next.catch(() => undefined) // seen by the await of the next turn
      for (let at = 0; at < piece.length; ) {
        const accepted = stream.write(piece.subarray(at))
        at += accepted
        sent.bytes += accepted
        if (at < piece.length) await stream.ready()
      }
    }
    if (sent.bytes < file.bytes) throw new Error('the file became shorter while it was sent')
    stream.end()
    await stream.finished
  } finally {
    await file.handle.close()
  }
}

async function readPiece(file: LocatedFile, buffer: Buffer): Promise<Buffer> {
  const { bytesRead } = await file.handle.read(buffer, 0, buffer.length)
  return buffer.subarray(0, bytesRead)
}

/** Ends both parts with a code (default: the stream's own for "cancelled"); harmless when they have ended. */
function refuse(stream: BidirectionalStream, code?: number): void {
  stream.reset(code)
  stream.stop(code)
}
