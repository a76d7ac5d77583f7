/** Pauses between attempts: each longer than the one before, up to a limit, a part of each by chance. For tunnels, reverse connections, relays and gateways; never waits itself. */

export interface BackoffOptions {
  /** The first pause, ms. */
  readonly minMs: number
  /** Before chance is added, ms. */
  readonly maxMs: number
  /** From each pause to the next. */
  readonly factor: number
  /** Share of a pause that is random, 0...1, both ways. */
  readonly jitter: number
  /** Failures in a row after which there is no other attempt. @default Infinity */
  readonly attempts?: number
}

/** Doubles without chance: for what one host asks of one other. */
export function doubling(minMs: number, maxMs: number): Backoff {
  return new Backoff({ minMs, maxMs, factor: 2, jitter: 0 }, () => 0.5)
}

export class Backoff {
  readonly #options: BackoffOptions
  readonly #random: () => number
  #failures = 0

  /** `random` in 0...1. */
  constructor(options: BackoffOptions, random: () => number) {
    this.#options = options
    this.#random = random
  }

  /** The pause before the next attempt, ms; null: there is none. */
  next(): number | null {
    const { minMs, maxMs, factor, attempts = Infinity } = this.#options
    if (this.#failures >= attempts) return null
    return this.#after(Math.min(maxMs, minMs * factor ** this.#failures))
  }

  /** As `next` where nothing is to be hoped for soon: the longest pause. */
  longest(): number | null {
    const { maxMs, attempts = Infinity } = this.#options
    return this.#failures >= attempts ? null : this.#after(maxMs)
  }

  /** It worked. */
  reset(): void {
    this.#failures = 0
  }

  #after(ms: number): number {
    this.#failures += 1
    return ms * (1 + this.#options.jitter * (2 * this.#random() - 1))
  }
}
