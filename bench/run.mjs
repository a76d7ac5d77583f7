// Benchmarks, ours against others on this machine.
//
//   npm run --silent bench -- NAME [--quick] [--json] [--sim | --real]
//
// `multipath` runs in virtual time, or with `--real` over network namespaces; code 3: there are none here.
// Ratios count, absolute figures are the machine's. `--json` prints one array of rows
// {bench, case, metric, unit, ours, peer, peerValue, ratio, rounds}, ratio being ours / peerValue; a peer that came to no value has
// null in both, and a `note`; of some something is asked, `goal`, with the `verdict` met or missed. Every run is appended
// to bench/results/NAME.jsonl. Code 1: a goal was missed that must not be.

import { parseArgs } from 'node:util'
import { multipath } from './multipath.mjs'
import { NoNamespaces } from './multipath/namespaces.mjs'
import { nat } from './nat.mjs'
import { native } from './native.mjs'
import { node } from './node.mjs'
import { reverse } from './reverse.mjs'
import { sim } from './sim.mjs'
import { tunnel } from './tunnel.mjs'
import { failures } from './lib/goals.mjs'
import { keep, print } from './lib/output.mjs'

const BENCHES = { multipath, nat, native, node, reverse, sim, tunnel }

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { quick: { type: 'boolean', default: false }, json: { type: 'boolean', default: false }, sim: { type: 'boolean', default: false }, real: { type: 'boolean', default: false } },
})

async function main() {
  const [name] = positionals
  const bench = Object.hasOwn(BENCHES, name ?? '') ? BENCHES[name] : undefined
  if (bench === undefined || positionals.length !== 1) {
    process.stderr.write(`which benchmark: ${Object.keys(BENCHES).join(' or ')}? [--quick] [--json] [--sim | --real]\n`)
    return 2
  }
  if (values.real && (values.sim || bench !== multipath)) {
    process.stderr.write(`--real is for multipath${values.sim ? ', and not together with --sim' : ''}\n`)
    return 2
  }
  const progress = process.stderr.isTTY ? (words) => process.stderr.write(`\r\u001b[K${words}`) : () => {}
  const { settings, results, file = name } = await bench({ quick: values.quick, real: values.real, progress })
  progress('')
  if (values.json) console.log(JSON.stringify(results.map(({ row }) => row)))
  else print(settings, results)
  keep(file, settings, results)
  const missed = failures(results)
  for (const line of missed) process.stderr.write(`${line}\n`)
  return missed.length === 0 ? 0 : 1
}

try {
  process.exitCode = await main()
} catch (error) {
  if (!(error instanceof NoNamespaces)) throw error
  process.stderr.write(`${error.message}\n`)
  process.exitCode = 3
}
