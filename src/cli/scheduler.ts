/** `--scheduler NAME|FILE`: a name is the library's to check; a file exports `scheduler`. */
import { importFile } from '../config/index.ts'
import type { Scheduler } from '../index.ts'
import { usageError } from './exit.ts'

export const SCHEDULERS = 'min-rtt, round-robin, weighted, backup, redundant, blest, ecf, deadline'

/** For commander. */
export const SCHEDULER_OPTION = '--scheduler <name|file>'
export const SCHEDULER_HELP: string = `who sends next: ${SCHEDULERS}, or a file (.ts, .mjs, .js) that exports \`scheduler\``

/** What the library gets. @throws a usage error for a file that cannot be used */
export async function schedulerOption(given: string): Promise<string | Scheduler> {
  if (!/[/\\]|\.[cm]?[jt]s$/.test(given)) return given
  const { scheduler } = await importFile(given).catch((error: unknown) => {
    throw usageError(`--scheduler: ${error instanceof Error ? error.message : String(error)}`)
  })
  if (typeof scheduler === 'object' && scheduler !== null) return scheduler as Scheduler
  throw usageError(`--scheduler: ${given} exports no \`scheduler\`; write: export const scheduler = { name: 'mine', plan(view) { ... } }`)
}
