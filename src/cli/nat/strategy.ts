/** `--strategy FILE`: a file that exports `strategy`, a function that says which steps a punch takes (api 2.8). */
import { importFile } from '../../config/index.ts'
import type { PunchStrategy } from '../../traversal/index.ts'
import { usageError } from '../exit.ts'

export const STRATEGY_OPTION = '--strategy <file>'

/** @throws a usage error for a file that cannot be used */
export async function loadStrategy(file: string): Promise<PunchStrategy> {
  const { strategy } = await importFile(file).catch((error: unknown) => {
    throw usageError(`--strategy: ${error instanceof Error ? error.message : String(error)}`)
  })
  if (typeof strategy === 'function') return strategy as PunchStrategy
  throw usageError(`--strategy: ${file} exports no \`strategy\`; write: export function* strategy(context) { yield { do: 'tell-peer' }; yield { do: 'hello', to: 'peer', count: 5, everyMs: 100 } }`)
}
