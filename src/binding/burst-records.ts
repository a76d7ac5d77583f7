/** What the engine tells of bursts (TRACE records, `plan`): the public records of `bursts.trace$`, as they cross. */
import type { Signal } from './numbers.ts'

export type PacketType = 'initial' | '0rtt' | 'handshake' | '1rtt'
export type Ecn = 'not-ect' | 'ect0' | 'ect1' | 'ce'

export interface PacketRecord {
  type: PacketType
  number: number
  bytes: number
  paddingBytes: number
  ackEliciting: boolean
  inFlight: boolean
  /** frame names in order, e.g. 'CRYPTO' */
  frames: readonly string[]
}

export interface SegmentRecord {
  bytes: number
  forwardHeaderBytes: number
  packets: readonly PacketRecord[]
}

export interface BurstRecord {
  kind: 'burst'
  atMs: number
  path: number | null
  local: string
  remote: string
  segmentBytes: number
  segments: readonly SegmentRecord[]
  bytes: number
  ecn: Ecn
  /** segments the socket took (B-7) */
  submitted: number
  /** the scheduler's words */
  reason: string
  /** what ended it: 'full' | 'short-segment' | a signal */
  endedBy: string
}

export interface BlockedRecord {
  kind: 'blocked'
  atMs: number
  path: number | null
  signals: readonly Signal[]
  wakeAtMs: number | null
  timer: string | null
}
