/** Finds an experiment: one of ours by its name (`builtin:handshake`, with parameters `builtin:nat?loss=5`), or a file that exports `experiment`. */
import { importFile } from '../config/index.ts'
import { ServiceError } from '../errors/index.ts'
import { factsOf } from './experiment.ts'
import type { Experiment } from './experiment.ts'
import { BUILT_IN, builtIn } from './experiments/index.ts'

export const BUILT_IN_PREFIX = 'builtin:'

/** @throws QB_LAB_MODULE naming the file, and the line if it is known */
export async function loadExperiment(module: string): Promise<Experiment> {
  const [name = null, parameters = ''] = module.startsWith(BUILT_IN_PREFIX) ? module.slice(BUILT_IN_PREFIX.length).split(/\?(.*)/) : []
  const experiment: unknown = name === null ? await fromFile(module) : builtIn(name, new URLSearchParams(parameters))
  if (experiment === undefined) throw new ServiceError('QB_LAB_MODULE', name === null ? `${module} exports no \`experiment\`; write: export const experiment = defineExperiment({ … })` : `there is no experiment ${name} among ${BUILT_IN.join(', ')}`)
  try {
    factsOf(experiment)
  } catch (error) {
    throw new ServiceError('QB_LAB_MODULE', `${module}: ${error instanceof Error ? error.message : String(error)}`, { cause: error })
  }
  return experiment as Experiment
}

async function fromFile(module: string): Promise<unknown> {
  try {
    return (await importFile(module))['experiment']
  } catch (error) {
    throw new ServiceError('QB_LAB_MODULE', (error as Error).message, { cause: (error as Error).cause })
  }
}
