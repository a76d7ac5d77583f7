/** Tells when something has been silent for too long. A sign of life costs nothing but a number. */
import type { Cancel, Timing } from '../config/index.ts'

export class Idle {
  readonly #timing: Timing
  readonly #now: () => number
  readonly #ms: number
  readonly #onIdle: () => void
  #lastMs: number
  #stop: Cancel = () => {}

  constructor(timing: Timing, now: () => number, ms: number, onIdle: () => void) {
    this.#timing = timing
    this.#now = now
    this.#ms = ms
    this.#onIdle = onIdle
    this.#lastMs = now()
    this.#watch(ms)
  }

  /** When it was heard of last. */
  get lastMs(): number {
    return this.#lastMs
  }

  touch(): void {
    this.#lastMs = this.#now()
  }

  stop(): void {
    this.#stop()
  }

  #watch(ms: number): void {
    this.#stop = this.#timing.after(ms, () => {
      const left = this.#lastMs + this.#ms - this.#now()
      if (left > 0) this.#watch(left)
      else this.#onIdle()
    })
  }
}
