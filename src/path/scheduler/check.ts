/** What a scheduler answered, checked before anything of it is done: one wrong field, and nothing is. */
import type { NativePick, NativePlan, NativeSchedulerView } from '../../binding/index.ts'
import { show } from '../../config/index.ts'
import { OptionError } from '../../errors/index.ts'

/** Pins of one plan: `SchedulerPlan::PINS` of the core. */
export const MAX_PINS = 256
/** Ids in one list: more than a connection has paths. */
const MAX_IDS = 64
const REASON_LENGTH = 256
const MAX_MS = 2_147_483_647

const ID = 'a path id: a whole number from 0 to 4294967295'
const IDS = `a list of at most ${MAX_IDS} path ids`
const WEIGHT = 'a number from 0.001 to 1000'
const PINS = `a list of at most ${MAX_PINS} of { stream: bigint, path }`
const MILLISECONDS = `a number of milliseconds from 0 to ${MAX_MS}`

/** The error of a scheduler that failed; `field` is where. */
export function schedulerError(name: string, field: string, what: string, facts: { value?: unknown; cause?: unknown } = {}): OptionError {
  return new OptionError('QB_SCHEDULER_FAILED', `scheduler ${name}: ${field} ${what}`, { field, ...facts })
}

/** Reads answers of one scheduler. */
export class Answers {
  readonly #name: string

  constructor(name: string) {
    this.#name = name
  }

  /** @throws QB_SCHEDULER_FAILED, naming the scheduler and the field */
  plan(answer: unknown, view: NativeSchedulerView): NativePlan {
    const plan = this.#object(answer, 'plan()', 'an object { order, weights, duplicateOn, pins, reinjectAfterMs, reason }')
    const known = new Set(view.paths.map(({ id }) => id))
    const order = this.#ids(plan['order'], 'plan().order', known)
    const weights = this.#weights(plan['weights'], known)
    if (known.size > 0 && order.length === 0 && weights.length === 0) throw this.#wrong('plan().order', plan['order'], `ids of paths in use: ${[...known].join(', ')}`)
    const duplicateOn = plan['duplicateOn'] === undefined ? [] : this.#ids(plan['duplicateOn'], 'plan().duplicateOn', known)
    const reinject = plan['reinjectAfterMs']
    const reinjectAfterMs = reinject === undefined ? null : this.#milliseconds(reinject, 'plan().reinjectAfterMs')
    return { order, weights, duplicateOn, pins: this.#pins(plan['pins']), reinjectAfterMs, reason: this.#reason(plan['reason'], 'plan().reason') }
  }

  /** @throws QB_SCHEDULER_FAILED, naming the scheduler and the field */
  pick(answer: unknown, view: NativeSchedulerView): NativePick {
    const pick = this.#object(answer, 'pick()', 'an object { path, duplicateOn, reason } or { waitMs, reason }')
    const reason = this.#reason(pick['reason'], 'pick().reason')
    if (pick['path'] === undefined) return { waitMs: this.#milliseconds(pick['waitMs'], 'pick().waitMs'), reason }
    const known = new Set(view.paths.map(({ id }) => id))
    const path = this.#id(pick['path'], 'pick().path')
    if (!known.has(path)) throw this.#wrong('pick().path', path, `the id of a path in use: ${[...known].join(', ')}`)
    const duplicateOn = pick['duplicateOn'] === undefined ? [] : this.#ids(pick['duplicateOn'], 'pick().duplicateOn', known)
    return { path, duplicateOn, reason }
  }

  /** Those of paths in use, each once: a path may have gone, or be still to come. */
  #ids(value: unknown, field: string, known: ReadonlySet<number>): number[] {
    if (!Array.isArray(value) || value.length > MAX_IDS) throw this.#wrong(field, value, IDS)
    const ids = value.map((id: unknown, index) => this.#id(id, `${field}[${index}]`))
    return [...new Set(ids)].filter((id) => known.has(id))
  }

  #id(value: unknown, field: string): number {
    if (typeof value === 'number' && Number.isInteger(value) && value >= 0 && value < 2 ** 32) return value
    throw this.#wrong(field, value, ID)
  }

  #weights(value: unknown, known: ReadonlySet<number>): [number, number][] {
    if (value === undefined) return []
    const entries = Object.entries(this.#object(value, 'plan().weights', 'an object of weights by path id'))
    if (entries.length > MAX_IDS) throw this.#wrong('plan().weights', value, `at most ${MAX_IDS} weights`)
    return entries.map(([key, weight]): [number, number] => {
      const path = this.#id(/^\d+$/.test(key) ? Number(key) : key, `plan().weights.${key}`)
      if (typeof weight === 'number' && weight >= 0.001 && weight <= 1000) return [path, weight]
      throw this.#wrong(`plan().weights.${key}`, weight, WEIGHT)
    }).filter(([path]) => known.has(path))
  }

  #pins(value: unknown): [number, number][] {
    if (value === undefined) return []
    if (!Array.isArray(value) || value.length > MAX_PINS) throw this.#wrong('plan().pins', value, PINS)
    return value.map((pin: unknown, index): [number, number] => {
      const { stream, path } = this.#object(pin, `plan().pins[${index}]`, '{ stream: bigint, path }')
      if (typeof stream !== 'bigint' || stream < 0n || stream > Number.MAX_SAFE_INTEGER) throw this.#wrong(`plan().pins[${index}].stream`, stream, 'the id of a stream, a bigint')
      return [Number(stream), this.#id(path, `plan().pins[${index}].path`)]
    })
  }

  #milliseconds(value: unknown, field: string): number {
    if (typeof value === 'number' && value >= 0 && value <= MAX_MS) return value
    throw this.#wrong(field, value, MILLISECONDS)
  }

  #reason(value: unknown, field: string): string {
    if (typeof value === 'string') return value.slice(0, REASON_LENGTH)
    throw this.#wrong(field, value, 'a string: why, for explain()')
  }

  #object(value: unknown, field: string, allowed: string): Record<string, unknown> {
    if (value instanceof Promise) value.catch(() => {})
    else if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Record<string, unknown>
    throw this.#wrong(field, value, allowed)
  }

  #wrong(field: string, value: unknown, allowed: string): OptionError {
    return schedulerError(this.#name, field, `is ${show(value)}; allowed: ${allowed}`, { value })
  }
}
