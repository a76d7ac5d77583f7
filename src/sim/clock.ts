/**
 * Virtual time of one world: timers in the order of their instant, and of their making where instants are equal. Moves only when the
 * world's loop says so, and knows nothing of real time.
 */
import type { Cancel, Clock, Timing } from '../config/index.ts'

/** Time of day at the start of every world: 2025-01-01. */
const UNIX_MS = 1_735_689_600_000
const NS_PER_MS = 1_000_000

interface Timer {
  /** ns since the start. */
  readonly at: number
  readonly order: number
  readonly run: () => void
  /** False: a world in which nothing else waits has come to its end all the same. */
  readonly counts: boolean
  cancelled: boolean
}

export class VirtualClock implements Clock, Timing {
  /** A heap: no parent is after its children. */
  readonly #heap: Timer[] = []
  readonly #soon: (run: () => void) => void
  #order = 0
  #nowNs = 0
  /** Timers that count and have neither run nor been cancelled. */
  #counting = 0

  /** `soon` as in `Timing`. */
  constructor(soon: (run: () => void) => void) {
    this.#soon = soon
  }

  /** ns since the start. */
  get nowNs(): number {
    return this.#nowNs
  }

  /** Whether somebody waits for time to pass. */
  get awaited(): boolean {
    return this.#counting > 0
  }

  /** When the next timer is due, ns; Infinity: there is none. */
  get nextNs(): number {
    this.#dropCancelled()
    return this.#heap[0]?.at ?? Infinity
  }

  now(): number {
    return this.#nowNs / NS_PER_MS
  }

  setTimeout(run: () => void, ms: number): unknown {
    return this.#add(run, this.#nowNs + nanoseconds(ms), true)
  }

  clearTimeout(handle: unknown): void {
    const timer = handle as Timer | null | undefined
    if (timer === null || timer === undefined || timer.cancelled) return
    timer.cancelled = true
    if (timer.counts) this.#counting -= 1
  }

  /** The same time for work in the background: its timers do not count. */
  get background(): Clock {
    return {
      now: () => this.now(),
      setTimeout: (run, ms) => this.#add(run, this.#nowNs + nanoseconds(ms), false),
      clearTimeout: (handle) => this.clearTimeout(handle),
    }
  }

  /** Runs at this time since the start, or at once if that has passed. */
  at(ms: number, run: () => void): void {
    this.#add(run, Math.max(this.#nowNs, nanoseconds(ms)), true)
  }

  after(ms: number, run: () => void): Cancel {
    const timer = this.setTimeout(run, ms)
    return () => this.clearTimeout(timer)
  }

  every(ms: number, run: () => void): Cancel {
    let timer: Timer
    const arm = (): void => {
      timer = this.#add(() => {
        arm()
        run()
      }, this.#nowNs + Math.max(1, nanoseconds(ms)), false)
    }
    arm()
    return () => this.clearTimeout(timer)
  }

  unixMs(): number {
    return UNIX_MS + this.now()
  }

  soon(run: () => void): void {
    this.#soon(run)
  }

  /** Time has come to `ns`. */
  advance(ns: number): void {
    if (ns > this.#nowNs) this.#nowNs = ns
  }

  /** Takes the next timer if it is due. */
  takeDue(): (() => void) | null {
    if (this.nextNs > this.#nowNs) return null
    const timer = this.#pop()
    if (timer === undefined) return null
    timer.cancelled = true
    if (timer.counts) this.#counting -= 1
    return timer.run
  }

  #add(run: () => void, at: number, counts: boolean): Timer {
    const timer: Timer = { at, order: (this.#order += 1), run, counts, cancelled: false }
    if (counts) this.#counting += 1
    const heap = this.#heap
    let place = heap.length
    heap.push(timer)
    while (place > 0) {
      const parent = (place - 1) >> 1
      const above = heap[parent] as Timer
      if (!isBefore(timer, above)) break
      heap[place] = above
      place = parent
    }
    heap[place] = timer
    return timer
  }

  #dropCancelled(): void {
    while (this.#heap[0]?.cancelled === true) this.#pop()
  }

  #pop(): Timer | undefined {
    const heap = this.#heap
    const first = heap[0]
    const last = heap.pop()
    if (last === undefined || heap.length === 0) return first
    let place = 0
    for (;;) {
      const left = 2 * place + 1
      if (left >= heap.length) break
      const right = left + 1
      const child = right < heap.length && isBefore(heap[right] as Timer, heap[left] as Timer) ? right : left
      if (!isBefore(heap[child] as Timer, last)) break
      heap[place] = heap[child] as Timer
      place = child
    }
    heap[place] = last
    return first
  }
}

function isBefore(one: Timer, other: Timer): boolean {
  return one.at < other.at || (one.at === other.at && one.order < other.order)
}

/** Whole nanoseconds; nonsense is now, as in Node's timers. */
function nanoseconds(ms: number): number {
  return ms > 0 ? Math.round(ms * NS_PER_MS) : 0
}
