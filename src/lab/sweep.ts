/** One sweep: which runs, which of them are in the file already, threads for the rest. `observe.ts` makes an observable of it. */
import { availableParallelism } from 'node:os'
import * as v from 'valibot'
import { check, invalidOption, packageVersion, unavailableOption } from '../config/index.ts'
import { narrowed, runKey, runsOf } from './experiment.ts'
import type { ExperimentFacts, Row, Run, Scalar } from './experiment.ts'
import { Pool } from './pool.ts'
import { Store } from './store.ts'

export interface SweepPlan {
  experiment: ExperimentFacts
  /** Axes and seeds of this sweep. */
  axes: Readonly<Record<string, readonly Scalar[]>>
  seeds: number
  runs: number
  /** How many of them are in the file and come first. */
  there: number
  workers: number
}

export interface SweepOptions {
  /** File that exports `experiment`, or `builtin:` and the name of one of ours. */
  module: string
  /** @default the experiment's */
  seeds?: number
  /** Threads. @default cores */
  workers?: number | `redis://${string}`
  /** JSON Lines; rows that are there (same experiment, cell, seed, version) are not run again. @default none */
  out?: string
  /** Values to keep, compared as text. @default all */
  axes?: Readonly<Record<string, readonly Scalar[]>>
  /** The experiment's quick look. @default false */
  quick?: boolean
  signal?: AbortSignal
  /** Told once, before the first row. */
  onPlan?: (plan: SweepPlan) => void
}

const whole = (max: number) => {
  const allowed = `a whole number from 1 to ${max}`
  return v.pipe(v.number(allowed), v.integer(allowed), v.minValue(1, allowed), v.maxValue(max, allowed))
}
const scalar = v.union([v.string(), v.number(), v.boolean(), v.null()], 'a text, number, boolean or null')
const OPTIONS = v.strictObject({
  module: v.pipe(v.string('the name of a file'), v.minLength(1, 'the name of a file')),
  seeds: v.optional(whole(1_000_000)),
  workers: v.optional(v.union([whole(1024), v.pipe(v.string(), v.startsWith('redis://'))], 'a whole number from 1 to 1024')),
  out: v.optional(v.pipe(v.string('the name of a file'), v.minLength(1, 'the name of a file'))),
  axes: v.optional(v.record(v.string(), v.array(scalar, 'a list of values'))),
  quick: v.optional(v.boolean('true or false')),
})

/** @throws QB_OPTION_INVALID QB_OPTION_UNKNOWN */
export function checkSweep({ signal, onPlan, ...options }: SweepOptions): SweepOptions & { workers: number } {
  const checked = check(OPTIONS, options, '')
  const { workers = availableParallelism() } = checked
  if (typeof workers === 'string') throw unavailableOption('workers', workers)
  if (signal !== undefined && typeof signal.addEventListener !== 'function') throw invalidOption('signal', signal, 'an AbortSignal')
  return { ...(checked as SweepOptions), workers, ...(signal === undefined ? {} : { signal }), ...(onPlan === undefined ? {} : { onPlan }) }
}

/** Rows that are there in the order of the file, then new ones in the order they finish. @throws what `sweep$` errors with */
export async function sweep(options: SweepOptions & { workers: number }, onRow: (row: Row) => void, ended: AbortSignal): Promise<void> {
  let store: Store | null = null
  let failure: { error: unknown } | null = null
  const pool = new Pool({
    module: options.module, workers: options.workers,
    onRow: (row) => {
      try {
        store?.append(row)
        onRow(row)
      } catch (error) {
        failure ??= { error }
        void pool.stop()
      }
    },
  })
  const stop = new Promise<never>((_, reject) => {
    const end = (): void => void pool.stop().then(() => reject(ended.reason))
    if (ended.aborted) end()
    else ended.addEventListener('abort', end, { once: true })
  })
  try {
    const facts = await Promise.race([pool.describe(), stop])
    const part = narrowed(facts, options)
    const runs = runsOf(part)
    store = options.out === undefined ? null : new Store(options.out)
    const { there, missing } = divide(facts.name, runs, store?.rows ?? [])
    options.onPlan?.({ experiment: facts, ...part, runs: runs.length, there: there.length, workers: Math.min(options.workers, Math.max(1, missing.length)) })
    for (const row of there) onRow(row)
    await Promise.race([pool.run(missing), stop])
    throwIf(failure)
  } finally {
    await pool.stop()
    store?.close()
  }
}

/** Rows of this sweep that are there, and what is left to run. A run that failed is not run again: the same seed fails again. */
function divide(experiment: string, runs: readonly Run[], rows: readonly Row[]): { there: Row[]; missing: Run[] } {
  const version = packageVersion()
  const wanted = new Set(runs.map(({ cell, seed }) => runKey(cell, seed)))
  const found = new Map<string, Row>()
  for (const row of rows) {
    const key = runKey(row.cell, row.seed)
    // A thread that died says nothing about the run.
    if (row.experiment === experiment && row.version === version && wanted.has(key) && row.error?.code !== 'QB_LAB_WORKER') found.set(key, row)
  }
  return { there: [...found.values()], missing: runs.filter(({ cell, seed }) => !found.has(runKey(cell, seed))) }
}

function throwIf(failure: { error: unknown } | null): void {
  if (failure !== null) throw failure.error
}
