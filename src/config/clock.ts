/**
 * The one place of the library that reads time or makes timers. Facts carry the endpoint's clock (`endpoint.now()`);
 * this one serves time limits of promises and sampling. An endpoint of a simulated world has the world's `Timing` instead.
 */

/** Stops what `after` or `every` started; harmless when it is over. */
export type Cancel = () => void

/** Runs once after `ms`. Keeps the process alive, since somebody waits for it. */
export function after(ms: number, run: () => void): Cancel {
  // A timer holds at most 2^31 - 1 ms; more is "never" for our purposes.
  const timer = setTimeout(run, Math.min(ms, 2_147_483_647))
  return () => clearTimeout(timer)
}

/** Runs every `ms` until cancelled. Does not keep the process alive: sampling is not work. */
export function every(ms: number, run: () => void): Cancel {
  const timer = setInterval(run, ms)
  timer.unref()
  return () => clearInterval(timer)
}

/** Keeps the process alive until cancelled, and does nothing else. */
export function stayAlive(): Cancel {
  const timer = setInterval(() => {}, 2_147_483_647)
  return () => clearInterval(timer)
}

/** Time of day, for what outlives the process. */
export function unixMs(): number {
  return Date.now()
}

/** The time of day that a text of any form Node reads names; NaN if it names none. */
export function dateUnixMs(text: string): number {
  return Date.parse(text)
}

/** Runs when the present turn of the event loop is over. */
export function soon(run: () => void): void {
  setImmediate(run)
}

/** Time and timers that are not the process's own, for a simulated world or a test. `now` in ms from any zero, never backwards. */
export interface Clock {
  now(): number
  setTimeout(run: () => void, ms: number): unknown
  clearTimeout(handle: unknown): void
}

/** The process's monotonic clock, for work in the background: its timers do not keep the process alive. */
export const backgroundClock: Clock = {
  now: () => performance.now(),
  setTimeout: (run, ms) => setTimeout(run, Math.min(ms, 2_147_483_647)).unref(),
  clearTimeout: (handle) => clearTimeout(handle as NodeJS.Timeout),
}

/** Time as an endpoint has it: of the process, or of a simulated world. */
export interface Timing {
  /** As `after`. */
  after(ms: number, run: () => void): Cancel
  /** As `every`. */
  every(ms: number, run: () => void): Cancel
  /** As `unixMs`. */
  unixMs(): number
  /** As `soon`. */
  soon(run: () => void): void
}

/** Time by a clock of the user's; `zeroUnixMs` is the time of day when it says `zeroMs`. A tick stays a turn of the event loop. */
export function timingOf(clock: Clock, zeroMs: number, zeroUnixMs: number): Timing {
  const afterMs = (ms: number, run: () => void): Cancel => {
    const timer = clock.setTimeout(run, ms)
    return () => clock.clearTimeout(timer)
  }
  return {
    after: afterMs,
    every: (ms, run) => {
      let stop: Cancel = () => {}
      const arm = (): void => {
        stop = afterMs(ms, () => {
          arm()
          run()
        })
      }
      arm()
      return () => stop()
    },
    unixMs: () => zeroUnixMs + clock.now() - zeroMs,
    soon,
  }
}

export const REAL_TIME: Timing = { after, every, unixMs, soon }
