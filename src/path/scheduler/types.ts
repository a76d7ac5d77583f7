/** What a scheduler of the user's sees and what it answers (api 2.5). Types only. */
import type { PathStatus } from '../../config/index.ts'

/** One path that can carry data. */
export interface SchedulerPath {
  id: number
  status: PathStatus
  peerStatus: PathStatus | 'unknown'
  /** silent for a PTO: no new data while another path lives */
  suspect: boolean
  smoothedRttMs: number
  rttvarMs: number
  congestionWindowBytes: number
  bytesInFlight: number
  /** window and pacing left now */
  roomBytes: number
  /** until measured: window / RTT */
  deliveryRateBitsPerSec: number
  /** packets lost of packets sent so far, 0 ... 1 */
  lossRate: number
  weight: number
}

export interface SchedulerView {
  /** on the endpoint's clock */
  nowMs: number
  /** open ones, by rising id */
  paths: readonly SchedulerPath[]
  /** stream bytes that wait to be sent, for the first time or again */
  queuedBytes: number
  /** fresh bytes that the peer's flow control allows */
  connectionCreditBytes: number
  /** of `queuedBytes`, those that are sent again */
  retransmitBytes: number
}

export interface SchedulerPlan {
  /** First with room sends; ids left out send no data. */
  order: readonly number[]
  /** Shares instead of the order, 0.001 ... 1000 each; ids left out send no data. */
  weights?: Readonly<Record<number, number>>
  /** Copy all data on these. */
  duplicateOn?: readonly number[]
  /** For as long as the plan holds; `stream.pin()` goes before it. At most 256. */
  pins?: readonly { stream: bigint; path: number }[]
  /** Copy unacknowledged data older than this to another path. */
  reinjectAfterMs?: number
  /** Shown by `explain()` and `bursts.trace$`. */
  reason: string
}

/** For one burst. A path without room: nothing is sent until it has some. */
export type SchedulerPick = { path: number; duplicateOn?: readonly number[]; reason: string } | { waitMs: number; reason: string }

/**
 * `plan` runs once before the first data, then at RTT pace while there is data and on path events, at most 200 times a second. `pick` runs for
 * every data burst in simulated worlds, and wins there. Both look at their view and nothing else. What throws or makes no sense changes
 * nothing: the plan before goes on, a burst without a pick goes by `min-rtt`, and `callback-failed` tells, at most once a second.
 */
export interface Scheduler {
  name: string
  /** On real sockets it is needed: QB_SCHEDULER_NO_PLAN. */
  plan?(view: SchedulerView): SchedulerPlan
  pick?(view: SchedulerView): SchedulerPick
}
