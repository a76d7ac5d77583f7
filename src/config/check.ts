/**
 * How option objects are checked: own properties only, by a valibot schema, one OptionError for the first thing wrong.
 * Every schema's message says what is allowed; this file adds the field's path, the value and the nearest known name.
 */
import * as v from 'valibot'
import { OptionError } from '../errors/index.ts'

type Schema = v.GenericSchema<unknown, unknown>

/** Fields whose values never stand in a message or an error object. */
const SECRET = new Set(['key', 'secret', 'cert', 'ca'])

/** Fields that hold an object of the user's with a life of its own: handed on as it is, never a copy. */
const OWN_OBJECT = new Set(['pathPolicy', 'scheduler', 'clock'])

/** Checks `value`; `field` is the path of the whole, '' for the argument itself. @throws QB_OPTION_INVALID QB_OPTION_UNKNOWN */
export function check<S extends Schema>(schema: S, value: unknown, field: string): v.InferOutput<S> {
  const result = v.safeParse(schema, ownCopy(value, field), { abortEarly: true })
  if (result.success) return result.output
  const issue = result.issues[0]
  const keys = (issue.path ?? []).map((item) => String(item.key))
  const where = joinField(field, keys)
  if (issue.type === 'strict_object' && issue.expected === 'never') throw unknownOption(schema, keys, where)
  throw invalidOption(where, issue.input, issue.message)
}

/** The error for one field. `allowed` reads after "allowed: ". */
export function invalidOption(field: string, value: unknown, allowed: string): OptionError {
  const secret = field.split('.').some((part) => SECRET.has(part.replace(/\[.*$/, '')))
  const shown = secret ? '[hidden]' : value
  return new OptionError('QB_OPTION_INVALID', `option ${field || '(the argument)'} is ${show(shown)}; allowed: ${allowed}`, { field, value: shown })
}

/** The error for an option or value that exists but that this build does not have. */
export function unavailableOption(field: string, value: unknown): OptionError {
  return new OptionError('QB_OPTION_INVALID', `option ${field} is ${show(value)}, which is not available in this version; leave it out`, { field, value })
}

/** Options of a call: only these names, and a signal that is one. Nothing else is looked at. @throws QB_OPTION_INVALID QB_OPTION_UNKNOWN */
export function checkCall(options: object, known: readonly string[]): void {
  if (typeof options !== 'object' || options === null) throw invalidOption('options', options, `an object { ${known.join(', ')} }`)
  for (const name of Object.keys(options)) if (!known.includes(name)) throw unknownName(name, known, name)
  const { signal } = options as { signal?: unknown }
  if (signal !== undefined && !isSignal(signal)) throw invalidOption('signal', signal, 'an AbortSignal')
}

/** One of another realm counts too. */
function isSignal(value: unknown): boolean {
  const signal = value as Partial<AbortSignal> | null
  return typeof signal === 'object' && signal !== null && typeof signal.aborted === 'boolean' && typeof signal.addEventListener === 'function'
}

function unknownOption(schema: Schema, keys: string[], field: string): OptionError {
  return unknownName(keys.at(-1) ?? '', knownNames(schema, keys.slice(0, -1)), field)
}

function unknownName(name: string, known: readonly string[], field: string): OptionError {
  const nearest = nearestName(name, known)
  const hint = nearest === null ? 'leave it out' : `did you mean ${nearest}?`
  return new OptionError('QB_OPTION_UNKNOWN', `option ${field} is not known; ${hint}`, { field, value: undefined })
}

/** Copies plain objects and lists by their own properties, so that nothing inherited counts and getters run once. */
function ownCopy(value: unknown, field: string): unknown {
  try {
    return copy(value, 0)
  } catch (cause) {
    throw new OptionError('QB_OPTION_INVALID', `option ${field || '(the argument)'} cannot be read: a getter threw; pass a plain object`, { field, cause })
  }
}

function copy(value: unknown, depth: number): unknown {
  if (typeof value !== 'object' || value === null || depth > 8) return value
  if (Array.isArray(value)) return value.map((item) => copy(item, depth + 1))
  const prototype: unknown = Object.getPrototypeOf(value)
  if (prototype !== null && prototype !== Object.prototype) return value
  const target: Record<string, unknown> = Object.create(null)
  for (const key of Object.keys(value)) {
    const item = (value as Record<string, unknown>)[key]
    if (item !== undefined) target[key] = OWN_OBJECT.has(key) ? item : copy(item, depth + 1)
  }
  return target
}

/** Names of the strict object that stands at `keys` inside the schema. */
function knownNames(schema: unknown, keys: readonly string[]): string[] {
  const node = schema as { wrapped?: unknown; entries?: Record<string, unknown>; item?: unknown; value?: unknown; options?: unknown[]; pipe?: unknown[]; getter?: (input: unknown) => unknown }
  if (typeof node.getter === 'function') return knownNames(node.getter({}), keys)
  if (node.wrapped !== undefined) return knownNames(node.wrapped, keys)
  if (Array.isArray(node.options)) return node.options.flatMap((option) => (typeof option === 'object' ? knownNames(option, keys) : []))
  const [first, ...rest] = keys
  if (first === undefined) return Object.keys(node.entries ?? {})
  const next = node.entries?.[first] ?? node.item ?? node.value
  return next === undefined ? [] : knownNames(next, rest)
}

/** The known name with the fewest edits, if those are at most a third of its letters (at least 2). */
export function nearestName(name: string, known: readonly string[]): string | null {
  let best: string | null = null
  let least = Infinity
  for (const candidate of known) {
    const distance = edits(name.toLowerCase(), candidate.toLowerCase())
    if (distance < least && distance <= Math.max(2, candidate.length / 3)) {
      least = distance
      best = candidate
    }
  }
  return best
}

function edits(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, index) => index)
  for (let i = 1; i <= a.length; i++) {
    const next = [i]
    for (let j = 1; j <= b.length; j++) {
      const replace = (row[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1)
      next.push(Math.min(replace, (row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1))
    }
    row = next
  }
  return row[b.length] ?? 0
}

function joinField(prefix: string, keys: readonly string[]): string {
  let field = prefix
  for (const key of keys) field += /^\d+$/.test(key) ? `[${key}]` : field === '' ? key : `.${key}`
  return field
}

/** A value as a person reads it, short. */
export function show(value: unknown): string {
  if (typeof value === 'string') return value.length > 60 ? `'${value.slice(0, 57)}...'` : `'${value}'`
  if (typeof value === 'bigint') return `${value}n`
  if (typeof value === 'function') return 'a function'
  if (typeof value === 'object' && value !== null) return Array.isArray(value) ? `a list of ${value.length}` : `an object (${value.constructor?.name ?? 'plain'})`
  return String(value)
}
