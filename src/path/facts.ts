/** What paths tell: their state, their numbers, what happened to them. Types only. */
import type { PathStatus } from '../config/index.ts'

export interface PathFacts {
  state: 'opening' | 'validating' | 'open' | 'abandoning' | 'abandoned'
  /** silent for a PTO: no new data */
  suspect: boolean
  status: PathStatus
  peerStatus: PathStatus | 'unknown'
  /** who, which code, which timer */
  reason: string
  atMs: number
}

export interface PathMetrics {
  latestRttMs: number
  smoothedRttMs: number
  rttvarMs: number
  minRttMs: number
  ptoCount: number
  congestionWindowBytes: number
  ssthreshBytes: number
  bytesInFlight: number
  pacingRateBitsPerSec: number
  deliveryRateBitsPerSec: number
  mtuBytes: number
  ecn: 'testing' | 'capable' | 'failed'
  /** Infinity once validated */
  amplificationCreditBytes: number
  bytesSent: number
  bytesReceived: number
  packetsSent: number
  packetsReceived: number
  packetsLost: number
  bytesReinjected: number
  bursts: number
  segments: number
  lastReceivedAtMs: number
  sendErrors: number
  /** Its share under `weighted`. */
  weight: number
}

export type PathEvent = { atMs: number; path: number; reason: string } & (
  | { type: 'opening' | 'validated' | 'suspect' | 'recovered' | 'abandoning' | 'abandoned'; by: 'local' | 'peer' | 'timer' }
  | { type: 'waiting'; for: 'handshake' | 'peer-cids' | 'path-id-limit' | 'socket' }
  | { type: 'status'; by: 'local' | 'peer'; status: PathStatus }
  /** 'rebound': the network did it, or the path is back. 'migrated': one end wanted it. 'migration-failed': nobody answered at these addresses. */
  | { type: 'rebound' | 'migrated' | 'migration-failed'; by: 'local' | 'peer' | 'timer'; local: string; remote: string }
  /** 'ENETUNREACH', 'EHOSTUNREACH', 'EPERM', 'ECONNREFUSED' ..., else 'unknown'; the first at once, then at most one a second */
  | { type: 'send-error'; errno: string }
  | { type: 'mtu'; mtuBytes: number }
)
