// Our endpoint against other implementations, over real UDP sockets on loopback.
//
//   node test/peers/run.mjs [--prove] [--only TEXT] [--times N] [--list]
//
// Prints `ok | FAIL | skip NAME (ms)` a row and, as its last line, {"passed":n,"failed":n,"skipped":n}.
// `--prove` runs the other implementations against each other: what fails there is not ours to mend.
// `--times N` runs all rows so often, round by round, tells of failures only, and ends with a table
// `row | ours as … | passed of N` before the counts of all runs.

import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { certificate, programs } from './programs.mjs'
import { runRow } from './row.mjs'
import { ourRows, proofRows } from './rows.mjs'

const LIMIT_MS = 60_000

const USAGE = `node test/peers/run.mjs [options]
  --only TEXT   rows whose name contains it
  --times N     every row so often; a table at the end
  --prove       the other implementations against each other
  --list        the names of the rows
`

const { values } = parseArgs({
  options: {
    prove: { type: 'boolean', default: false },
    only: { type: 'string', default: '' },
    times: { type: 'string', default: '1' },
    list: { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  },
})

async function main() {
  if (values.help) {
    process.stdout.write(USAGE)
    return 0
  }
  const times = Number(values.times)
  if (!Number.isInteger(times) || times < 1) {
    process.stderr.write(`--times ${values.times}: a count\n${USAGE}`)
    return 2
  }
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
    const passed = new Map(rows.map((row) => [row, 0]))
    for (let time = 1; time <= times; time += 1) {
      for (const row of rows) {
        const result = await report(row, world, missing, times > 1 && `run ${time}`)
        counts[result] += 1
        if (result === 'passed') passed.set(row, passed.get(row) + 1)
      }
      if (times > 1) process.stderr.write(`run ${time} of ${times}: ${JSON.stringify(counts)}\n`)
    }
    if (times > 1) table(passed, times)
    console.log(JSON.stringify(counts))
    return counts.failed === 0 ? 0 : 1
  } finally {
    rmSync(directory, { recursive: true, force: true })
  }
}

/** Runs a row; `run` names one of many, of which only failures are told. */
async function report(row, world, missing, run) {
  const reason = missing[row.client] ?? missing[row.server]
  if (reason !== undefined) {
    console.log(`skip ${row.name} (${reason})`)
    return 'skipped'
  }
  const started = performance.now()
  const problems = await runRow(row, world, LIMIT_MS)
  const ms = Math.round(performance.now() - started)
  const isGood = problems.length === 0
  if (!isGood || !run) console.log(`${isGood ? 'ok  ' : 'FAIL'} ${run ? `${run}: ` : ''}${row.name} (${ms} ms)`)
  for (const problem of problems) console.log(`       ${problem}`)
  return isGood ? 'passed' : 'failed'
}

function table(passed, times) {
  const lines = [...passed].map(([row, count]) => [row.what, role(row), `${count} of ${times}`])
  const all = [['row', 'ours as', `passed of ${times}`], ...lines]
  const widths = [0, 1].map((column) => Math.max(...all.map((line) => line[column].length)))
  for (const [what, as, count] of all) console.log(`${what.padEnd(widths[0])} | ${as.padEnd(widths[1])} | ${count}`)
}

/** What our endpoint is in a row: its role, and whether it sends or receives. */
function role({ client, server, clientOptions }) {
  const mine = client === 'ours' ? 'client' : server === 'ours' ? 'server' : undefined
  const other = mine === 'client' ? server : client
  if (mine === undefined) return `nobody: ${client} client, ${server} server`
  const sends = [(clientOptions.up ?? 0) > 0 && 'client', (clientOptions.down ?? 0) > 0 && 'server'].filter(Boolean)
  const way = sends.length === 0 ? '' : sends.includes(mine) ? ' and sender' : ' and receiver'
  return `${mine}${way} (${other})`
}

process.exitCode = await main()
