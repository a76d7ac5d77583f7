/** Schedulers of the user's: what they are, and the one that a connection runs. */
import type { PathOwner } from '../owner.ts'
import { SchedulerRunner } from './runner.ts'

export type { SchedulerRunner } from './runner.ts'
export type { Scheduler, SchedulerPath, SchedulerPick, SchedulerPlan, SchedulerView } from './types.ts'

/** The runner that the options ask for; null with a scheduler of the engine's. */
export function createScheduler(owner: PathOwner): SchedulerRunner | null {
  const { engine, key, scheduler, features } = owner
  if (scheduler === null) return null
  const runner = new SchedulerRunner(scheduler, {
    answer: (plan) => engine.tell(key, { do: 'plan', plan }),
    nextTurn: (run) => engine.outbox.nextTurn(run),
    failed: (error) => owner.callbackFailed('scheduler', error),
  })
  if (typeof scheduler.pick === 'function' && features.has('scheduler.pick')) engine.pick(key, (view) => runner.pick(view))
  return runner
}
