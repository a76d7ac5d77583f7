/** Promises with `cancel()`, a signal and a timer, as js-quic's calls take and give them. */

/** `timer`: milliseconds, or an object that settles when its time is over (@matrixai/timer). */
export interface TimedContext {
  timer?: number | PromiseLike<unknown> | undefined
  signal?: AbortSignal | undefined
}

export interface PromiseCancellable<T> extends Promise<T> {
  /** Rejects with `reason` and leaves nothing behind. */
  cancel(reason?: unknown): void
}

/** Runs `work` with a signal for all three ways to give up. `late`: the error when the time is over. */
export function cancellable<T>(context: TimedContext, late: () => Error, work: (signal: AbortSignal) => Promise<T>): PromiseCancellable<T> {
  const controller = new AbortController()
  const give = (reason: unknown): void => controller.abort(reason)
  const over = new AbortController()
  const { signal, timer } = context
  if (signal !== undefined) {
    if (signal.aborted) give(signal.reason)
    else signal.addEventListener('abort', () => give(signal.reason), { once: true, signal: over.signal } as object)
  }
  if (typeof timer === 'number') AbortSignal.timeout(timer).addEventListener('abort', () => give(late()), { once: true, signal: over.signal } as object)
  else if (timer !== undefined) void timer.then(() => { if (!over.signal.aborted) give(late()) }, () => {})
  const result = work(controller.signal).finally(() => over.abort()) as PromiseCancellable<T>
  result.cancel = (reason?: unknown): void => give(reason ?? new DOMException('cancelled', 'AbortError'))
  return result
}
