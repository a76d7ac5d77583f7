/**
 * Runs a scheduler of the user's for one connection. The engine says when (`plan` events: `native/binding/src/engine/plans.rs`; every burst in a
 * simulated world: `native/binding/src/sim/picker.rs`), so nothing here has a clock. Whatever the scheduler does, the engine gets a plan
 * that makes sense, or none.
 */
import type { NativeEvent, NativePick, NativePlan, NativeSchedulerView } from '../../binding/index.ts'
import { isQuicbraidError } from '../../errors/index.ts'
import { Answers, schedulerError } from './check.ts'
import type { Scheduler, SchedulerView } from './types.ts'

/** Failures of the scheduler are told at most so often. */
const FAILURE_GAP_MS = 1000

/** What a runner needs of its connection. */
export interface SchedulerHost {
  /** Answers a `plan` event; null: the plan before goes on. */
  answer(plan: NativePlan | null): void
  /** Runs when the present turn of the event loop is over. */
  nextTurn(run: () => void): void
  /** The scheduler threw, or answered what makes no sense. */
  failed(error: unknown): void
}

export class SchedulerRunner {
  readonly #scheduler: Scheduler
  readonly #host: SchedulerHost
  readonly #answers: Answers
  #failedAtMs = -Infinity
  #plans = 0
  #failures = 0

  constructor(scheduler: Scheduler, host: SchedulerHost) {
    this.#scheduler = scheduler
    this.#host = host
    this.#answers = new Answers(scheduler.name)
  }

  /** The engine asks for a plan. */
  onPlan({ view }: Extract<NativeEvent, { type: 'plan' }>): void {
    this.#host.answer(this.#ask('plan()', view, () => this.#answers.plan(this.#scheduler.plan?.(seen(view)), view)))
    this.#plans += 1
  }

  /** The engine asks for one burst, in the middle of a step of the world: nothing but the scheduler is called. */
  pick(json: string): string {
    const view = JSON.parse(json) as NativeSchedulerView
    const fallback = { fallback: `${this.#scheduler.name} failed` }
    const pick: NativePick = this.#ask('pick()', view, () => this.#answers.pick(this.#scheduler.pick?.(seen(view)), view)) ?? fallback
    return JSON.stringify(pick)
  }

  /** For `explain()`. */
  line(): string {
    return `scheduler ${this.#scheduler.name}: ${this.#plans} plans asked for, ${this.#failures} answers of no use`
  }

  #ask<T>(field: string, view: NativeSchedulerView, run: () => T): T | null {
    try {
      return run()
    } catch (cause) {
      this.#failures += 1
      this.#fail(isQuicbraidError(cause) && cause.code === 'QB_SCHEDULER_FAILED' ? cause : schedulerError(this.#scheduler.name, field, `threw ${wordsOf(cause)}`, { cause }), view.nowMs)
      return null
    }
  }

  #fail(error: unknown, nowMs: number): void {
    if (nowMs - this.#failedAtMs < FAILURE_GAP_MS) return
    this.#failedAtMs = nowMs
    this.#host.nextTurn(() => this.#host.failed(error))
  }
}

/** A scheduler cannot change what the next one sees. */
function seen(view: NativeSchedulerView): SchedulerView {
  return Object.freeze({ ...view, paths: Object.freeze(view.paths.map((path) => Object.freeze({ ...path }))) })
}

function wordsOf(error: unknown): string {
  try {
    return error instanceof Error ? error.message : String(error)
  } catch {
    return 'something without words'
  }
}
