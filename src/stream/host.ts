/** What a stream asks of its connection. The connection implements it; streams never see the engine otherwise. */
import type { Outbox, Slabs, Splice, SpliceSink } from '../binding/index.ts'
import type { StreamCodes } from '../config/index.ts'
import type { Connection } from '../connection/index.ts'

export interface StreamHost {
  readonly connection: Connection
  readonly key: number
  readonly outbox: Outbox
  /** What was drained last lies there. */
  readonly slabs: Slabs
  readonly codes: StreamCodes
  readonly features: ReadonlySet<string>
  /** Unsent bytes a stream may hold. */
  readonly sendBufferBytes: number
  /** A stream whose handle was collected is cut. */
  readonly watchesHandles: boolean
  /** Unsent bytes the connection takes in all, now. */
  room(): number
  /** Joins a TCP connection to a stream, behind what was written to it so far; null: not here. */
  splice(stream: number, descriptor: number, sink: SpliceSink): Splice | null
  /** Bytes were accepted on a stream. */
  accepted(bytes: number): void
  /** Calls `wake` once when the connection has room again or ends. */
  onRoom(wake: () => void): void
  /** Both parts of a stream have ended: it may be forgotten. */
  forget(stream: number): void
  /** The stream is dropped (`StreamState.drop`) when nothing reaches its handle any more. */
  watchHandle(handle: object, stream: number): void
  /** A stream is cut with this code, since nobody holds its handle. */
  dropped(stream: number, code: bigint): void
  /** A callback of the user's threw; the fallback happens. */
  callbackFailed(callback: string, error: unknown): void
}
