// The table of docs/interop.md: case by peer and role, written between two marks of the document.

import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { CASES } from '../cases.mjs'
import { ROOT } from './peers.mjs'

const FILE = join(ROOT, 'docs/interop.md')
const BEGIN = '<!-- table: written by test/interop/run.mjs --document -->'
const END = '<!-- end of the table -->'
const WORDS = { passed: 'passed', failed: '**failed**', skipped: '–' }

/** Writes the results into the document; rows that did not run keep what stands there. */
export function document(results, world) {
  const text = readFileSync(FILE, 'utf8')
  const [from, to] = [text.indexOf(BEGIN), text.indexOf(END)]
  if (from < 0 || to < from) throw new Error(`${FILE} has no place for the table`)
  const before = cellsOf(text.slice(from, to))
  const pairs = [...new Set([...before.pairs, ...results.map(({ client, server }) => `${client} → ${server}`)])]
  const cell = (name, pair) => {
    const result = results.find((one) => one.case === name && `${one.client} → ${one.server}` === pair)
    if (result === undefined) return before.cells.get(`${name} ${pair}`) ?? ''
    return `${WORDS[result.verdict]}${result.facts.kbps === undefined || result.verdict !== 'passed' ? '' : ` (${result.facts.kbps} kbit/s)`}`
  }
  const names = Object.keys(CASES)
  const lines = [
    BEGIN, '',
    `Links between ${world.namespaces ? 'network namespaces' : 'loopback addresses'}; ${world.tshark === null ? 'without tshark' : `traces read by tshark ${world.tshark}`}. Client → server:`, '',
    `| case | ${pairs.join(' | ')} |`, `|---|${pairs.map(() => '---|').join('')}`,
    ...names.map((name) => `| ${name} | ${pairs.map((pair) => cell(name, pair)).join(' | ')} |`), '',
    END,
  ]
  writeFileSync(FILE, text.slice(0, from) + lines.join('\n') + text.slice(to + END.length))
}

/** The table that stands there: its columns, and its cells by case and pair. */
function cellsOf(table) {
  const rows = table.split('\n').filter((line) => line.startsWith('| ')).map((line) => line.split('|').slice(1, -1).map((cell) => cell.trim()))
  const pairs = (rows[0] ?? []).slice(1)
  const cells = new Map(rows.slice(1).flatMap(([name, ...cells]) => cells.map((cell, index) => [`${name} ${pairs[index]}`, cell])))
  return { pairs, cells }
}
