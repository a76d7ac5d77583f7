/** What `scheduler` may be: a name, a name with settings, or an object of the user's with `plan` and `pick`. */
import * as v from 'valibot'
import { OptionError } from '../errors/index.ts'
import { check, invalidOption, unavailableOption } from './check.ts'
import type { SchedulerChoice } from './options.ts'

const NAMES = ['min-rtt', 'round-robin', 'weighted', 'backup', 'redundant', 'blest', 'ecf', 'deadline'] as const
const NAME_LIST = NAMES.map((name) => `'${name}'`).join(', ')

const RATIO = 'a number from 0 to 1'
const DEADLINE = 'a number of milliseconds from 0'
const choice = v.strictObject({
  name: v.picklist(NAMES, NAME_LIST),
  maxExtraRatio: v.optional(v.pipe(v.number(RATIO), v.minValue(0, RATIO), v.maxValue(1, RATIO))),
  deadlineMs: v.optional(v.pipe(v.number(DEADLINE), v.minValue(0, DEADLINE))),
}, `${NAME_LIST}, or { name, maxExtraRatio, deadlineMs }`)

/** The built-in scheduler asked for. @throws QB_OPTION_INVALID QB_OPTION_UNKNOWN QB_SCHEDULER_NO_PLAN */
export function schedulerChoice(value: unknown, field: string): SchedulerChoice {
  if (typeof value === 'string') {
    const name = NAMES.find((known) => known === value)
    if (name === undefined) throw invalidOption(field, value, NAME_LIST)
    return { name }
  }
  const own = value as { name?: unknown; plan?: unknown; pick?: unknown } | null
  if (typeof own === 'object' && own !== null && (typeof own.plan === 'function' || typeof own.pick === 'function')) {
    if (typeof own.plan === 'function') throw unavailableOption(field, value)
    throw new OptionError('QB_SCHEDULER_NO_PLAN', `the scheduler ${String(own.name)} has no plan(); under the native driver it needs one`, { field, value: own.name })
  }
  return check(choice, value, field)
}
