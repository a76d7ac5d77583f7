/**
 * One file from a server: asked for on a stream of its own, hashed as it arrives, written to `NAME.part` and renamed when
 * complete. A failure leaves no file. Knows nothing of terminals; `get` and the demo use it.
 */
import { createHash } from 'node:crypto'
import { open, rename, rm } from 'node:fs/promises'
import type { Connection } from '../../index.ts'
import { nowMs } from '../clock.ts'
import { CommandError, Exit } from '../exit.ts'
import { FORBIDDEN, NOT_FOUND, writeRequest } from './request.ts'
import type { StallClock } from './stall.ts'

/** Bytes that may wait for the disk before reading stops. */
const QUEUE_BYTES = 8 * 1024 * 1024

/** Where the bytes go. */
export interface Target {
  /** Takes the pieces in order; awaited before more than `QUEUE_BYTES` are taken. */
  write(pieces: readonly Uint8Array[]): Promise<void>
  /** All bytes are there. */
  complete(): Promise<void>
  /** They will not be: leave nothing. */
  abandon(): Promise<void>
}

export interface Download {
  connection: Connection
  /** As given by the user, for messages. */
  url: string
  /** Percent-encoded. */
  path: string
  target: Target
  /** Shared by all downloads that count as one transfer. */
  stall: StallClock
  /** Told of each arrival; `bytes` are those of this download so far. */
  onBytes?: (bytes: number, added: number) => void
  /** Hex; anything else that arrives is a failure. */
  sha256?: string | null
  signal?: AbortSignal
}

export interface Downloaded {
  bytes: number
  /** Hex. */
  sha256: string
  ms: number
}

/** @throws CommandError with exit 5 for a missing file or a wrong hash; what streams and files throw */
export async function download(job: Download): Promise<Downloaded> {
  const startedMs = nowMs()
  const waiting = job.signal === undefined ? {} : { signal: job.signal }
  try {
    const stream = await job.connection.openBidirectional(waiting)
    const onAbort = (): void => stream.destroy()
    job.signal?.addEventListener('abort', onAbort, { once: true })
    try {
      stream.write(writeRequest(job.path))
      stream.end()
      const result = await receive(stream, job)
      job.signal?.throwIfAborted()
      await job.target.complete()
      return { ...result, ms: nowMs() - startedMs }
    } finally {
      job.signal?.removeEventListener('abort', onAbort)
    }
  } catch (error) {
    await job.target.abandon()
    job.signal?.throwIfAborted()
    throw named(error, job.url)
  }
}

async function receive(stream: AsyncIterable<readonly Uint8Array[]>, job: Download): Promise<{ bytes: number; sha256: string }> {
  const hash = createHash('sha256')
  let bytes = 0
  let queued = 0
  let writing: Promise<void> = Promise.resolve()
  for await (const batch of stream) {
    let added = 0
    for (const piece of batch) added += piece.length
    if (added === 0) continue
    bytes += added
    job.stall.onBytes(nowMs())
    job.onBytes?.(bytes, added)
    for (const piece of batch) hash.update(piece)
    queued += added
    writing = writing.then(() => job.target.write(batch))
    writing.catch(() => undefined) // seen by the await below
    if (queued >= QUEUE_BYTES) {
      await writing
      queued = 0
    }
  }
  await writing
  const sha256 = hash.digest('hex')
  if (job.sha256 !== undefined && job.sha256 !== null && job.sha256 !== sha256) {
    throw new CommandError('QB_RESULT_WRONG', Exit.INCOMPLETE, `${job.url}: SHA-256 is ${sha256}, expected ${job.sha256}; the file was not kept`)
  }
  return { bytes, sha256 }
}

/** What our server's codes mean. */
function named(error: unknown, url: string): unknown {
  const code = typeof error === 'object' && error !== null ? (error as { errorCode?: unknown; code?: unknown }) : {}
  if (code.code !== 'QB_STREAM_RESET' && code.code !== 'QB_STREAM_STOPPED') return error
  const meaning = { [NOT_FOUND]: 'no such file', [FORBIDDEN]: 'not allowed' }[Number(code.errorCode)] ?? `the server reset the stream with code 0x${BigInt(code.errorCode as bigint).toString(16)}`
  return new CommandError(code.code, Exit.INCOMPLETE, `${url}: ${meaning}`, { cause: error })
}

/** `NAME.part`, renamed when complete. @throws errors of the file system */
export async function fileTarget(file: string): Promise<Target> {
  const part = `${file}.part`
  const handle = await open(part, 'w')
  let closed = false
  const close = async (): Promise<void> => {
    if (!closed) await handle.close()
    closed = true
  }
  return {
    async write(pieces) {
      let left = pieces.reduce((sum, piece) => sum + piece.length, 0)
      const { bytesWritten } = await handle.writev(pieces)
      left -= bytesWritten
      if (left > 0) await handle.appendFile(Buffer.concat(pieces).subarray(bytesWritten))
    },
    async complete() {
      await close()
      await rename(part, file)
    },
    async abandon() {
      await close()
      await rm(part, { force: true })
    },
  }
}

/** Standard output, for pipes. What was written cannot be taken back. */
export function outputTarget(output: NodeJS.WritableStream): Target {
  return {
    async write(pieces) {
      for (const piece of pieces) {
        if (!output.write(piece)) await new Promise<void>((resolve) => { output.once('drain', resolve) })
      }
    },
    complete: () => Promise.resolve(),
    abandon: () => Promise.resolve(),
  }
}
