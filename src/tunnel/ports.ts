/**
 * Pseudo-ports of client tunnels (tunnel.md T9): given out from 1 upwards, next fit, wrapping. One that came back rests, since datagrams of
 * its tunnel may still be under way.
 */

const LAST = 65_535
/** How long a port rests. */
const REST_MS = 3000

export class PortBook {
  readonly #used = new Set<number>()
  /** Until when a port rests; in the order in which they came back. */
  readonly #resting = new Map<number, number>()
  #next = 1

  /** A tunnel has it. */
  owns(port: number): boolean {
    return this.#used.has(port)
  }

  /** Null: all are in use or rest. */
  take(nowMs: number): number | null {
    for (const [port, until] of this.#resting) {
      if (until > nowMs) break
      this.#resting.delete(port)
    }
    if (this.#used.size + this.#resting.size >= LAST) return null
    let port = this.#next
    while (this.#used.has(port) || this.#resting.has(port)) port = following(port)
    this.#next = following(port)
    this.#used.add(port)
    return port
  }

  giveBack(port: number, nowMs: number): void {
    if (!this.#used.delete(port)) return
    this.#resting.set(port, nowMs + REST_MS)
  }
}

function following(port: number): number {
  return port === LAST ? 1 : port + 1
}
