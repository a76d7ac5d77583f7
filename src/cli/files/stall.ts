/** The longest silence of a transfer as its receiver sees it: between two arrivals of new in-order bytes, first to last byte. */

export class StallClock {
  #lastMs: number | null = null
  #longestMs = 0

  /** New bytes were read at this time. */
  onBytes(atMs: number): void {
    if (this.#lastMs !== null) this.#longestMs = Math.max(this.#longestMs, atMs - this.#lastMs)
    this.#lastMs = atMs
  }

  /** 0 while fewer than two pieces have arrived. */
  get longestMs(): number {
    return this.#longestMs
  }
}
