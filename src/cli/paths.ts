/**
 * What each path of a connection carried: every path that ever was is remembered, with its last known numbers, so that a
 * summary also names paths that are gone. Reads the public API only.
 */
import type { Connection, Path, PathMetrics } from '../index.ts'
import { nowMs } from './clock.ts'

/** One element of `PATHS` in `--json` (api section 4). */
export interface PathReport {
  id: number
  local: string
  remote: string
  status: string
  bytesSent: number
  bytesReceived: number
  rttMs: number
  minRttMs: number
  lost: number
  bytesReinjected: number
  bursts: number
  segmentsPerBurst: number
  state: string
  reason: string
}

/** With what only progress needs. */
export interface LivePath {
  report: PathReport
  /** Between the two last samples. */
  rateBitsPerSec: number
}

interface Entry {
  path: Path
  metrics: PathMetrics
  /** Of the last `sample`. */
  atMs: number
  bytes: number
  rateBitsPerSec: number
}

type Direction = 'bytesReceived' | 'bytesSent' | 'both'

export class PathLedger {
  readonly #entries = new Map<number, Entry>()
  readonly #direction: Direction
  readonly #subscription: { unsubscribe(): void }

  /** `direction`: whose rate counts, `bytesReceived` for who downloads. */
  constructor(connection: Connection, direction: Direction) {
    this.#direction = direction
    this.#subscription = connection.paths.all$.subscribe((paths) => {
      for (const path of paths) this.#know(path)
    })
  }

  /** Reads all numbers; rates are over the time since the sample before. */
  sample(): void {
    for (const entry of this.#entries.values()) {
      const metrics = entry.path.statistics()
      // A path that is gone may answer zeros: its last numbers stay.
      if (metrics.packetsSent + metrics.packetsReceived < entry.metrics.packetsSent + entry.metrics.packetsReceived) continue
      const atMs = nowMs()
      const bytes = counted(metrics, this.#direction)
      if (atMs - entry.atMs >= 50) {
        entry.rateBitsPerSec = ((bytes - entry.bytes) * 8000) / (atMs - entry.atMs)
        entry.atMs = atMs
        entry.bytes = bytes
      }
      entry.metrics = metrics
    }
  }

  /** Ordered by path id; takes a sample first. */
  live(): LivePath[] {
    this.sample()
    return [...this.#entries.values()].sort((a, b) => a.path.id - b.path.id).map((entry) => ({ report: reportOf(entry), rateBitsPerSec: entry.rateBitsPerSec }))
  }

  /** The same without rates. */
  report(): PathReport[] {
    return this.live().map(({ report }) => report)
  }

  stop(): void {
    this.sample()
    this.#subscription.unsubscribe()
  }

  #know(path: Path): void {
    if (this.#entries.has(path.id)) return
    this.#entries.set(path.id, { path, metrics: path.statistics(), atMs: nowMs(), bytes: counted(path.statistics(), this.#direction), rateBitsPerSec: 0 })
  }
}

function counted(metrics: PathMetrics, direction: Direction): number {
  return direction === 'both' ? metrics.bytesSent + metrics.bytesReceived : metrics[direction]
}

function reportOf({ path, metrics }: Entry): PathReport {
  const { state, status, reason } = path.facts
  return {
    id: path.id, local: path.local, remote: path.remote, status,
    bytesSent: metrics.bytesSent, bytesReceived: metrics.bytesReceived,
    rttMs: rounded(metrics.smoothedRttMs), minRttMs: rounded(metrics.minRttMs), lost: metrics.packetsLost, bytesReinjected: metrics.bytesReinjected,
    bursts: metrics.bursts, segmentsPerBurst: metrics.bursts === 0 ? 0 : rounded(metrics.segments / metrics.bursts),
    state, reason,
  }
}

/** To a thousandth. */
export function rounded(value: number): number {
  return Math.round(value * 1000) / 1000
}
