/**
 * The HTML report of `quicbraid nat matrix`: one file without outside references. The pairs as a heat map (who dials down, who answers across), the
 * measures, times to the direct path by what it took, every cell as a line. Pure.
 */
import type { Row } from './experiment.ts'
import { isReached } from './experiments/nat-kinds.ts'
import type { MatrixNat } from './experiments/nat-kinds.ts'
import { curves, escapeHtml, figure } from './plots.ts'
import type { Series } from './plots.ts'
import { failureSection, legend, page } from './report.ts'
import { natMatrix } from './nat-matrix.ts'
import type { MatrixCell, NatMatrix } from './nat-matrix.ts'

/** Colour of the fastest and of the slowest cell. */
const STRONGEST = 0.7
const WEAKEST = 0.22

/** Rows of the experiment `nat`, in the order of their cells. */
export function natReport(rows: Iterable<Row>): string {
  const all = [...rows]
  const matrix = natMatrix(all)
  const losses = [...new Set(matrix.cells.map(({ loss }) => loss))].sort((one, other) => one - other)
  const body = [
    '<h1>Pairs of NATs</h1>',
    `<p class="facts">${escapeHtml(factsOf(all, matrix))}</p>`,
    cards(matrix),
    ...losses.map((loss) => mapSection(matrix.cells.filter((cell) => cell.loss === loss), losses.length > 1 || loss > 0 ? `, ${figure(loss)} % lost each way` : '')),
    timeSection(all),
    tableSection(matrix.cells),
    failureSection(all.filter(({ ok }) => !ok)),
  ]
  return page('Pairs of NATs', body, STYLE)
}

function factsOf(rows: readonly Row[], { cells, failed }: NatMatrix): string {
  const seeds = new Set(rows.map(({ seed }) => seed)).size
  const hours = rows.reduce((sum, { virtualMs }) => sum + virtualMs, 0) / 3_600_000
  const ways = [...new Set(rows.flatMap(({ cell }) => [cell['search'] === 'on' ? 'port search allowed' : 'no port search', `strategy ${String(cell['strategy'] ?? '')}`]))]
  return [`${rows.length} runs`, `${cells.length} cells`, `${seeds} seeds at most`, `${failed} failed`, ...ways, `${figure(hours)} h of virtual time`, `version ${[...new Set(rows.map(({ version }) => version))].join(', ')}`].join(' · ')
}

/** The measures, each a number to read from afar. */
function cards({ cells, reached, expected, cones, firstByte, probes }: NatMatrix): string {
  const card = (value: string, words: string, state: 'good' | 'bad' | 'plain' = 'plain'): string => `<div class="card ${state}"><b>${escapeHtml(value)}</b><span>${escapeHtml(words)}</span></div>`
  const differs = cells.filter(({ expected: wanted, verdict }) => wanted !== null && wanted !== verdict).length
  const list = [card(`${reached} of ${cells.length}`, `cells get a direct path; ${expected} by the reference table${differs === 0 ? '' : `, ${differs} differ`}`, differs === 0 ? 'good' : 'bad')]
  if (cones !== null) list.push(card(`${figure(cones.msP50)} ms`, `to the direct path between cones, P50 of ${cones.runs} runs; limit ${figure(cones.limitMs)} ms (2 RTT of the relay + 150)`, cones.msP50 <= cones.limitMs ? 'good' : 'bad'))
  if (firstByte !== null) {
    const plain = firstByte.directMsP50 === null ? '' : `; ${figure(firstByte.directMsP50)} ms without a relay`
    list.push(card(`${figure(firstByte.relayedMsP50)} ms`, `from connect to the first byte over the relay, P50${plain}; RTT of the relay ${figure(firstByte.relayRttMsP50)} ms`))
  }
  list.push(card(figure(probes.mean), `probes a run, ${figure(probes.max)} at most`))
  return `<div class="cards">${list.join('')}</div>`
}

function mapSection(cells: readonly MatrixCell[], what: string): string {
  const rows = [...new Set(cells.map(({ a }) => a))]
  const columns = [...new Set(cells.map(({ b }) => b))]
  const times = cells.map(({ msP50 }) => msP50).filter((ms) => ms !== null)
  const extent = [Math.min(...times), Math.max(...times)] as const
  const lines = rows.map((a) => `<tr><th>${escapeHtml(a)}</th>${columns.map((b) => mapCell(cells.find((cell) => cell.a === a && cell.b === b), extent)).join('')}</tr>`)
  return [
    `<section><h2>Who meets whom${escapeHtml(what)}</h2>`,
    '<p>Lines: the NAT of the end that dials. Columns: that of the end that is dialled. The number is the P50 of the time from connect to the direct path; the small one how many probes it took.</p>',
    `<div class="wide"><table class="map"><thead><tr><th>dials \\ is dialled</th>${columns.map((b) => `<th>${escapeHtml(b)}</th>`).join('')}</tr></thead><tbody>${lines.join('')}</tbody></table></div>`,
    `<p class="keys"><span><i class="yes" style="--a:${STRONGEST}"></i>direct, fast</span><span><i class="yes" style="--a:${WEAKEST}"></i>direct, slow</span><span><i class="some"></i>some runs direct</span><span><i class="no"></i>stays on the relay, unbroken</span><span><i class="odd"></i>not as the reference table says</span></p></section>`,
  ].join('')
}

/** `extent`: the shortest and the longest time of the map. */
function mapCell(cell: MatrixCell | undefined, [fastest, slowest]: readonly [number, number]): string {
  if (cell === undefined) return '<td class="none"></td>'
  const { a, b, runs, failed, direct, msP50, msP95, probes, winner, verdict, expected } = cell
  const odd = (expected !== null && expected !== verdict) || failed > 0 ? ' odd' : ''
  const words = [`${a} dials ${b}`, `${Math.round(direct * 100)} % of ${runs} runs direct`, failed === 0 ? '' : `${failed} failed`, msP50 === null ? '' : `P50 ${figure(msP50)} ms, P95 ${figure(msP95 ?? msP50)} ms`, `${figure(probes)} probes`, winner === null ? '' : `mostly ${winner}`, expected === null ? '' : `reference: ${expected}`]
  const title = escapeHtml(words.filter((word) => word !== '').join('\n'))
  if (verdict === 'relayed' || msP50 === null) return `<td class="no${odd}" title="${title}">relay<small>${figure(probes)}</small></td>`
  const strength = slowest <= fastest ? STRONGEST : STRONGEST - (STRONGEST - WEAKEST) * (Math.log(msP50 / fastest) / Math.log(slowest / fastest))
  const share = verdict === 'mixed' || direct < 1 ? `<em>${Math.round(direct * 100)} %</em>` : ''
  return `<td class="${verdict === 'mixed' ? 'some' : 'yes'}${odd}" style="--a:${Math.round(strength * 100) / 100}" title="${title}">${figure(msP50)}${share}<small>${figure(probes)}</small></td>`
}

/** Runs by what their pair of NATs asks for. */
const GROUPS: readonly (readonly [name: string, has: (a: MatrixNat, b: MatrixNat) => boolean])[] = [
  ['somebody is open', (a, b) => open(a) || open(b)],
  ['both keep their port', (a, b) => !open(a) && !open(b) && isReached(a, b) && ![a, b].includes('apdm-apdf-sequential')],
  ['a foretold port', (a, b) => !open(a) && !open(b) && isReached(a, b) && [a, b].includes('apdm-apdf-sequential')],
  ['a search of ports', (a, b) => !isReached(a, b)],
]

function open(kind: MatrixNat): boolean {
  return isReached(kind, 'symmetric')
}

function timeSection(rows: readonly Row[]): string {
  const direct = rows.filter(({ values }) => values['direct'] === true)
  const series = (column: string): Series[] => GROUPS.map(([name, has]) => ({
    name, sorted: direct.filter(({ cell }) => has(cell['a'] as MatrixNat, cell['b'] as MatrixNat)).map(({ values }) => Number(values[column])).filter(Number.isFinite).sort((one, other) => one - other),
  })).filter(({ sorted }) => sorted.length > 0)
  const [times, probes] = [series('directMs'), series('probes')]
  if (times.length === 0) return ''
  const panel = (name: string, column: string, list: readonly Series[]): string => {
    const all = list.flatMap(({ sorted }) => sorted)
    return curves(name, column, list, [all.reduce((least, value) => Math.min(least, value), Infinity), all.reduce((most, value) => Math.max(most, value), -Infinity)])
  }
  return [
    '<section><h2>What it takes</h2><p>Share of the runs with a direct path (upwards) that need no more than so much.</p>', legend(times.map(({ name }) => name)),
    `<div class="panels">${panel('Time to the direct path', 'ms', times)}${panel('Probes of both ends', 'probes', probes)}</div></section>`,
  ].join('')
}

function tableSection(cells: readonly MatrixCell[]): string {
  const lines = cells.map(({ a, b, loss, runs, failed, direct, msP50, msP95, probes, winner, verdict, expected }) => {
    const odd = (expected !== null && expected !== verdict) || failed > 0
    const texts = [a, b].map((text) => `<td>${escapeHtml(text)}</td>`).join('')
    const figures = [figure(loss), String(runs), String(failed), `${Math.round(direct * 100)} %`, msP50 === null ? '–' : figure(msP50), msP95 === null ? '–' : figure(msP95), figure(probes)].map((text) => `<td class="n">${text}</td>`).join('')
    return `<tr>${texts}${figures}<td>${escapeHtml(winner ?? '–')}</td><td class="${odd ? 'bad' : ''}">${verdict}${odd && expected !== null ? ` (reference: ${expected})` : ''}</td></tr>`
  })
  const head = ['dials', 'is dialled', 'loss [%]', 'runs', 'failed', 'direct', 'P50 [ms]', 'P95 [ms]', 'probes', 'winner', 'verdict'].map((name) => `<th>${name}</th>`).join('')
  return `<section><h2>All cells</h2><div class="wide"><table><thead><tr>${head}</tr></thead><tbody>${lines.join('\n')}</tbody></table></div></section>`
}

const STYLE = `
:root{--yes:21,128,61;--some:202,138,4;--no:107,114,128}@media (prefers-color-scheme:dark){:root{--yes:63,185,110;--some:210,153,34;--no:139,148,158}}
.cards{display:grid;grid-template-columns:repeat(auto-fit,minmax(210px,1fr));gap:12px;margin:18px 0 6px}.card{border:1px solid var(--line);border-radius:8px;padding:10px 14px;border-left-width:4px}.card b{display:block;font-size:24px;line-height:1.25;font-variant-numeric:tabular-nums}.card span{color:var(--dim);font-size:13px}
.card.good{border-left-color:rgb(var(--yes))}.card.bad{border-left-color:var(--bad)}.card.bad b{color:var(--bad)}
table.map{border-collapse:separate;border-spacing:3px;font-size:14px;table-layout:fixed;width:100%;min-width:860px}table.map th{border:0;font-size:12px;color:var(--dim);font-weight:500;white-space:normal;padding:2px 4px}table.map thead th{text-align:center}table.map tbody th{text-align:right}
table.map td{border:0;border-radius:5px;height:48px;text-align:center;font-variant-numeric:tabular-nums;font-weight:600;line-height:1.15;padding:3px 6px}table.map small,table.map em{display:block;font-weight:400;font-size:11px;font-style:normal;opacity:.75}
td.yes,i.yes{background:rgba(var(--yes),var(--a))}td.some,i.some{background:rgba(var(--some),.55)}td.no,i.no{background:rgba(var(--no),.16)}table.map td.no{color:var(--dim);font-weight:400}table.map td.odd,i.odd{outline:2px solid var(--bad);outline-offset:-2px}
.keys{display:flex;flex-wrap:wrap;gap:4px 18px}.keys i{display:inline-block;width:16px;height:16px;border-radius:4px;margin-right:7px;vertical-align:-3px}
`
