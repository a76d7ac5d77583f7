/**
 * The HTML report: one file without outside references, readable in light and dark. What stands in it: runs over time, a heat map and
 * distribution curves of every column, the table of all cells, the failures. Plots are SVG made by `plots.ts`. Pure.
 */
import { cellKey } from './experiment.ts'
import type { Cell, Row, Scalar } from './experiment.ts'
import { curves, escapeHtml, figure, heatMap, lines as timeLines } from './plots.ts'
import type { Series } from './plots.ts'
import { numbersOf, summarize } from './summarize.ts'
import type { Summary } from './summarize.ts'
import type { Timeline } from './timeline.ts'

export interface ReportOptions {
  /** @default the names of the experiments */
  title?: string
  /** Runs to show over time. @default none */
  timelines?: readonly Timeline[]
}

/** More cells than a person reads stay in the rows' file. */
const MAX_LINES = 2000
const MAX_FAILURES = 50
/** Panels of curves for one column, and columns of a heat map. */
const MAX_PANELS = 12
const MAX_COLUMNS = 24

/** Rows of one experiment; of several their cells stand side by side. */
export function report(rows: Iterable<Row>, options: ReportOptions = {}): string {
  const all = [...rows]
  const summaries = summarize(all)
  const title = options.title ?? ([...new Set(all.map(({ experiment }) => experiment))].join(', ') || 'no rows')
  const axes = axesOf(all)
  const varying = [...axes].filter(([, values]) => values.length > 1).map(([name]) => name)
  const fixed = [...axes].filter(([, values]) => values.length === 1).map(([name, [value]]) => `${name} ${String(value)}`)
  const columns = [...new Set(summaries.flatMap((summary) => Object.keys(summary.columns)))]
  const failed = all.filter(({ ok }) => !ok)
  const body = [
    `<h1>${escapeHtml(title)}</h1>`,
    `<p class="facts">${escapeHtml(factsOf(all, summaries, failed, fixed))}</p>`,
    ...(options.timelines ?? []).map(timelineSection),
    ...columns.flatMap((column) => section(column, all, axes, varying)),
    tableSection(ordered(summaries, axes), [...varying.slice(1), ...varying.slice(0, 1)], columns, failed.length > 0),
    failureSection(failed),
  ]
  return page(title, body)
}

/** A whole document of these pieces of HTML. `style`: rules besides those of all reports. */
export function page(title: string, body: readonly string[], style = ''): string {
  return `<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<meta name="viewport" content="width=device-width, initial-scale=1">\n<title>${escapeHtml(title)}</title>\n<style>${STYLE}${style}</style>\n</head>\n<body>\n<main>\n${body.join('\n')}\n</main>\n</body>\n</html>\n`
}

/** Values of each axis, in the order of the rows; numbers rising. */
function axesOf(rows: readonly Row[]): Map<string, Scalar[]> {
  const found = new Map<string, Set<Scalar>>()
  for (const { cell } of rows) {
    for (const [name, value] of Object.entries(cell)) {
      const values = found.get(name)
      if (values === undefined) found.set(name, new Set([value]))
      else values.add(value)
    }
  }
  return new Map([...found].map(([name, values]) => [name, values.size > 1 && [...values].every((value) => typeof value === 'number') ? [...values].sort((one, other) => Number(one) - Number(other)) : [...values]]))
}

/** By the axes, the first one fastest: what is compared stands together. */
function ordered(summaries: readonly Summary[], axes: ReadonlyMap<string, Scalar[]>): Summary[] {
  const [first, ...others] = [...axes]
  const order = first === undefined ? [] : [...others, first]
  const rank = ({ cell }: Summary): number => order.reduce((sum, [name, values]) => sum * values.length + Math.max(0, values.indexOf(cell[name] ?? null)), 0)
  return [...summaries].sort((one, other) => rank(one) - rank(other))
}

function factsOf(rows: readonly Row[], summaries: readonly Summary[], failed: readonly Row[], fixed: readonly string[]): string {
  const seeds = new Set(rows.map(({ seed }) => seed)).size
  const versions = [...new Set(rows.map(({ version }) => version))].join(', ')
  const hours = rows.reduce((sum, { virtualMs }) => sum + virtualMs, 0) / 3_600_000
  const words = [`${rows.length} runs`, `${summaries.length} cells`, `${seeds} seeds at most`, `${failed.length} failed`, `${figure(hours)} h of virtual time`, `version ${versions || 'unknown'}`, ...fixed]
  return words.join(' · ')
}

/** The heat map and the curves of one column. The first axis that varies makes lines and colours, the second panels and columns. */
function section(column: string, rows: readonly Row[], axes: ReadonlyMap<string, Scalar[]>, varying: readonly string[]): string[] {
  const values = rows.map(({ values }) => values[column]).filter((value) => typeof value === 'number' || typeof value === 'boolean')
  const extent = values.reduce<[number, number]>(([least, most], value) => [Math.min(least, Number(value)), Math.max(most, Number(value))], [Infinity, -Infinity])
  const [line, ...others] = varying
  if (extent[0] >= extent[1] || line === undefined) return []
  const flags = values.every((value) => typeof value === 'boolean')
  const heat = heatSection({ column, quantity: flags ? 'mean' : 'p50', line, others }, rows, axes)
  if (flags) return [`<section><h2>${escapeHtml(column)}</h2>`, heat, '</section>']
  const lines = axes.get(line) ?? []
  // The panels are of an axis that fits; what remains is taken together.
  const panel = others.find((name) => (axes.get(name)?.length ?? 0) <= MAX_PANELS)
  const panels: Scalar[] = panel === undefined ? [null] : (axes.get(panel) ?? [])
  const grouped = groups(rows, [line, ...(panel === undefined ? [] : [panel])])
  const at = (value: Scalar, of: Scalar): Row[] => grouped.get(cellKey(panel === undefined ? { [line]: value } : { [line]: value, [panel]: of })) ?? []
  const plots = panels.map((of) => {
    const series: Series[] = lines.map((value) => ({ name: String(value), sorted: numbersOf(at(value, of)).get(column) ?? [] }))
    return curves(panel === undefined ? '' : `${panel} ${String(of)}`, column, series, extent)
  })
  const together = varying.filter((name) => name !== line && name !== panel)
  const note = together.length === 0 ? '' : ` All values of ${together.join(', ')} together.`
  return [
    `<section><h2>${escapeHtml(column)}</h2>`,
    `<p>Share of runs (upwards) that need no more than so much; a line for each ${escapeHtml(line)}.${escapeHtml(note)}</p>`,
    legend(lines.map(String)),
    `<div class="panels">${plots.join('')}</div>`,
    heat,
    '</section>',
  ]
}

interface Heat {
  column: string
  quantity: 'mean' | 'p50'
  line: string
  others: readonly string[]
}

/** By the first axis and as many others as fit side by side. */
function heatSection({ column, quantity, line, others }: Heat, rows: readonly Row[], axes: ReadonlyMap<string, Scalar[]>): string {
  const across: string[] = []
  let width = 1
  for (const name of others) {
    const count = axes.get(name)?.length ?? 1
    if (width * count > MAX_COLUMNS) continue
    width *= count
    across.push(name)
  }
  if (across.length === 0) return ''
  let heads: Cell[] = [{}]
  for (const name of across) heads = heads.flatMap((head) => (axes.get(name) ?? []).map((value) => ({ ...head, [name]: value })))
  const grouped = groups(rows, [line, ...across])
  const values = (axes.get(line) ?? []).map((value) => ({
    name: String(value),
    cells: heads.map((head) => summarize((grouped.get(cellKey({ ...head, [line]: value })) ?? []).map((row) => ({ ...row, cell: {} })))[0]?.columns[column]?.[quantity] ?? null),
  }))
  return `<h3>${quantity === 'mean' ? 'Mean' : 'P50'} by ${escapeHtml(line)} and ${escapeHtml(across.join(', '))}</h3>${heatMap(line, across.map((name) => ({ name, values: heads.map((head) => String(head[name])) })), values)}`
}

/** One run: what arrived over each link, RTT and window of each path. */
function timelineSection({ cell, seed, endMs, rates, rtts, windows }: Timeline): string {
  const what = [...Object.entries(cell).map(([name, value]) => `${name} ${String(value)}`), `seed ${seed}`].join(', ')
  const paths = [...new Set([...rtts, ...windows].map(({ name }) => name))]
  return [
    `<section><h2>One run over time</h2><p>${escapeHtml(what)}.</p>`,
    `<div class="panels"><div>${timeLines('Arrived over each link', 'Mbit/s', rates, endMs, 'slopes')}${legend(rates.map(({ name }) => name))}</div>`,
    `<div>${timeLines('Smoothed RTT', 'ms', rtts, endMs, 'steps')}${legend(paths)}</div>`,
    `<div>${timeLines('Congestion window', 'KiB', windows, endMs, 'steps')}${legend(paths)}</div></div></section>`,
  ].join('')
}

function groups(rows: readonly Row[], names: readonly string[]): Map<string, Row[]> {
  const found = new Map<string, Row[]>()
  for (const row of rows) {
    const key = cellKey(Object.fromEntries(names.map((name) => [name, row.cell[name] ?? null])))
    const group = found.get(key)
    if (group === undefined) found.set(key, [row])
    else group.push(row)
  }
  return found
}

/** Names with the colours of the lines of a plot. */
export function legend(names: readonly string[]): string {
  return `<p class="legend">${names.map((name, index) => `<span><i class="c${index % 8}"></i>${escapeHtml(name)}</span>`).join('')}</p>`
}

function tableSection(summaries: readonly Summary[], varying: readonly string[], columns: readonly string[], failed: boolean): string {
  const shown = summaries.slice(0, MAX_LINES)
  const head = [...varying, 'runs', ...(failed ? ['failed'] : [])].map((name) => `<th rowspan="2">${escapeHtml(name)}</th>`).join('')
  const lines = shown.map(({ cell, runs, failed: count, columns: found }) => {
    const numbers = columns.flatMap((name) => (found[name] === undefined ? ['', '', '', ''] : [found[name].p50, found[name].p90, found[name].p99, found[name].mean].map(figure)))
    return `<tr>${varying.map((name) => `<td>${escapeHtml(String(cell[name] ?? ''))}</td>`).join('')}<td class="n">${runs}</td>${failed ? `<td class="n${count > 0 ? ' bad' : ''}">${count}</td>` : ''}${numbers.map((text) => `<td class="n">${text}</td>`).join('')}</tr>`
  })
  const more = summaries.length > shown.length ? `<p>${summaries.length - shown.length} more cells are not shown.</p>` : ''
  return `<section><h2>All cells</h2><div class="wide"><table><thead><tr>${head}${columns.map((name) => `<th colspan="4">${escapeHtml(name)}</th>`).join('')}</tr><tr>${columns.map(() => '<th>P50</th><th>P90</th><th>P99</th><th>mean</th>').join('')}</tr></thead><tbody>${lines.join('\n')}</tbody></table></div>${more}</section>`
}

export function failureSection(failed: readonly Row[]): string {
  if (failed.length === 0) return ''
  const lines = failed.slice(0, MAX_FAILURES).map(({ cell, seed, error }) => `<tr><td>${escapeHtml(Object.entries(cell).map(([name, value]) => `${name} ${String(value)}`).join(', '))}</td><td class="n">${seed}</td><td>${escapeHtml(error?.code ?? '')}</td><td>${escapeHtml((error?.message ?? '').slice(0, 300))}</td></tr>`)
  const more = failed.length > lines.length ? `<p>${failed.length - lines.length} more are in the rows.</p>` : ''
  return `<section><h2>Failed runs</h2><div class="wide"><table><thead><tr><th>cell</th><th>seed</th><th>code</th><th>message</th></tr></thead><tbody>${lines.join('\n')}</tbody></table></div>${more}</section>`
}

/** Eight colours that stay apart for most eyes, in a light and a dark set. */
const STYLE = `
:root{color-scheme:light dark;--bg:#fff;--fg:#1b1f24;--dim:#59636e;--line:#d5dae0;--heat:9,105,218;--bad:#c4232b;--c0:#0b63c5;--c1:#c2410c;--c2:#15803d;--c3:#8b2fc9;--c4:#a16207;--c5:#0e7490;--c6:#be185d;--c7:#4b5563}
@media (prefers-color-scheme:dark){:root{--bg:#14171b;--fg:#e6e9ed;--dim:#9aa4af;--line:#343b44;--heat:96,165,250;--bad:#ff7b72;--c0:#6cb2ff;--c1:#ff9a5c;--c2:#5fd38d;--c3:#c79bff;--c4:#e3b341;--c5:#4fd1e0;--c6:#ff8ac0;--c7:#b0b8c2}}
*{box-sizing:border-box}body{margin:0;background:var(--bg);color:var(--fg);font:15px/1.5 system-ui,sans-serif}main{max-width:1180px;margin:0 auto;padding:24px 20px 60px}
h1{font-size:26px;margin:0 0 4px}h2{font-size:19px;margin:36px 0 4px;border-top:1px solid var(--line);padding-top:18px}h3{font-size:15px;margin:18px 0 6px}p{margin:4px 0;color:var(--dim)}
.panels{display:grid;grid-template-columns:repeat(auto-fill,minmax(340px,1fr));gap:10px 18px}svg{width:100%;height:auto;display:block}svg text{fill:var(--dim);font:11px system-ui,sans-serif}svg .name{fill:var(--fg);font-weight:600;font-size:12px}
svg .grid{stroke:var(--line);stroke-width:1}svg .curve{fill:none;stroke-width:2;stroke-linejoin:round}.legend{display:flex;flex-wrap:wrap;gap:4px 16px;color:var(--fg)}.legend i{display:inline-block;width:18px;height:3px;margin-right:6px;vertical-align:middle}
${Array.from({ length: 8 }, (_, index) => `.legend .c${index}{background:var(--c${index})}svg .c${index}{stroke:var(--c${index})}`).join('')}
.wide{overflow-x:auto}table{border-collapse:collapse;font-size:13px;margin:8px 0}th,td{border:1px solid var(--line);padding:2px 8px;text-align:left;white-space:nowrap}th{font-weight:600}td.n{text-align:right;font-variant-numeric:tabular-nums}td.bad{color:var(--bad);font-weight:600}td.heat{text-align:right;font-variant-numeric:tabular-nums;background:rgba(var(--heat),var(--a))}
`
