/** What `scheduler` may be: a name, a name with settings, or an object of the user's with `plan` and `pick`. */
import * as v from 'valibot'
import { OptionError } from '../errors/index.ts'
import type { Scheduler } from '../path/index.ts'
import { check, invalidOption } from './check.ts'
import type { SchedulerChoice } from './options.ts'

const NAMES = ['min-rtt', 'round-robin', 'weighted', 'backup', 'redundant', 'blest', 'ecf', 'deadline'] as const
const NAME_LIST = NAMES.map((name) => `'${name}'`).join(', ')

const RATIO = 'a number from 0 to 1'
const DEADLINE = 'a number of milliseconds from 0'
const choice = v.strictObject({
  name: v.picklist(NAMES, NAME_LIST),
  maxExtraRatio: v.optional(v.pipe(v.number(RATIO), v.minValue(0, RATIO), v.maxValue(1, RATIO))),
  deadlineMs: v.optional(v.pipe(v.number(DEADLINE), v.minValue(0, DEADLINE))),
}, `${NAME_LIST}, { name, maxExtraRatio, deadlineMs }, or { name, plan, pick } of your own`)

/** Somebody's own: it has functions. */
export function isOwnScheduler(value: unknown): value is Scheduler {
  const own = value as Partial<Scheduler> | null
  return typeof own === 'object' && own !== null && (typeof own.plan === 'function' || typeof own.pick === 'function')
}

/** The built-in scheduler asked for, or the user's own. @throws QB_OPTION_INVALID QB_OPTION_UNKNOWN */
export function schedulerChoice(value: unknown, field: string): SchedulerChoice | Scheduler {
  if (typeof value === 'string') {
    const name = NAMES.find((known) => known === value)
    if (name === undefined) throw invalidOption(field, value, NAME_LIST)
    return { name }
  }
  if (!isOwnScheduler(value)) return check(choice, value, field)
  const { name, plan, pick } = value as { name: unknown; plan?: unknown; pick?: unknown }
  if (typeof name !== 'string' || name.length === 0 || name.length > 64) throw invalidOption(`${field}.name`, name, 'a name of 1 to 64 characters')
  for (const [part, given] of [['plan', plan], ['pick', pick]] as const) {
    if (given !== undefined && typeof given !== 'function') throw invalidOption(`${field}.${part}`, given, 'a function')
  }
  return value
}

/** Only simulated worlds and carriers can ask for every burst; elsewhere a scheduler plans. @throws QB_SCHEDULER_NO_PLAN */
export function refuseWithoutPlan(value: unknown, features: ReadonlySet<string>, field: string): void {
  if (!isOwnScheduler(value) || typeof value.plan === 'function' || features.has('scheduler.pick')) return
  throw new OptionError('QB_SCHEDULER_NO_PLAN', `the scheduler ${value.name} has no plan(); on real sockets it needs one, pick() is for simulated worlds and carriers`, { field, value: value.name })
}
