/**
 * When an address pair may be opened again: at once the first time, then after 1, 2, 4 … 60 s, until a path there has lived for 10 s. So
 * a pair that fails, or that opens and dies, costs a few packets a minute. Called by the runner. Reads no clock.
 */

const FIRST_MS = 1000
const MOST_MS = 60_000
/** A path that lived so long was no failure. */
const STEADY_MS = 10_000
/** Pairs remembered; beyond, the one tried longest ago is forgotten. */
export const MAX_PAIRS = 64

interface Entry {
  tries: number
  notBeforeMs: number
  openedAtMs: number | null
  /** why the last one failed, for people */
  reason: string
}

export class OpenBackOff {
  readonly #entries = new Map<string, Entry>()

  /** Milliseconds until `pair` may be opened; 0: now. */
  wait(pair: string, nowMs: number): number {
    return Math.max(0, (this.#entries.get(pair)?.notBeforeMs ?? 0) - nowMs)
  }

  /** An open of the pair begins. */
  onTry(pair: string, nowMs: number): void {
    const tries = (this.#entries.get(pair)?.tries ?? 0) + 1
    // Moved to the end: the order is that of the last try.
    this.#entries.delete(pair)
    this.#entries.set(pair, { tries, notBeforeMs: nowMs + Math.min(MOST_MS, FIRST_MS * 2 ** (tries - 1)), openedAtMs: null, reason: '' })
    const [oldest] = this.#entries.keys()
    if (this.#entries.size > MAX_PAIRS && oldest !== undefined) this.#entries.delete(oldest)
  }

  onOpened(pair: string, nowMs: number): void {
    const entry = this.#entries.get(pair)
    if (entry !== undefined) entry.openedAtMs = nowMs
  }

  onFailed(pair: string, reason: string): void {
    const entry = this.#entries.get(pair)
    if (entry !== undefined) entry.reason = reason
  }

  /** Looks which of the paths that were opened here have ended. `isAlive`: by pair. */
  settle(isAlive: (pair: string) => boolean, nowMs: number): void {
    for (const [pair, entry] of this.#entries) {
      if (entry.openedAtMs === null || isAlive(pair)) continue
      if (nowMs - entry.openedAtMs >= STEADY_MS) this.#entries.delete(pair)
      else {
        entry.openedAtMs = null
        entry.reason = 'it ended soon after it was open'
      }
    }
  }

  /** Pairs that wait, longest tried first, and for how long. */
  waiting(nowMs: number): { pair: string; ms: number; reason: string }[] {
    return [...this.#entries].filter(([, { openedAtMs, notBeforeMs }]) => openedAtMs === null && notBeforeMs > nowMs).map(([pair, { notBeforeMs, reason }]) => ({ pair, ms: notBeforeMs - nowMs, reason }))
  }
}
