/** Urgency, fairness and path of a stream, as the engine takes them. */
import { checkCall, invalidOption, unavailableOption } from '../config/index.ts'
import { PathError } from '../errors/index.ts'
import type { PathSet } from '../path/index.ts'

export interface StreamOptions {
  /** 0 first ... 7 last. @default 3 */
  urgency?: number
  /** Shares turns with equals; false = one after another. @default true */
  incremental?: boolean
  /** Keep all bytes on one path while it lives. @default none */
  path?: number
}

const URGENCY = 3

/** Word 3 of OPEN and PRIORITY. @throws QB_OPTION_INVALID */
export function priorityWord(options: StreamOptions, features: ReadonlySet<string>): number {
  checkCall(options, ['urgency', 'incremental', 'path', 'signal'])
  const { urgency = URGENCY, incremental = true } = options
  if (!Number.isInteger(urgency) || urgency < 0 || urgency > 7) throw invalidOption('urgency', urgency, 'a whole number from 0 to 7')
  if (typeof incremental !== 'boolean') throw invalidOption('incremental', incremental, 'true or false')
  if (!features.has('priority')) {
    if (urgency !== URGENCY) throw unavailableOption('urgency', urgency)
    if (!incremental) throw unavailableOption('incremental', incremental)
  }
  return urgency | (incremental ? 0x100 : 0)
}

/** In word 3 of OPEN: the first acknowledgement of its bytes is told. */
export const TELLS_ACKNOWLEDGEMENT = 0x200

/** How a stream begins. */
export interface Opening {
  /** Word 3 of OPEN. */
  readonly priority: number
  /** Word 3 of PIN; 0: none. */
  readonly pin: number
}

/** Of a stream without options; `more`: further bits of word 3. */
export function plainOpening(more = 0): Opening {
  return { priority: URGENCY | 0x100 | more, pin: 0 }
}

/** @throws QB_OPTION_INVALID QB_PATH_UNKNOWN */
export function openingOf(options: StreamOptions, features: ReadonlySet<string>, paths: PathSet): Opening {
  return { priority: priorityWord(options, features), pin: options.path === undefined ? 0 : pinWord(options.path, features, paths) }
}

/** Word 3 of PIN. @throws QB_PATH_UNKNOWN */
export function pinWord(path: number | null, features: ReadonlySet<string>, paths: PathSet): number {
  if (path === null) return 0
  if (!features.has('pins')) throw unavailableOption('path', path)
  const known = Number.isInteger(path) ? paths.get(path) : undefined
  if (known === undefined || known.facts.state === 'abandoning') {
    throw new PathError('QB_PATH_UNKNOWN', `there is no path ${String(path)} to keep a stream on; connection.paths lists those there are`, typeof path === 'number' ? { path } : {})
  }
  return path + 1
}
