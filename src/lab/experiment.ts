/**
 * What an experiment is, and its rows: types of the door, the check of a definition, cells and their order. Pure.
 * Workers run experiments (`run.ts`); the process that asks for a sweep only knows their facts.
 */
import { invalidOption } from '../config/index.ts'
import { ServiceError } from '../errors/index.ts'
import type { World } from '../sim/index.ts'

export type Scalar = string | number | boolean | null

/** A value for each axis. */
export type Cell = Readonly<Record<string, Scalar>>

/** `axes` are crossed; each cell runs `seeds` times. A throw becomes a row with `ok: false`, the sweep goes on. */
export interface Experiment<A extends Record<string, Scalar> = Record<string, Scalar>, R extends Record<string, Scalar> = Record<string, Scalar>> {
  name: string
  /** The first is what is compared: neighbours in tables, lines in plots. */
  axes: { [K in keyof A]: readonly A[K][] }
  /** Seeds 1 to this. @default 20 */
  seeds?: number
  /** Column and its unit, for tables and plots, e.g. `{ completeMs: 'ms' }`; of the unit `share` (0 to 1, false and true) tables show the mean. */
  columns: { [K in keyof R]: string }
  /** What a quick look changes. @default { seeds: 5 } */
  quick?: { axes?: { [K in keyof A]?: readonly A[K][] }; seeds?: number }
  /** Gets a fresh world with the seed of the run; calls its `run` itself. */
  run(cell: A, world: World): Promise<R>
}

/** One line of the JSON Lines file. */
export interface Row {
  experiment: string
  cell: Cell
  seed: number
  ok: boolean
  /** Empty unless `ok`. */
  values: Readonly<Record<string, Scalar>>
  error: { code: string; message: string } | null
  traceHash: string
  virtualMs: number
  /** What the run cost. */
  realMs: number
  /** Of this package. */
  version: string
}

/** An experiment without its program: what crosses between threads. */
export interface ExperimentFacts {
  name: string
  axes: Readonly<Record<string, readonly Scalar[]>>
  seeds: number
  columns: Readonly<Record<string, string>>
  quick: { axes: Readonly<Record<string, readonly Scalar[]>>; seeds: number }
}

export interface Run {
  cell: Cell
  seed: number
}

/** Which part of an experiment is asked for. */
export interface Part {
  /** Values to keep, compared as text; axes left out stay whole. */
  axes?: Readonly<Record<string, readonly Scalar[]>> | undefined
  seeds?: number | undefined
  quick?: boolean | undefined
}

const SEEDS = 20
const QUICK_SEEDS = 5
const MAX_RUNS = 10_000_000

/** Checks the form, answers the same object. @throws QB_LAB_MODULE */
export function defineExperiment<A extends Record<string, Scalar>, R extends Record<string, Scalar>>(experiment: Experiment<A, R>): Experiment<A, R> {
  factsOf(experiment as unknown)
  return experiment
}

/** @throws QB_LAB_MODULE saying what is wrong */
export function factsOf(value: unknown): ExperimentFacts {
  const given = value as Partial<Experiment> | null | undefined
  if (typeof given !== 'object' || given === null) throw unusable('it is no object; write defineExperiment({ name, axes, columns, run })')
  const { name, axes, seeds = SEEDS, columns, quick = {}, run } = given
  if (typeof name !== 'string' || name === '') throw unusable('name is not a text')
  if (typeof run !== 'function') throw unusable('run is not a function')
  if (!isCount(seeds)) throw unusable('seeds is not a whole number from 1')
  if (!isRecord(columns) || !Object.values(columns).every((unit) => typeof unit === 'string')) throw unusable("columns is not an object of units like { completeMs: 'ms' }")
  const quickSeeds = quick.seeds ?? Math.min(seeds, QUICK_SEEDS)
  if (!isCount(quickSeeds)) throw unusable('quick.seeds is not a whole number from 1')
  const whole = checkAxes(axes, 'axes')
  const narrow = checkAxes(quick.axes ?? {}, 'quick.axes')
  for (const axis of Object.keys(narrow)) if (!(axis in whole)) throw unusable(`quick.axes has ${axis}, which is no axis`)
  return { name, axes: whole, seeds, columns: { ...columns }, quick: { axes: narrow, seeds: quickSeeds } }
}

/** Axes and seeds of what is asked for. @throws QB_OPTION_INVALID naming the axis and its values */
export function narrowed(facts: ExperimentFacts, { axes: asked = {}, seeds, quick = false }: Part): { axes: ExperimentFacts['axes']; seeds: number } {
  const axes: Record<string, readonly Scalar[]> = { ...facts.axes }
  // An axis that is named is looked up in all its values: a quick look leaves out values, it does not forbid them.
  if (quick) for (const [name, values] of Object.entries(facts.quick.axes)) axes[name] = values
  for (const [name, wanted] of Object.entries(asked)) {
    const whole = facts.axes[name]
    if (whole === undefined) throw invalidOption(`axes.${name}`, wanted, `an axis of ${facts.name}: ${Object.keys(facts.axes).join(', ') || 'it has none'}`)
    const known = [...whole, ...(facts.quick.axes[name] ?? [])]
    const missing = wanted.find((value) => !known.some((one) => String(one) === String(value)))
    if (missing !== undefined || wanted.length === 0) throw invalidOption(`axes.${name}`, missing ?? wanted, `some of ${[...new Set(known)].join(', ')}`)
    axes[name] = [...new Set(known)].filter((one) => wanted.some((value) => String(value) === String(one)))
  }
  return { axes, seeds: seeds ?? (quick ? facts.quick.seeds : facts.seeds) }
}

/** All runs, seed by seed: what an interrupted sweep leaves covers all cells. @throws QB_OPTION_INVALID if they are too many */
export function runsOf({ axes, seeds }: { axes: ExperimentFacts['axes']; seeds: number }): Run[] {
  const cells = Object.values(axes).reduce((product, values) => product * values.length, 1)
  if (cells * seeds > MAX_RUNS) throw invalidOption('axes', `${cells} cells with ${seeds} seeds`, `at most ${MAX_RUNS} runs; narrow the axes`)
  const crossed = cross(axes)
  return Array.from({ length: seeds }, (_, index) => crossed.map((cell) => ({ cell, seed: index + 1 }))).flat()
}

/** Cells in the order of the axes, the last one fastest. */
export function cross(axes: ExperimentFacts['axes']): Cell[] {
  let cells: Record<string, Scalar>[] = [{}]
  for (const [name, values] of Object.entries(axes)) cells = cells.flatMap((cell) => values.map((value) => ({ ...cell, [name]: value })))
  return cells
}

/** Equal for equal cells, whatever the order of their axes. */
export function cellKey(cell: Cell): string {
  return JSON.stringify(Object.entries(cell).sort(([one], [other]) => (one < other ? -1 : 1)))
}

export function runKey(cell: Cell, seed: number): string {
  return `${seed} ${cellKey(cell)}`
}

export function isScalar(value: unknown): value is Scalar {
  return value === null || typeof value === 'string' || typeof value === 'boolean' || (typeof value === 'number' && Number.isFinite(value))
}

export function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function checkAxes(axes: unknown, where: string): Record<string, readonly Scalar[]> {
  if (!isRecord(axes)) throw unusable(`${where} is not an object of lists`)
  for (const [name, values] of Object.entries(axes)) {
    if (!Array.isArray(values) || values.length === 0 || !values.every(isScalar)) throw unusable(`${where}.${name} is not a list of texts, numbers, booleans or null`)
  }
  return Object.fromEntries(Object.entries(axes).map(([name, values]) => [name, [...new Set(values as Scalar[])]]))
}

function isCount(value: unknown): value is number {
  return Number.isInteger(value) && (value as number) >= 1 && (value as number) <= 1_000_000
}

function unusable(why: string): ServiceError {
  return new ServiceError('QB_LAB_MODULE', `the experiment cannot be used: ${why}`)
}
