/** Urgency and fairness of a stream, as the engine takes them. */
import { checkCall, invalidOption, unavailableOption } from '../config/index.ts'

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
  const { urgency = URGENCY, incremental = true, path } = options
  if (!Number.isInteger(urgency) || urgency < 0 || urgency > 7) throw invalidOption('urgency', urgency, 'a whole number from 0 to 7')
  if (typeof incremental !== 'boolean') throw invalidOption('incremental', incremental, 'true or false')
  if (path !== undefined) throw unavailableOption('path', path)
  if (!features.has('priority')) {
    if (urgency !== URGENCY) throw unavailableOption('urgency', urgency)
    if (!incremental) throw unavailableOption('incremental', incremental)
  }
  return urgency | (incremental ? 0x100 : 0)
}
