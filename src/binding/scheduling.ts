/** What crosses for schedulers of the user's: their view and their answers, as JSON. Part of the N-API contract. */

/** What a scheduler of the user's sees. Paths that can carry data, by rising id. */
export interface NativeSchedulerView {
  nowMs: number
  paths: {
    id: number; status: 'available' | 'backup'; peerStatus: 'available' | 'backup' | 'unknown'; suspect: boolean
    smoothedRttMs: number; rttvarMs: number; congestionWindowBytes: number; bytesInFlight: number; roomBytes: number
    deliveryRateBitsPerSec: number; lossRate: number; weight: number
  }[]
  queuedBytes: number
  connectionCreditBytes: number
  retransmitBytes: number
}

/** Checked here: ids of paths in use, at most 256 pins. */
export interface NativePlan {
  order: number[]
  /** `[path, weight]`; none: the order counts. */
  weights: [number, number][]
  duplicateOn: number[]
  /** `[stream, path]`. */
  pins: [number, number][]
  reinjectAfterMs: number | null
  reason: string
}

/** For one burst. */
export type NativePick = { path: number; duplicateOn: number[]; reason: string } | { waitMs: number; reason: string } | { fallback: string }
