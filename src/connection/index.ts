/** Connections: their life, their streams, and what they tell. */
export { Connection } from './connection.ts'
export type { ConnectionOrigin, ConnectionOwner, SessionPlace } from './connection.ts'
export type {
  CloseInfo, ConnectionEvent, ConnectionStatistics, Explanation, HandshakeEvent, HandshakeInfo, MultipathMode,
} from './facts.ts'
