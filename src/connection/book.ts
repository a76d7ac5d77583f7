/** What services of this package see of a connection beside the public API: how many streams there are and may be, and whether `peer` was looked at. */
import type { BidirectionalStream } from '../stream/index.ts'
import type { Connection } from './connection.ts'

export interface StreamBook {
  /** If the peer showed a certificate, that was verified. */
  readonly verifies: boolean
  /** Streams of both ends that are not over. */
  readonly open: number
  /** Bidirectional streams that this end has opened since the start. */
  readonly opened: number
  /** Bidirectional streams that this end may open at once. */
  readonly credit: number
  /** A bidirectional stream without options, at once while there is credit; with 'told' the first acknowledgement of its bytes comes to `sayUntilHeard`. @throws the connection's error, the abort reason */
  request(acknowledgement: 'told' | 'untold', signal: AbortSignal | undefined): Promise<BidirectionalStream>
  /** Called when a stream is over, and when there is more credit. One listener. */
  onChange: (() => void) | null
}

const BOOKS = new WeakMap<Connection, StreamBook>()

export function keepBook(connection: Connection, book: StreamBook): void {
  BOOKS.set(connection, book)
}

/** Undefined for what is no connection of this copy of the package. */
export function bookOf(connection: Connection): StreamBook | undefined {
  return BOOKS.get(connection)
}
