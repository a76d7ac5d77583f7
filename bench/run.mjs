// Benchmarks, ours against others on this machine.
//
//   npm run --silent bench -- NAME [--quick] [--json] [--sim]
//
// Ratios count, absolute figures are the machine's. `--json` prints one array of rows
// {bench, case, metric, unit, ours, peer, peerValue, ratio, rounds}, ratio being ours / peerValue. Every run is appended
// to bench/results/NAME.jsonl.

import { parseArgs } from 'node:util'
import { multipath } from './multipath.mjs'
import { native } from './native.mjs'
import { node } from './node.mjs'
import { sim } from './sim.mjs'
import { keep, print } from './lib/output.mjs'

const BENCHES = { multipath, native, node, sim }

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { quick: { type: 'boolean', default: false }, json: { type: 'boolean', default: false }, sim: { type: 'boolean', default: false }, real: { type: 'boolean', default: false } },
})

async function main() {
  const [name] = positionals
  const bench = Object.hasOwn(BENCHES, name ?? '') ? BENCHES[name] : undefined
  if (bench === undefined || positionals.length !== 1) {
    process.stderr.write(`which benchmark: ${Object.keys(BENCHES).join(' or ')}? [--quick] [--json] [--sim]\n`)
    return 2
  }
  if (values.real) {
    process.stderr.write('--real is not there yet: multipath runs in the simulator (--sim)\n')
    return 2
  }
  const progress = process.stderr.isTTY ? (words) => process.stderr.write(`\r\u001b[K${words}`) : () => {}
  const { settings, results } = await bench({ quick: values.quick, progress })
  progress('')
  if (values.json) console.log(JSON.stringify(results.map(({ row }) => row)))
  else print(settings, results)
  keep(name, settings, results)
  return 0
}

process.exitCode = await main()
