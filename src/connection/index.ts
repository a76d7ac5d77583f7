/** Connections: their life, their streams, and what they tell. */
export { bookOf } from './book.ts'
export type { StreamBook } from './book.ts'
export { Connection } from './connection.ts'
export type { ConnectionOrigin, ConnectionOwner, SessionPlace } from './origin.ts'
export type {
  BufferFacts, CloseInfo, ConnectionEvent, ConnectionStatistics, Explanation, HandshakeEvent, HandshakeInfo, MultipathMode, Pong,
} from './facts.ts'
