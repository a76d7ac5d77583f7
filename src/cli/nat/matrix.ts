/** `quicbraid nat matrix`: every pair of NATs, many times, in simulated worlds (or, with `--real`, between namespaces of the kernel): who meets whom, and how soon. */
import { rm, writeFile } from 'node:fs/promises'
import { resolve } from 'node:path'
import type { Command } from 'commander'
import { MATRIX_NATS, natMatrix, natReport } from '../../lab/index.ts'
import type { MatrixNat, NatMatrix, Row, SweepOptions, SweepPlan } from '../../lab/index.ts'
import { nowMs } from '../clock.ts'
import { asCommandError, CommandError, Exit, usageError } from '../exit.ts'
import { collectRows, ordered } from '../lab/index.ts'
import { parsed } from '../options.ts'
import { parseCount } from '../parse.ts'
import { rounded } from '../paths.ts'
import type { Context } from '../program.ts'
import { Progress } from '../progress.ts'
import { interruption, Interruption } from '../signals.ts'
import { runReal } from './real.ts'
import { loadStrategy } from './strategy.ts'
import { frameOf, gridLines, totalLines } from './matrix-view.ts'

export interface MatrixValues {
  nats?: readonly MatrixNat[]
  loss?: readonly number[]
  seeds?: number
  strategy?: string
  portSearch?: true
  real?: true
  html?: string
  out?: string
  resume?: boolean
  workers?: number
  quiet?: true
  json?: true
}

const SEEDS = 20
/** Pairs of the kernel take seconds. */
const REAL_SEEDS = 1

export function addMatrix(nat: Command, context: Context): void {
  nat.command('matrix').description('every pair of NATs in simulated networks: who gets a direct path, and how soon')
    .option('--nats <list>', `only these: ${MATRIX_NATS.join(', ')}`, parsed(parseNats))
    .option('--loss <list>', 'percent lost each way; several make several grids (0)', parsed(parseLoss))
    .option('--seeds <n>', `runs of each pair (${SEEDS}; ${REAL_SEEDS} with --real)`, parsed((text) => parseCount(text, 1, 1_000_000)))
    .option('--strategy <file>', "punch by one's own plan: a file (.ts, .mjs, .js) that exports `strategy`")
    .option('--port-search', 'allow the search of ports, up to 1000 probes for a pair')
    .option('--real', 'network namespaces of this machine in place of simulated networks (needs root)')
    .option('--html <file>', 'write a report with a heat map')
    .option('-o, --out <file>', 'write rows as JSON Lines; rows that are there are not run again')
    .option('--no-resume', 'start the file of --out anew')
    .option('--workers <n>', 'threads (cores)', parsed((text) => parseCount(text, 1, 1024)))
    .option('-q, --quiet', 'no progress')
    .option('--json', 'result as JSON on stdout')
    .action(async (values: MatrixValues) => matrix(values, context))
}

async function matrix(values: MatrixValues, context: Context): Promise<void> {
  // A strategy that cannot be used is an error of the command line, not of every run.
  if (values.strategy !== undefined) await loadStrategy(values.strategy)
  if (values.out !== undefined && values.resume === false) await rm(values.out, { force: true })
  if (values.real === true && (values.strategy !== undefined || values.loss !== undefined || values.workers !== undefined)) throw usageError('--real runs the plans of the library over whole links, one pair after the other: leave out --strategy, --loss and --workers')
  return measure(values, context)
}

function collect(values: MatrixValues, signal: AbortSignal, onPlan: (plan: SweepPlan) => void, onRow: (row: Row) => void): Promise<void> {
  if (values.real !== true) return collectRows({ ...sweepOf(values), signal, onPlan }, onRow)
  return runReal({ nats: values.nats ?? MATRIX_NATS, seeds: values.seeds ?? REAL_SEEDS, search: values.portSearch === true ? 'on' : 'off', out: values.out, signal, onPlan }, onRow)
}

function sweepOf({ nats, loss = [0], seeds = SEEDS, strategy, portSearch, out, workers }: MatrixValues): SweepOptions {
  const parameters = new URLSearchParams({ loss: loss.join(','), search: portSearch === true ? 'on' : 'off', ...(strategy === undefined ? {} : { strategy: resolve(strategy) }) })
  return {
    module: `builtin:nat?${parameters.toString()}`, seeds,
    ...(nats === undefined ? {} : { axes: { a: nats, b: nats } }),
    ...(out === undefined ? {} : { out }),
    ...(workers === undefined ? {} : { workers }),
  }
}

async function measure(values: MatrixValues, { terminal, end }: Context): Promise<void> {
  using interrupted = new Interruption()
  const rows: Row[] = []
  const started = nowMs()
  let plan: SweepPlan | null = null
  const progress = new Progress(terminal, values.json === true || values.quiet === true ? 'quiet' : 'shown', () => frameOf(plan, rows, nowMs() - started, terminal.colors))
  const result = (): { facts: object; found: NatMatrix; list: readonly Row[]; seconds: number } => {
    const list = plan === null ? rows : ordered(rows, plan.axes, Object.keys(plan.axes))
    const found = natMatrix(list)
    const seconds = rounded((nowMs() - started) / 1000)
    return { found, list, seconds, facts: { seconds, ...factsOf(found), seeds: plan?.seeds ?? null, html: values.html ?? null, out: values.out ?? null } }
  }
  const print = ({ found, seconds }: ReturnType<typeof result>): void => {
    for (const line of [...gridLines(found.cells, terminal.colors), ...totalLines(found, seconds)]) terminal.result(line)
  }
  progress.start()
  try {
    await collect(values, interrupted.signal, (told) => { plan = told }, (row) => void rows.push(row))
  } catch (error) {
    progress.stop()
    const so = result()
    if (values.json !== true && rows.length > 0) print(so)
    throw asCommandError(interruption(interrupted.signal) ?? error, 'connected', so.facts)
  } finally {
    progress.stop()
  }
  const done = result()
  if (values.html !== undefined) await writeFile(values.html, natReport(done.list))
  if (values.json !== true) print(done)
  const failed = rows.find(({ ok }) => !ok)
  if (failed !== undefined) {
    const { a, b, loss } = failed.cell
    throw new CommandError('QB_RESULT_WRONG', Exit.INCOMPLETE, `${done.found.failed} of ${rows.length} runs failed; the first: seed ${failed.seed}, ${String(a)} × ${String(b)}, ${String(loss)} % lost: ${failed.error?.message ?? ''}`, { facts: done.facts })
  }
  if (values.json === true) terminal.json({ ok: true, ...done.facts })
  end(Exit.DONE)
}

/** The JSON fields of a matrix; times in ms with three digits after the point. */
function factsOf({ cells, reached, expected, runs, failed, cones, firstByte, probes }: NatMatrix): object {
  const short = (value: number | null): number | null => (value === null ? null : rounded(value))
  const all = <T extends object>(numbers: T | null): object | null => (numbers === null ? null : Object.fromEntries(Object.entries(numbers).map(([name, value]) => [name, short(value as number | null)])))
  return {
    cells: cells.map((cell) => ({ ...cell, direct: rounded(cell.direct), msP50: short(cell.msP50), msP95: short(cell.msP95), probes: rounded(cell.probes) })),
    reached, expected, runs, failed, cones: all(cones), firstByte: all(firstByte), probes: all(probes),
  }
}

function parseNats(text: string): readonly MatrixNat[] {
  const names = text.split(',').map((name) => name.trim())
  const wrong = names.find((name) => !MATRIX_NATS.some((known) => known === name))
  if (wrong !== undefined) throw usageError(`'${wrong}' is no kind of NAT; there are: ${MATRIX_NATS.join(', ')}`)
  return MATRIX_NATS.filter((name) => names.includes(name))
}

function parseLoss(text: string): readonly number[] {
  const values = text.split(',').map((part) => Number(part.trim().replace(/\s*%$/, '') || Number.NaN))
  if (!values.every((value) => value >= 0 && value < 100)) throw usageError(`'${text}' is not a list of percentages from 0 to less than 100, like 0,5,20`)
  return [...new Set(values)]
}
