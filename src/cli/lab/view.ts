/** What `quicbraid lab` shows: progress with the time left, the table of quantiles, the list of axes. Pure. */
import type { ColumnSummary, Row, Scalar, Summary, SweepPlan } from '../../lab/index.ts'
import { formatBar, formatCount, formatMs, formatShare, formatTable } from '../format.ts'
import type { Frame } from '../progress.ts'
import type { Colors } from '../terminal.ts'

const BAR = 24
/** New rows after which the time left is told. */
const ENOUGH = 5

export function frameOf(plan: SweepPlan | null, rows: readonly Row[], elapsedMs: number, colors: Colors): Frame {
  if (plan === null) return { lines: ['loading the experiment'], line: 'loading the experiment' }
  const failed = rows.filter(({ ok }) => !ok).length
  const share = plan.runs === 0 ? 1 : rows.length / plan.runs
  const fresh = rows.length - plan.there
  const left = fresh >= ENOUGH ? `${formatMs((elapsedMs / fresh) * (plan.runs - rows.length))} left` : ''
  const words = [`${formatCount(rows.length)} of ${formatCount(plan.runs)} runs`, failed === 0 ? '' : `${formatCount(failed)} failed`, plan.there === 0 ? '' : `${formatCount(plan.there)} were there`, workersOf(plan), left].filter((word) => word !== '')
  const line = `${plan.experiment.name}: ${words.join(', ')}`
  return { lines: [`${plan.experiment.name} ${colors.cyan(formatBar(share, BAR))} ${words.join(', ')}`], line }
}

function workersOf({ workers, server }: SweepPlan): string {
  if (server === null) return `${workers} threads`
  return workers === 0 ? `no worker listened at ${server}` : `${workers} ${workers === 1 ? 'worker' : 'workers'} at ${server}`
}

/** One line a cell: axes that vary (the first last and fastest: it is what is compared), runs, failures, P50, P90 and P99 of each column. */
export function tableOf({ experiment, axes, seeds }: SweepPlan, summaries: readonly Summary[]): string[] {
  const [first, ...others] = Object.keys(axes).filter((name) => (axes[name]?.length ?? 0) > 1)
  const varying = first === undefined ? [] : [...others, first]
  const fixed = Object.entries(axes).filter(([name]) => !varying.includes(name)).map(([name, [value]]) => `${name} ${String(value)}`)
  const columns = Object.keys(experiment.columns).filter((name) => summaries.some((summary) => summary.columns[name] !== undefined))
  const failed = summaries.some((summary) => summary.failed > 0)
  const isShare = (name: string): boolean => experiment.columns[name] === 'share'
  const head = [...varying, 'runs', ...(failed ? ['failed'] : []), ...columns.flatMap((name) => (isShare(name) ? [name] : [`${title(name, experiment.columns[name])} P50`, 'P90', 'P99']))]
  const lines = ordered(summaries, axes, varying).map(({ cell, runs, failed: count, columns: found }) => [
    ...varying.map((name) => String(cell[name])), String(runs), ...(failed ? [String(count)] : []),
    ...columns.flatMap((name) => (isShare(name) ? [shareOf(found[name])] : quantilesOf(found[name]))),
  ])
  return [`${experiment.name}: ${formatCount(summaries.length)} cells, ${seeds} seeds${fixed.length === 0 ? '' : `; ${fixed.join(', ')}`}`, '', ...formatTable([head, ...lines])]
}

export function listLines({ experiment, axes, seeds, runs }: SweepPlan): string[] {
  const cells = Object.values(axes).reduce((product, values) => product * values.length, 1)
  const rows = Object.entries(axes).map(([name, values]) => [`  ${name}`, values.map(String).join(', ')])
  const columns = Object.entries(experiment.columns).map(([name, unit]) => title(name, unit))
  return [`${experiment.name}: ${formatCount(cells)} cells with ${seeds} seeds, ${formatCount(runs)} runs`, ...formatTable([['  axis', 'values'], ...rows]), `columns: ${columns.join(', ')}`]
}

function quantilesOf(column: ColumnSummary | undefined): string[] {
  return column === undefined ? ['-', '-', '-'] : [column.p50, column.p90, column.p99].map(figure)
}

function shareOf(column: ColumnSummary | undefined): string {
  return column === undefined ? '-' : formatShare(column.mean)
}

/** Rows finish in any order; tables and reports have them in the order of the values of `names`. */
export function ordered<T extends { cell: Summary['cell'] }>(list: readonly T[], axes: Readonly<Record<string, readonly Scalar[]>>, names: readonly string[]): T[] {
  const rank = ({ cell }: T): number => names.reduce((sum, name) => sum * (axes[name]?.length ?? 1) + Math.max(0, axes[name]?.indexOf(cell[name] ?? null) ?? 0), 0)
  return [...list].sort((one, other) => rank(one) - rank(other))
}

/** `completeMs` with the unit `ms` is `complete [ms]`. */
function title(name: string, unit = ''): string {
  if (unit === '' || unit === 'share' || unit === name) return name
  const bare = name.toLowerCase().endsWith(unit.toLowerCase()) && name.length > unit.length ? name.slice(0, -unit.length) : name
  return `${bare} [${unit}]`
}

/** Three significant digits, none of them lost before the point. */
function figure(value: number): string {
  if (Math.abs(value) >= 100 || Number.isInteger(value)) return String(Math.round(value))
  return String(Number(value.toPrecision(3)))
}
