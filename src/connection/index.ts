/** Connections: their life, their streams, and what they tell. */
export { Connection } from './connection.ts'
export type { ConnectionOrigin, ConnectionOwner, SessionPlace } from './origin.ts'
export type {
  BufferFacts, CloseInfo, ConnectionEvent, ConnectionStatistics, Explanation, HandshakeEvent, HandshakeInfo, MultipathMode, Pong,
} from './facts.ts'
