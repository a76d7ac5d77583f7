/** Rates of paths from counters that come about ten times a second. Pure: time is an argument. */

/** Counters are compared with those of about half a second before. */
const SPAN_MS = 500

export class Rates {
  readonly #samples: { atMs: number; bytes: ReadonlyMap<number, number> }[] = []

  /** Received bytes by path id. */
  add(atMs: number, bytes: ReadonlyMap<number, number>): void {
    this.#samples.push({ atMs, bytes })
    while ((this.#samples[1]?.atMs ?? Infinity) <= atMs - SPAN_MS) this.#samples.shift()
  }

  /** Bits per second by path id. */
  now(): Map<number, number> {
    const first = this.#samples[0]
    const last = this.#samples.at(-1)
    const rates = new Map<number, number>()
    if (first === undefined || last === undefined || last.atMs <= first.atMs) return rates
    for (const [path, bytes] of last.bytes) rates.set(path, ((bytes - (first.bytes.get(path) ?? 0)) * 8000) / (last.atMs - first.atMs))
    return rates
  }
}
