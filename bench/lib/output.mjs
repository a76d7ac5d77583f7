// What people read, and what stays in `bench/results`.

import { appendFileSync, mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { commit, machine } from './machine.mjs'
import { digits } from './statistics.mjs'

const RESULTS = fileURLToPath(new URL('../results/', import.meta.url))

/** Prints settings and rows for people. */
export function print(settings, results) {
  const { cpu, cores, load, system, node, rust } = machine()
  console.log(`${cpu}, ${cores} cores, load ${load} before, ${system}, node ${node}, rust ${rust ?? 'none'}, commit ${commit() ?? 'none'}`)
  for (const [name, value] of Object.entries(settings)) console.log(`  ${name}: ${value}`)
  console.log()
  const lines = results.map(({ row, ours, peer }) => [
    row.case,
    row.metric,
    `${figures(ours)} ${row.unit}`,
    row.peer,
    peer === null ? row.note : figures(peer),
    row.ratio === null ? '' : `× ${Number(row.ratio.toPrecision(3))}`,
    ...(row.goal === undefined ? [] : [`${row.goal}: ${row.verdict}`]),
  ])
  const goal = lines.some((line) => line.length > 6) ? ['goal'] : []
  table([['case', 'metric', 'ours: median [min .. max]', 'peer', 'its median [min .. max]', 'ours / peer', ...goal], ...lines])
}

/** Appends one line to `results/NAME.jsonl`. */
export function keep(name, settings, results) {
  mkdirSync(RESULTS, { recursive: true })
  const rows = results.map(({ row, ours, peer }) => ({
    ...row,
    oursMin: digits(ours.min),
    oursMax: digits(ours.max),
    peerMin: peer === null ? null : digits(peer.min),
    peerMax: peer === null ? null : digits(peer.max),
  }))
  const line = { at: new Date().toISOString(), commit: commit(), machine: machine(), settings, rows }
  appendFileSync(join(RESULTS, `${name}.jsonl`), `${JSON.stringify(line)}\n`)
}

function figures({ median, min, max }) {
  return `${digits(median)} [${digits(min)} .. ${digits(max)}]`
}

function table(lines) {
  const widths = lines[0].map((_, column) => Math.max(...lines.map((line) => (line[column] ?? '').length)))
  for (const line of lines) console.log(line.map((cell, column) => cell.padEnd(widths[column])).join('  ').trimEnd())
}
