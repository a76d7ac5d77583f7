/** Time for the command line: progress, rates, limits. The library has its own clock; nothing else in `src/cli` reads time or makes timers. */
import { performance } from 'node:perf_hooks'
import { setInterval, clearInterval, setTimeout, clearTimeout } from 'node:timers'
import { setTimeout as wait } from 'node:timers/promises'

/** Monotonic milliseconds since the process started, with fractions. */
export function nowMs(): number {
  return performance.now()
}

/** Resolves after `ms`; an abort ends it early without an error. */
export async function sleep(ms: number, signal?: AbortSignal): Promise<void> {
  await wait(ms, undefined, signal === undefined ? {} : { signal }).catch(() => undefined)
}

/** Waits for `work`, but no longer than `ms`; leaves no timer behind. */
export async function upTo(ms: number, work: Promise<unknown>): Promise<void> {
  const over = new AbortController()
  await Promise.race([work, sleep(ms, over.signal)])
  over.abort()
}

/** Runs every `ms` until the returned function is called. Does not keep the process alive. */
export function every(ms: number, run: () => void): () => void {
  const timer = setInterval(run, ms)
  timer.unref()
  return () => clearInterval(timer)
}

/** A date in any form that Node reads, as ISO 8601. */
export function isoDate(text: string): string {
  return new Date(text).toISOString()
}

/** Whether that date, in any form that Node reads, is over. */
export function isOver(text: string): boolean {
  return Date.parse(text) < Date.now()
}

/** Rejects with `error()` if `work` takes longer than `ms`. */
export async function within<T>(ms: number, work: Promise<T>, error: () => Error): Promise<T> {
  let stop = (): void => undefined
  const limit = new Promise<never>((_, reject) => {
    const timer = setTimeout(() => reject(error()), ms)
    stop = () => clearTimeout(timer)
  })
  try {
    return await Promise.race([work, limit])
  } finally {
    stop()
  }
}

/** Runs once after `ms`, unless the returned function is called before. Does not keep the process alive. */
export function after(ms: number, run: () => void): () => void {
  const timer = setTimeout(run, ms)
  timer.unref()
  return () => clearTimeout(timer)
}
