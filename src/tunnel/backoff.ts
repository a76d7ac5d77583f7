/** Pauses between attempts: each longer than the one before, up to a limit, a part of each by chance (tunnel.md T61). */
import type { Reconnect } from './options.ts'

export class Backoff {
  readonly #options: Required<Reconnect>
  readonly #random: () => number
  #failures = 0

  /** `random` in 0...1. */
  constructor(options: Required<Reconnect>, random: () => number) {
    this.#options = options
    this.#random = random
  }

  /** The pause before the next attempt, ms; null: there is none. */
  next(): number | null {
    const { minMs, maxMs, factor, jitter, attempts } = this.#options
    if (this.#failures >= attempts) return null
    const ms = Math.min(maxMs, minMs * factor ** this.#failures)
    this.#failures += 1
    return ms * (1 + jitter * (2 * this.#random() - 1))
  }

  /** It worked. */
  reset(): void {
    this.#failures = 0
  }
}
