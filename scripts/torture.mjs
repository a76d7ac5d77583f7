/**
 * `npm run torture -- [kind …] [--runs N] [--node /path/to/node]`: the long forms of the life-cycle tests, one after the other, with
 * their progress. Needs a build (`npm run build`). Exit code 1 if one failed.
 */
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { ROOT, run } from './lib/run.mjs'

/** `runs`: of the long form. What they count is in `what`. */
const KINDS = {
  model: { what: 'random lives of connections and streams', runs: 10_000, file: 'test/life/model.test.ts' },
  streams: { what: 'streams on one connection', runs: 100_000, file: 'test/life/leaks.test.ts', name: 'attack K7' },
  cycles: { what: 'connections that come and go', runs: 10_000, file: 'test/life/leaks.test.ts', name: 'attack I8' },
  reverse: { what: 'reverse connections that come and go', runs: 10_000, file: 'test/reverse/cycles.test.ts' },
  exits: { what: 'processes and threads that end at random instants', runs: 300, file: 'test/native/exit.test.ts' },
  values: { what: 'native calls with nonsense', runs: 100_000, file: 'test/native/module.test.ts', name: 'attack I9' },
  idle: { what: 'idle connections, both ends in one process', runs: 10_000, file: 'test/life/peers.test.ts', name: 'attack K6' },
  faults: { what: 'simulated worlds full of faults', runs: 2000, file: 'test/life/faults.test.ts' },
  storm: { what: 'hostile datagrams at one endpoint', runs: 1_000_000, file: 'test/life/storm.test.ts' },
  ports: { what: 'ports asked of a tunnel\'s server that allows one (all there are)', runs: 65_535, file: 'test/tunnel/ports.test.ts' },
  failover: { what: 'copies through a tunnel that lose one of two paths', runs: 400, file: 'test/tunnel/load.test.ts', name: 'a copy through a tunnel' },
  bridges: { what: 'bridges that live while paths come and go, in a simulated world', runs: 5000, file: 'test/tunnel/load.test.ts', name: 'a thousand bridges' },
  joined: { what: 'bridges that come, serve and go', runs: 10_000, file: 'test/life/tunnels.test.ts', name: 'of bridges' },
  tunnels: { what: 'tunnels that are opened, serve and are closed', runs: 10_000, file: 'test/life/tunnels.test.ts', name: 'of tunnels' },
  dialers: { what: 'private ends whose public end restarts, in simulated worlds', runs: 1000, file: 'test/reverse/storm.test.ts' },
  pools: { what: 'round of tests in each of the other pools of vitest', runs: 1, file: 'test/native/handshake.test.ts', more: ['test/native/datagrams.test.ts', 'test/stream/worlds.test.ts', 'test/sim/determinism.test.ts'], pools: ['threads', 'vmThreads', 'vmForks'] },
  soak: { what: 'seconds of churn, memory measured', runs: 86_400, file: 'test/life/soak.test.ts' },
}

const USAGE = Object.entries(KINDS).map(([kind, { what, runs }]) => `  ${kind.padEnd(8)} ${what} (${runs})`).join('\n')

let given
try {
  given = parseArgs({ allowPositionals: true, options: { runs: { type: 'string' }, node: { type: 'string' }, help: { type: 'boolean', short: 'h' } } })
} catch (error) {
  fail(error.message)
}
if (given.values.help) {
  process.stdout.write(`npm run torture -- [kind …] [--runs N] [--node /path/to/node]; without a kind all but soak\n${USAGE}\n`)
  process.exit(0)
}
const unknown = given.positionals.filter((kind) => !(kind in KINDS))
if (unknown.length > 0) fail(`no kind ${unknown.join(', ')}; there are\n${USAGE}`)
const { runs, node } = given.values
if (runs !== undefined && !(Number(runs) > 0)) fail(`--runs ${runs}: a number from 1`)

let code = 0
for (const kind of given.positionals.length > 0 ? given.positionals : Object.keys(KINDS).filter((name) => name !== 'soak')) {
  const { what, file, name, more = [], pools = ['forks'], runs: usual } = KINDS[kind]
  const count = runs ?? String(usual)
  process.stdout.write(`\n=== ${kind}: ${count} ${what}\n`)
  const env = { QUICBRAID_TORTURE_RUNS: count, ...(node === undefined ? {} : { QUICBRAID_TORTURE_NODE: node }) }
  for (const pool of pools) {
    const ended = await run(process.execPath, [join(ROOT, 'node_modules/vitest/vitest.mjs'), 'run', file, ...more, `--pool=${pool}`, '--reporter=verbose', ...(name === undefined ? [] : ['-t', name])], { env })
    if (ended.code !== 0) code = 1
  }
}
process.exitCode = code

function fail(words) {
  process.stderr.write(`torture: ${words}\n`)
  process.exit(2)
}
