/** What connections tell: the shapes of ends, events, handshakes, numbers and explanations. Types only. */
import type { BlockReason, PacketType, Signal } from '../binding/index.ts'
import type { HandshakeMode } from '../config/index.ts'
import type { ConnectionError } from '../errors/index.ts'

export interface CloseInfo {
  by: 'local' | 'peer' | 'timeout' | 'reset'
  layer: 'application' | 'transport'
  errorCode: bigint
  codeName: string
  reason: string
  path: number | null
  /** null: an orderly end (code 0 or our own `close`) */
  error: ConnectionError | null
}

/** Answer to `ping()`. */
export interface Pong {
  /** Without the delay that the peer owned up to. */
  rttMs: number
  /** The path that answered. */
  path: number
}

export type MultipathMode = 'pending' | 'ietf' | 'shared-space' | 'none'

export interface HandshakeInfo {
  ms: number
  alpn: string
  cipher: string
  version: 'v1' | 'v2'
  resumed: boolean
  retry: boolean
  multipath: MultipathMode
  mode: HandshakeMode
  winner: { local: string; remote: string }
  datagramsSent: number
  datagramsReceived: number
  /** datagrams with more than one packet, sent */
  coalesced: number
}

/** One step of a handshake. `attempt`: the address pair's place in the order given, from 0. */
export type HandshakeEvent = { atMs: number } & (
  | { type: 'attempt' | 'first-answer' | 'locked' | 'unlocked' | 'muted' | 'failed'; attempt: number; local: string; remote: string; reason: string }
  | { type: 'flight'; attempt: number; datagrams: number; bytes: number; packets: readonly PacketType[] }
  | { type: 'retry' | 'version-negotiation' | 'tls-finished' | 'complete' | 'confirmed' | 'early-accepted' | 'early-rejected'; detail: string }
  | { type: 'path-usable'; path: number }
)

export type ConnectionEvent = { atMs: number } & (
  | { type: 'opened' | 'confirmed' | 'key-update' | 'early-rejected' | 'session-stored' | 'token-stored' }
  | { type: 'multipath'; mode: MultipathMode; /** e.g. 'peer did not offer' */ reason: string }
  | { type: 'stream'; id: bigint; direction: 'bidi' | 'uni'; initiated: 'local' | 'peer' }
  /** Nobody held its handle any more: what had not ended was reset and stopped with `code`. */
  | { type: 'stream-dropped'; id: bigint; code: bigint }
  | { type: 'blocked'; by: 'streams-bidi' | 'streams-uni' | 'connection-credit' | 'path-ids' | 'path-cids' }
  | { type: 'peer-address-observed'; path: number; address: string }
  | { type: 'callback-failed'; callback: string; error: unknown }
  | { type: 'closing'; info: CloseInfo }
)

/** Pool use and what stood still, for how long (mux R14, R61). */
export interface BufferFacts {
  /** Bytes received and not read, and the buffers of bytes not acknowledged. */
  usedBytes: number
  /** It stands in the pool's line: for memory to send with, or for a larger window. */
  waiting: boolean
  /** Milliseconds so far, by reason; as of the last event of the connection. */
  blockedMs: Readonly<Record<BlockReason, number>>
}

export interface ConnectionStatistics {
  bytesSent: number
  bytesReceived: number
  streamBytesSent: number
  streamBytesReceived: number
  datagramsSent: number
  datagramsReceived: number
  packetsSent: number
  packetsReceived: number
  packetsLost: number
  packetsSpuriouslyLost: number
  bytesReinjected: number
  bytesInFlight: number
  streamsOpen: number
  streamsOpened: number
  paths: number
  bursts: number
  segments: number
  keyUpdates: number
  /** longest time without a new stream byte received while a peer stream was unfinished, or without one acknowledged while some waited */
  maxStallMs: number
  eventsDropped: number
}

export interface Explanation {
  lines: readonly string[]
  paths: readonly { id: number; blocked: readonly Signal[]; wakeAtMs: number | null; timer: string | null; reason: string }[]
  /** Readable prose, one line a fact. */
  toString(): string
}
