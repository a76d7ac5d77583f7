/** A sweep as a promise: every row goes to a callback. The plan alone, for `--list`. */
import { sweep$ } from '../../lab/index.ts'
import type { Row, SweepOptions, SweepPlan } from '../../lab/index.ts'

/** @throws what `sweep$` errors with */
export function collectRows(options: SweepOptions, onRow: (row: Row) => void): Promise<void> {
  return new Promise((resolve, reject) => void sweep$(options).subscribe({ next: onRow, error: reject, complete: resolve }))
}

/** Runs nothing, touches no file. @throws what `sweep$` errors with */
export async function planOf(options: SweepOptions): Promise<SweepPlan> {
  const over = new AbortController()
  let plan: SweepPlan | null = null
  const onPlan = (told: SweepPlan): void => {
    plan = told
    over.abort()
  }
  try {
    await collectRows({ ...options, out: undefined, workers: 1, signal: over.signal, onPlan }, () => undefined)
  } catch (error) {
    if (plan === null) throw error
  }
  return plan as unknown as SweepPlan
}
