/** One sweep: which runs, which of them are in the file already, threads or workers elsewhere for the rest. `observe.ts` makes an observable of it. */
import { availableParallelism } from 'node:os'
import * as v from 'valibot'
import { check, invalidOption, packageVersion } from '../config/index.ts'
import { narrowed, runKey, runsOf } from './experiment.ts'
import type { ExperimentFacts, Row, Run, Scalar } from './experiment.ts'
import { Fleet } from './fleet/fleet.ts'
import { parseAddress } from './fleet/server.ts'
import type { RedisUrl } from './fleet/server.ts'
import { Pool } from './pool.ts'
import type { Workforce } from './pool.ts'
import { Store } from './store.ts'

export interface SweepPlan {
  experiment: ExperimentFacts
  /** Axes and seeds of this sweep. */
  axes: Readonly<Record<string, readonly Scalar[]>>
  seeds: number
  runs: number
  /** How many of them are in the file and come first. */
  there: number
  /** Threads here, or workers that listen at `server`. */
  workers: number
  /** `host:port/db` of the Redis server that hands the runs out; null: threads of this process do them. */
  server: string | null
}

export interface SweepOptions {
  /** File that exports `experiment`, or `builtin:` and the name of one of ours. */
  module: string
  /** @default the experiment's */
  seeds?: number
  /** Threads, or the server where `quicbraid lab worker` takes its runs. @default cores */
  workers?: number | RedisUrl
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
  workers: v.optional(v.union([whole(1024), v.pipe(v.string(), v.startsWith('redis://', 'a whole number from 1 to 1024 or redis://host[:port][/db]'))], 'a whole number from 1 to 1024 or redis://host[:port][/db]')),
  out: v.optional(v.pipe(v.string('the name of a file'), v.minLength(1, 'the name of a file'))),
  axes: v.optional(v.record(v.string(), v.array(scalar, 'a list of values'))),
  quick: v.optional(v.boolean('true or false')),
})

export type CheckedSweep = SweepOptions & { workers: number | RedisUrl }

/** @throws QB_OPTION_INVALID QB_OPTION_UNKNOWN */
export function checkSweep({ signal, onPlan, ...options }: SweepOptions): CheckedSweep {
  const checked = check(OPTIONS, options, '') as SweepOptions
  const { workers = availableParallelism() } = checked
  if (typeof workers === 'string') parseAddress(workers)
  if (signal !== undefined && typeof signal.addEventListener !== 'function') throw invalidOption('signal', signal, 'an AbortSignal')
  return { ...checked, workers, ...(signal === undefined ? {} : { signal }), ...(onPlan === undefined ? {} : { onPlan }) }
}

/** Rows that are there in the order of the file, then new ones in the order they finish. @throws what `sweep$` errors with */
export async function sweep(options: CheckedSweep, onRow: (row: Row) => void, ended: AbortSignal): Promise<void> {
  let store: Store | null = null
  let failure: { error: unknown } | null = null
  const force = workforceOf(options, (row) => {
    try {
      store?.append(row)
      onRow(row)
    } catch (error) {
      failure ??= { error }
      void force.stop()
    }
  })
  const stop = new Promise<never>((_, reject) => {
    const end = (): void => void force.stop().then(() => reject(ended.reason))
    if (ended.aborted) end()
    else ended.addEventListener('abort', end, { once: true })
  })
  try {
    const facts = await Promise.race([force.describe(), stop])
    const part = narrowed(facts, options)
    const runs = runsOf(part)
    store = options.out === undefined ? null : new Store(options.out)
    const { there, missing } = divide(facts.name, runs, store?.rows ?? [])
    options.onPlan?.({ experiment: facts, ...part, runs: runs.length, there: there.length, ...placeOf(options, force, missing.length) })
    for (const row of there) onRow(row)
    await Promise.race([force.run(missing), stop])
    throwIf(failure)
    // Stopped, it had no more to do.
    if (ended.aborted) await stop
  } catch (error) {
    throwIf(failure)
    throw ended.aborted ? ended.reason : error
  } finally {
    await force.stop()
    store?.close()
  }
}

function workforceOf({ module, workers }: CheckedSweep, onRow: (row: Row) => void): Workforce {
  return typeof workers === 'string' ? new Fleet({ module, url: workers, onRow }) : new Pool({ module, workers, onRow })
}

function placeOf({ workers }: CheckedSweep, force: Workforce, missing: number): { workers: number; server: string | null } {
  if (typeof workers === 'number') return { workers: Math.min(workers, Math.max(1, missing)), server: null }
  const { host, port, db } = parseAddress(workers)
  return { workers: force.size(), server: `${host}:${port}/${db}` }
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
