/** What `quicbraid nat matrix` shows: progress with the time left, a grid of who meets whom, the measures in words. Pure. */
import type { MatrixCell, NatMatrix, Row, SweepPlan } from '../../lab/index.ts'
import { formatBar, formatCount, formatMs, formatShare } from '../format.ts'
import type { Frame } from '../progress.ts'
import type { Colors } from '../terminal.ts'

const BAR = 24
/** New rows after which the time left is told. */
const ENOUGH = 5
/** A column of the grid. */
const WIDTH = 8

/** Heads of columns. */
const SHORT: Readonly<Record<string, string>> = {
  none: 'none', 'full-cone': 'full', 'addr-restricted': 'addr', 'port-restricted': 'port', symmetric: 'symm', linux: 'linux', 'adm-apdf': 'adm', 'apdm-apdf-sequential': 'seq',
}

export function frameOf(plan: SweepPlan | null, rows: readonly Row[], elapsedMs: number, colors: Colors): Frame {
  if (plan === null) return { lines: ['starting the threads'], line: 'nat matrix: starting the threads' }
  const failed = rows.filter(({ ok }) => !ok).length
  const direct = rows.filter(({ values }) => values['direct'] === true).length
  const fresh = rows.length - plan.there
  const words = [
    `${formatCount(rows.length)} of ${formatCount(plan.runs)} runs`, `${formatCount(direct)} direct`, failed === 0 ? '' : `${formatCount(failed)} failed`, plan.there === 0 ? '' : `${formatCount(plan.there)} were there`,
    fresh >= ENOUGH ? `${formatMs((elapsedMs / fresh) * (plan.runs - rows.length))} left` : '',
  ].filter((word) => word !== '').join(', ')
  return { lines: [`nat matrix ${colors.cyan(formatBar(plan.runs === 0 ? 1 : rows.length / plan.runs, BAR))} ${words}`], line: `nat matrix: ${words}` }
}

/** A grid for every loss: time to the direct path, or how many runs got one, or that the relay is what remains. */
export function gridLines(cells: readonly MatrixCell[], colors: Colors): string[] {
  const losses = [...new Set(cells.map(({ loss }) => loss))].sort((one, other) => one - other)
  return losses.flatMap((loss, index) => [
    ...(index === 0 ? [] : ['']), ...(losses.length > 1 || loss > 0 ? [`${loss} % lost each way`] : []), ...grid(cells.filter((cell) => cell.loss === loss), colors),
  ])
}

function grid(cells: readonly MatrixCell[], colors: Colors): string[] {
  const [rows, columns] = [[...new Set(cells.map(({ a }) => a))], [...new Set(cells.map(({ b }) => b))]]
  const label = Math.max(...rows.map((name) => name.length), 'dials \\ dialled'.length)
  const head = `${'dials \\ dialled'.padEnd(label)}${columns.map((name) => (SHORT[name] ?? name).slice(0, WIDTH - 1).padStart(WIDTH)).join('')}`
  return [colors.dim(head), ...rows.map((a) => `${a.padEnd(label)}${columns.map((b) => gridCell(cells.find((cell) => cell.a === a && cell.b === b), colors)).join('')}`)]
}

function gridCell(cell: MatrixCell | undefined, { green, yellow, red, dim }: Colors): string {
  if (cell === undefined) return ' '.repeat(WIDTH)
  const { verdict, expected, msP50, direct, failed } = cell
  const odd = failed > 0 || (expected !== null && expected !== verdict) ? '!' : ''
  const text = verdict === 'direct' && msP50 !== null ? `${Math.round(msP50)}${odd}` : verdict === 'mixed' ? `${formatShare(direct).replace(' ', '')}${odd}` : `relay${odd}`
  const color = odd !== '' ? red : verdict === 'direct' ? green : verdict === 'mixed' ? yellow : dim
  return color(text.padStart(WIDTH))
}

/** What all of it comes to. */
export function totalLines(matrix: NatMatrix, seconds: number): string[] {
  const { cells, reached, expected, runs, failed, cones, firstByte, probes } = matrix
  const differ = cells.filter(({ expected: wanted, verdict }) => wanted !== null && wanted !== verdict)
  const lines = [
    'P50 of the time from connect to the direct path, ms; relay: stays there, nothing lost',
    '',
    `direct       ${reached} of ${cells.length} pairs, ${expected} by the reference table${differ.length === 0 ? '' : `; not as it says: ${differ.slice(0, 8).map(({ a, b }) => `${a} × ${b}`).join(', ')}${differ.length > 8 ? ' …' : ''}`}`,
  ]
  if (cones !== null) lines.push(`cone pairs   ${formatMs(cones.msP50)} to the direct path (P50 of ${formatCount(cones.runs)} runs); limit ${formatMs(cones.limitMs)}: two round trips over the relay and 150 ms`)
  if (firstByte !== null) {
    const { relayedMsP50, relayRttMsP50, directMsP50 } = firstByte
    lines.push(`first byte   ${formatMs(relayedMsP50)} over the relay${directMsP50 === null ? '' : `, ${formatMs(directMsP50)} without one`} (P50; round trip over the relay ${formatMs(relayRttMsP50)})`)
  }
  lines.push(`probes       ${Number(probes.mean.toFixed(1))} a run, ${formatCount(probes.max)} at most`, `runs         ${formatCount(runs)} in ${formatMs(seconds * 1000)}${failed === 0 ? '' : `, ${formatCount(failed)} failed`}`)
  return lines
}
