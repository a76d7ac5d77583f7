/** SVG and HTML pieces of a report: distribution curves, time lines, heat maps. Colours are classes and variables of the report's style. Pure. */
import { quantile } from './summarize.ts'
import type { Points, TimelineSeries } from './timeline.ts'

export interface Series {
  name: string
  /** Rising. */
  sorted: readonly number[]
}

const WIDTH = 380
const HEIGHT = 220
const LEFT = 40
const RIGHT = 12
const TOP = 26
const BOTTOM = 34
/** Points of a curve; more cannot be seen. */
const POINTS = 160
/** Points of a time line: least and largest value of as many intervals as this has pairs. */
const LINE_POINTS = 600
/** From this ratio of largest to smallest on, the axis is logarithmic. */
const LOG_RATIO = 30

/** Cumulative distributions in one panel, over `extent` (least and largest value of all panels). */
export function curves(name: string, column: string, series: readonly Series[], extent: readonly [number, number]): string {
  const head = `<text class="name" x="${LEFT}" y="14">${escapeHtml(name)}</text>`
  const frame = (inside: string): string => `<svg viewBox="0 0 ${WIDTH} ${HEIGHT}" role="img" aria-label="${escapeHtml(`${column} ${name}`)}">${head}${inside}</svg>`
  if (series.every(({ sorted }) => sorted.length === 0)) return frame(`<text x="${LEFT}" y="${HEIGHT / 2}">no run succeeded</text>`)
  const scale = scaleOf(...extent)
  const bottom = HEIGHT - BOTTOM
  const y = (share: number): number => bottom - share * (bottom - TOP)
  const rows = [0, 0.5, 0.9, 1].map((share) => `<line class="grid" x1="${LEFT}" x2="${WIDTH - RIGHT}" y1="${short(y(share))}" y2="${short(y(share))}"/>${share === 1 ? '' : `<text x="${LEFT - 6}" y="${short(y(share) + 4)}" text-anchor="end">${share * 100} %</text>`}`)
  const marks = scale.ticks.map((tick) => `<line class="grid" x1="${short(scale.x(tick))}" x2="${short(scale.x(tick))}" y1="${bottom}" y2="${bottom + 4}"/><text x="${short(scale.x(tick))}" y="${bottom + 16}" text-anchor="middle">${figure(tick)}</text>`)
  const label = `<text x="${WIDTH - RIGHT}" y="${HEIGHT - 4}" text-anchor="end">${escapeHtml(column)}${scale.logarithmic ? ', logarithmic' : ''}</text>`
  // Later lines are thinner, so that equal ones show beneath each other.
  const lines = series.map(({ name, sorted }, index) => (sorted.length === 0 ? '' : `<path class="curve c${index % 8}"${index < 8 ? '' : ' stroke-dasharray="5 3"'} style="stroke-width:${short(2 + 0.7 * Math.min(4, series.length - 1 - index))}" d="${stepsOf(sorted, scale.x, y)}"><title>${escapeHtml(`${name}: P50 ${figure(quantile(sorted, 0.5))}, P90 ${figure(quantile(sorted, 0.9))}, P99 ${figure(quantile(sorted, 0.99))}, ${sorted.length} runs`)}</title></path>`))
  return frame([...rows, ...marks, label, ...lines].join(''))
}

/** Values over virtual time, a line each; steps: a value holds until the next one. */
export function lines(name: string, unit: string, series: readonly TimelineSeries[], endMs: number, shape: 'steps' | 'slopes'): string {
  const all = series.flatMap(({ points }) => points.map(([, value]) => value))
  const head = `<text class="name" x="${LEFT}" y="14">${escapeHtml(name)}</text>`
  if (all.length === 0) return `<svg viewBox="0 0 ${WIDTH} ${HEIGHT}" role="img" aria-label="${escapeHtml(name)}">${head}<text x="${LEFT}" y="${HEIGHT / 2}">nothing was measured</text></svg>`
  const bottom = HEIGHT - BOTTOM
  const most = all.reduce((sum, value) => Math.max(sum, value), 0) || 1
  const step = niceStep(most / 4)
  const top = Math.ceil(most / step) * step
  const y = (value: number): number => bottom - (value / top) * (bottom - TOP)
  const scale = scaleOf(0, Math.max(1, endMs), 'linear')
  const rows = Array.from({ length: Math.round(top / step) + 1 }, (_, index) => index * step).map((value) => `<line class="grid" x1="${LEFT}" x2="${WIDTH - RIGHT}" y1="${short(y(value))}" y2="${short(y(value))}"/><text x="${LEFT - 6}" y="${short(y(value) + 4)}" text-anchor="end">${figure(value)}</text>`)
  const marks = scale.ticks.map((tick) => `<line class="grid" x1="${short(scale.x(tick))}" x2="${short(scale.x(tick))}" y1="${bottom}" y2="${bottom + 4}"/><text x="${short(scale.x(tick))}" y="${bottom + 16}" text-anchor="middle">${figure(tick)}</text>`)
  const label = `<text x="${WIDTH - RIGHT}" y="${HEIGHT - 4}" text-anchor="end">virtual ms</text><text x="${WIDTH - RIGHT}" y="14" text-anchor="end">${escapeHtml(unit)}</text>`
  const paths = series.map(({ name: of, points }, index) => {
    const thin = thinned(points)
    const drawn = thin.map(([ms, value], at) => `${at === 0 ? 'M' : shape === 'steps' ? `H${short(scale.x(ms))}V` : 'L'}${at > 0 && shape === 'steps' ? short(y(value)) : `${short(scale.x(ms))} ${short(y(value))}`}`).join('')
    const held = shape === 'steps' ? `H${short(scale.x(endMs))}` : ''
    return `<path class="curve c${index % 8}" style="stroke-width:1.5" d="${drawn}${held}"><title>${escapeHtml(of)}</title></path>`
  })
  return `<svg viewBox="0 0 ${WIDTH} ${HEIGHT}" role="img" aria-label="${escapeHtml(name)}">${head}${[...rows, ...marks, label, ...paths].join('')}</svg>`
}

/** Rows of numbers, coloured from the least to the largest of all; null is an empty cell. `heads` stand above, one row each. */
export function heatMap(corner: string, heads: readonly { name: string; values: readonly string[] }[], rows: readonly { name: string; cells: readonly (number | null)[] }[]): string {
  const all = rows.flatMap(({ cells }) => cells.filter((value) => value !== null))
  const [least, most] = [Math.min(...all), Math.max(...all)]
  const strength = (value: number): number => (most <= least ? 0 : least > 0 && most / least > LOG_RATIO ? Math.log(value / least) / Math.log(most / least) : (value - least) / (most - least))
  const top = heads.map(({ name, values }, index) => `<tr><th>${index === heads.length - 1 ? `${escapeHtml(corner)} \\ ` : ''}${escapeHtml(name)}</th>${spans(values)}</tr>`)
  const lines = rows.map(({ name, cells }) => `<tr><th>${escapeHtml(name)}</th>${cells.map((value) => (value === null ? '<td class="n">–</td>' : `<td class="heat" style="--a:${short(0.05 + 0.5 * strength(value))}">${figure(value)}</td>`)).join('')}</tr>`)
  return `<div class="wide"><table><thead>${top.join('')}</thead><tbody>${lines.join('')}</tbody></table></div>`
}

/** Three significant digits, none lost before the point. */
export function figure(value: number): string {
  if (Math.abs(value) >= 100 || Number.isInteger(value)) return String(Math.round(value))
  return String(Number(value.toPrecision(3)))
}

export function escapeHtml(text: string): string {
  return text.replace(/[&<>"']/g, (one) => `&#${one.codePointAt(0)};`)
}

interface Scale {
  x(value: number): number
  ticks: readonly number[]
  logarithmic: boolean
}

/** Least and largest value of each of equal groups, in their order. */
function thinned(points: Points): Points {
  if (points.length <= LINE_POINTS) return points
  const size = Math.ceil((2 * points.length) / LINE_POINTS)
  const groups = Array.from({ length: Math.ceil(points.length / size) }, (_, index) => points.slice(index * size, (index + 1) * size))
  return groups.flatMap((group) => {
    const least = group.reduce((one, other) => (other[1] < one[1] ? other : one))
    const most = group.reduce((one, other) => (other[1] > one[1] ? other : one))
    return least === most ? [least] : least[0] <= most[0] ? [least, most] : [most, least]
  })
}

function scaleOf(least: number, most: number, kind: 'linear' | 'by-ratio' = 'by-ratio'): Scale {
  const room = WIDTH - LEFT - RIGHT
  if (kind === 'by-ratio' && least > 0 && most / least > LOG_RATIO) {
    const [from, to] = [Math.log10(least), Math.log10(most)]
    const ticks = Array.from({ length: Math.ceil(to) - Math.floor(from) + 1 }, (_, index) => 10 ** (Math.floor(from) + index)).filter((tick) => tick >= least && tick <= most)
    return { x: (value) => LEFT + ((Math.log10(value) - from) / (to - from)) * room, ticks: ticks.length < 2 ? [least, most] : ticks, logarithmic: true }
  }
  const [from, to] = most > least ? [least >= 0 && least < most / 2 ? 0 : least, most] : [least - 1, least + 1]
  const step = niceStep((to - from) / 5)
  const first = Math.ceil(from / step)
  const ticks = Array.from({ length: Math.floor(to / step) - first + 1 }, (_, index) => Number(((first + index) * step).toPrecision(12)))
  return { x: (value) => LEFT + ((value - from) / (to - from)) * room, ticks, logarithmic: false }
}

/** 1, 2 or 5 times a power of ten, at least `raw`. */
function niceStep(raw: number): number {
  const power = 10 ** Math.floor(Math.log10(raw))
  return ([1, 2, 5].find((factor) => factor * power >= raw) ?? 10) * power
}

/** The distribution as steps, thinned evenly; begins at share 0. */
function stepsOf(sorted: readonly number[], x: (value: number) => number, y: (share: number) => number): string {
  const count = sorted.length
  const kept = Math.min(count, POINTS)
  let path = `M${short(x(sorted[0] ?? 0))} ${short(y(0))}`
  for (let index = 1; index <= kept; index++) {
    const rank = Math.ceil((index * count) / kept)
    path += `H${short(x(sorted[rank - 1] ?? 0))}V${short(y(rank / count))}`
  }
  return path
}

/** Equal neighbours share a head. */
function spans(values: readonly string[]): string {
  const found: { value: string; count: number }[] = []
  for (const value of values) {
    const last = found.at(-1)
    if (last?.value === value) last.count += 1
    else found.push({ value, count: 1 })
  }
  return found.map(({ value, count }) => `<th colspan="${count}">${escapeHtml(value)}</th>`).join('')
}

function short(value: number): string {
  return String(Math.round(value * 100) / 100)
}
