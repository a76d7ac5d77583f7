/**
 * Notices that a busy connection has gone silent, be it the end that sends or the one that only receives: perhaps a NAT has forgotten us
 * (traversal T-36). Looks once a second at what the paths have received; never decides what is wrong.
 */
import type { Cancel, Timing } from '../config/index.ts'
import type { PathSet } from '../path/index.ts'

const GLANCE_MS = 1000
/** Received between two glances by a connection that does something; keep-alives are less. */
const BUSY_BYTES = 1000
/** Glances without a byte after which it is told; later the keep-alives notice. */
const TOLD_AFTER = [1, 4]

/** Calls `onSilence` at most twice for each silence. Answers how to stop. */
export function watchSilence(paths: PathSet, timing: Timing, onSilence: () => void): Cancel {
  let received = 0
  let quiet = Infinity
  return timing.every(GLANCE_MS, () => {
    const now = [...paths].reduce((sum, path) => sum + path.statistics().bytesReceived, 0)
    // A path that has gone takes its number along.
    const fresh = now - received
    received = now
    if (fresh >= BUSY_BYTES) quiet = 0
    else if (fresh === 0) {
      quiet += 1
      if (TOLD_AFTER.includes(quiet)) onSilence()
    }
  })
}
