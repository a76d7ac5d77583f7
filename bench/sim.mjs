// Simulated worlds: how many datagrams of the real transport with real encryption one core moves.

import { existsSync } from 'node:fs'
import { spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { row } from './lib/statistics.mjs'

const PACKAGE = new URL('../dist/sim.mjs', import.meta.url)
const PROGRAM = fileURLToPath(new URL('sim/run.mjs', import.meta.url))
const FULL = { rounds: 5, scale: 1 }
const QUICK = { rounds: 3, scale: 0.25 }

/** What is asked for: 100,000 packets a second; 1,000 handshakes over two paths in 30 s. */
const GOALS = { packets: 100_000, handshakes: 1000 / 30 }
const CASES = [
  { name: 'bulk', goal: 'packets' },
  { name: 'bulk-two-paths', goal: 'packets' },
  { name: 'handshakes-two-paths', goal: 'handshakes' },
]

/** @returns settings and rows. */
export async function sim({ quick, progress }) {
  if (!existsSync(PACKAGE)) throw new Error('the package is not built: npm run build')
  const { rounds, scale } = quick ? QUICK : FULL
  const values = Object.fromEntries(CASES.map(({ name }) => [name, []]))
  for (let round = 0; round < rounds; round++) {
    for (const { name } of CASES) {
      progress(`${name}, round ${round + 1} of ${rounds}`)
      values[name].push(measure(name, scale))
    }
  }
  const results = CASES.flatMap(({ name, goal }) => {
    const goals = Array(rounds).fill(GOALS[goal])
    const of = (metric) => values[name].map((value) => value[metric])
    return [
      row('sim', { name, metric: `${goal}PerCpuSecond`, unit: `${goal}/s`, peer: 'goal' }, of('perCpuSecond'), goals),
      row('sim', { name, metric: `${goal}PerSecond`, unit: `${goal}/s`, peer: 'goal' }, of('perSecond'), goals),
    ]
  })
  return { settings: settings(rounds), results }
}

/** One process for each: its processor time is all that the world costs. */
function measure(name, scale) {
  const { status, stdout, stderr } = spawnSync(process.execPath, [PROGRAM, name, `${scale}`], { encoding: 'utf8' })
  if (status !== 0) throw new Error(`${name} failed: ${stderr}`)
  return JSON.parse(stdout)
}

function settings(rounds) {
  return {
    rounds: `${rounds}, one process each, medians`,
    packets: 'datagrams that arrived on all links, both ways; each is written, sealed, routed, hashed, opened and read by the real core',
    before: 'a tenth of the case, not measured: what a person waits for is long runs, not the compiler of JavaScript',
    perCpuSecond: 'processor time of the whole process, garbage collection included',
    bulk: '200 MB on one stream over a link of 1 Gbit/s and 5 ms',
    'bulk-two-paths': '100 MB on one stream over two links of 100 Mbit/s, 5 and 10 ms',
    'handshakes-two-paths': '1,000 worlds, one each, to the second path being open',
    cryptography: 'TLS 1.3, AES-128-GCM, Ed25519, X25519',
  }
}
