/** One run of an experiment: a fresh world, its program, a row. Called by workers; never throws. */
import { backgroundClock, packageVersion } from '../config/index.ts'
import { isQuicbraidError } from '../errors/index.ts'
import { World } from '../sim/index.ts'
import { isRecord, isScalar } from './experiment.ts'
import type { Experiment, Row, Run } from './experiment.ts'

const MAX_MESSAGE = 2000

/** `strays` takes what fails outside the promise of the program (unhandled rejections of this run). */
export async function rowOf(experiment: Experiment, { cell, seed }: Run, strays: unknown[] = []): Promise<Row> {
  const started = backgroundClock.now()
  const world = new World({ seed })
  let values: Row['values'] = {}
  let error: Row['error'] = null
  try {
    values = checkValues(await experiment.run({ ...cell }, world))
    if (strays.length > 0) error = errorOf(strays[0])
  } catch (thrown) {
    error = errorOf(thrown)
  }
  const row: Row = {
    experiment: experiment.name, cell, seed, ok: error === null, values: error === null ? values : {}, error,
    traceHash: world.traceHash(), virtualMs: rounded(world.nowMs), realMs: rounded(backgroundClock.now() - started), version: packageVersion(),
  }
  // A world that failed may not be able to end in order; what it holds goes with it.
  await world.close().catch(() => undefined)
  return row
}

/** @throws a TypeError for what cannot stand in a row */
function checkValues(values: unknown): Row['values'] {
  if (!isRecord(values)) throw new TypeError('run did not answer an object of values')
  for (const [name, value] of Object.entries(values)) if (!isScalar(value)) throw new TypeError(`the value ${name} is no text, finite number, boolean or null`)
  return values as Row['values']
}

export function errorOf(thrown: unknown): { code: string; message: string } {
  const message = thrown instanceof Error ? thrown.message : String(thrown)
  const name = thrown instanceof Error ? thrown.name : 'Error'
  return { code: isQuicbraidError(thrown) ? thrown.code : name, message: message.slice(0, MAX_MESSAGE) }
}

function rounded(ms: number): number {
  return Math.round(ms * 1000) / 1000
}
