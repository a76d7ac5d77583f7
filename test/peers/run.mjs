// Our endpoint against other implementations, over real UDP sockets on loopback.
//
//   node test/peers/run.mjs [--prove] [--only TEXT] [--list]
//
// Prints `ok | FAIL | skip NAME (ms)` a row and, as its last line, {"passed":n,"failed":n,"skipped":n}.
// `--prove` runs the other implementations against each other: what fails there is not ours to mend.

import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { certificate, programs } from './programs.mjs'
import { runRow } from './row.mjs'
import { ourRows, proofRows } from './rows.mjs'

const LIMIT_MS = 60_000

const { values } = parseArgs({
  options: { prove: { type: 'boolean', default: false }, only: { type: 'string', default: '' }, list: { type: 'boolean', default: false } },
})

async function main() {
  const rows = (values.prove ? proofRows() : ourRows()).filter((row) => row.name.includes(values.only))
  if (values.list) {
    for (const row of rows) console.log(row.name)
    return 0
  }
  const directory = mkdtempSync(join(tmpdir(), 'quicbraid-peers-'))
  try {
    const { commands, missing } = programs()
    const world = { commands, ...certificate(commands, directory) }
    const counts = { passed: 0, failed: 0, skipped: 0 }
    for (const row of rows) counts[await report(row, world, missing)] += 1
    console.log(JSON.stringify(counts))
    return counts.failed === 0 ? 0 : 1
  } finally {
    rmSync(directory, { recursive: true, force: true })
  }
}

async function report(row, world, missing) {
  const reason = missing[row.client] ?? missing[row.server]
  if (reason !== undefined) {
    console.log(`skip ${row.name} (${reason})`)
    return 'skipped'
  }
  const started = performance.now()
  const problems = await runRow(row, world, LIMIT_MS)
  const ms = Math.round(performance.now() - started)
  console.log(`${problems.length === 0 ? 'ok  ' : 'FAIL'} ${row.name} (${ms} ms)`)
  for (const problem of problems) console.log(`       ${problem}`)
  return problems.length === 0 ? 'passed' : 'failed'
}

process.exitCode = await main()
