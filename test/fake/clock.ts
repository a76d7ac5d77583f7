/** Virtual time: timers run when a test moves it, in order, with everything that promises make of them. */
import type { Clock } from '../../src/config/index.ts'

interface Timer {
  atMs: number
  order: number
  run: () => void
}

export class FakeClock implements Clock {
  #nowMs = 0
  #order = 0
  readonly #timers = new Map<number, Timer>()

  now(): number {
    return this.#nowMs
  }

  setTimeout(run: () => void, ms: number): unknown {
    const order = (this.#order += 1)
    this.#timers.set(order, { atMs: this.#nowMs + Math.max(0, ms), order, run })
    return order
  }

  clearTimeout(handle: unknown): void {
    this.#timers.delete(handle as number)
  }

  /** Timers that wait. */
  get size(): number {
    return this.#timers.size
  }

  async advance(ms: number): Promise<void> {
    const endMs = this.#nowMs + ms
    await settle()
    for (let next = this.#next(endMs); next !== null; next = this.#next(endMs)) {
      this.#timers.delete(next.order)
      this.#nowMs = next.atMs
      next.run()
      await settle()
    }
    this.#nowMs = endMs
  }

  #next(endMs: number): Timer | null {
    let first: Timer | null = null
    for (const timer of this.#timers.values()) {
      if (timer.atMs <= endMs && (first === null || timer.atMs < first.atMs || (timer.atMs === first.atMs && timer.order < first.order))) first = timer
    }
    return first
  }
}

/** Lets chains of promises run out. */
async function settle(): Promise<void> {
  for (let index = 0; index < 12; index++) await Promise.resolve()
}
