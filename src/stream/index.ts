/** Streams: their parts, their faces (Web Streams, node:stream, batches), and their table in a connection. */
export type { Loan } from './borrow.ts'
export { openingOf, priorityWord } from './priority.ts'
export type { Opening, StreamOptions } from './priority.ts'
export type { StreamHost } from './host.ts'
export { StreamState } from './state.ts'
export { BidirectionalStream, ReceiveStream, SendStream } from './stream.ts'
export type { StreamBase } from './stream.ts'
export type { ReceivePart, SendPart } from './parts.ts'
