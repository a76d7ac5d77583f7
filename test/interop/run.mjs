// The test cases of the quic-interop-runner, run here: our endpoint and others, in both roles, over a link of our own relay.
//
//   node test/interop/run.mjs [--quick] [--case NAME]* [--peer ours|quinn|aioquic]* [--client NAME --server NAME]
//                             [--jobs N] [--seed N] [--loopback] [--keep FOLDER] [--json] [--document] [--list]
//
// Prints `ok | FAIL | skip CASE: CLIENT -> SERVER (ms)` a row and, as its last line, {"passed":n,"failed":n,"skipped":n}.
// `--json`: stdout has one array of rows, the rest goes to stderr. `--document`: writes the table of docs/interop.md.
// Files are compared by SHA-256; traces by what the relay captured, decrypted with tshark and the key logs of both ends.

import { mkdirSync, mkdtempSync } from 'node:fs'
import { createRequire } from 'node:module'
import { availableParallelism, tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { CASES } from './cases.mjs'
import { certificate, chain } from './lib/certificates.mjs'
import { hasNamespaces } from './lib/network.mjs'
import { addon, peers } from './lib/peers.mjs'
import { document } from './lib/report.mjs'
import { removeFolder, runRow } from './lib/row.mjs'
import { tsharkVersion } from './lib/tshark.mjs'

const { values } = parseArgs({
  options: {
    quick: { type: 'boolean', default: false },
    case: { type: 'string', multiple: true, default: [] },
    peer: { type: 'string', multiple: true, default: ['ours', 'quinn', 'aioquic'] },
    client: { type: 'string' },
    server: { type: 'string' },
    jobs: { type: 'string' },
    seed: { type: 'string', default: '1' },
    loopback: { type: 'boolean', default: false },
    keep: { type: 'string' },
    json: { type: 'boolean', default: false },
    document: { type: 'boolean', default: false },
    list: { type: 'boolean', default: false },
  },
})

const say = (line) => { (values.json ? process.stderr : process.stdout).write(`${line}\n`) }

/** Who plays with whom, case by case. */
function rows() {
  const pairs = values.client !== undefined && values.server !== undefined
    ? [[values.client, values.server]]
    : values.peer.flatMap((peer) => (peer === 'ours' ? [['ours', 'ours']] : [['ours', peer], [peer, 'ours']]))
  const unknown = values.case.filter((name) => !(name in CASES))
  if (unknown.length > 0) throw new Error(`no case ${unknown.join(', ')}; there are ${Object.keys(CASES).join(', ')}`)
  const names = Object.keys(CASES).filter((name) => (values.case.length === 0 || values.case.includes(name)) && !(values.quick && CASES[name].quick === null))
  return names.flatMap((name) => pairs.map(([client, server]) => ({ name, row: CASES[name], client, server, quick: values.quick })))
}

async function main() {
  const all = rows()
  if (values.list) {
    for (const { name, client, server } of all) say(`${name}: ${client} -> ${server}`)
    return 0
  }
  const folder = values.keep ?? mkdtempSync(join(tmpdir(), 'quicbraid-interop-'))
  mkdirSync(folder, { recursive: true })
  const { found, missing } = peers([...new Set(all.flatMap(({ client, server }) => [client, server]))])
  const module = addon()
  if (module === null) throw new Error('the native module is not built: npm run build')
  const chains = new Map()
  const world = {
    peers: found,
    namespaces: !values.loopback && hasNamespaces(),
    tshark: tsharkVersion(),
    certs: await certificate(join(folder, 'certs')),
    chain: (length) => chains.get(length) ?? chains.set(length, chain(join(folder, `certs-${length}`), length)).get(length),
    startRelay: relayOf(createRequire(import.meta.url)(module)),
  }
  say(`links between ${world.namespaces ? 'network namespaces' : 'loopback addresses'}; ${world.tshark === null ? 'no tshark: trace checks that need keys are skipped' : `traces read by tshark ${world.tshark}`}`)
  const results = []
  const queue = [...all]
  const jobs = Number(values.jobs ?? (values.quick ? Math.max(2, availableParallelism()) : 1))
  const worker = async () => {
    for (let next = queue.shift(); next !== undefined; next = queue.shift()) {
      const place = join(folder, `${next.name}-${next.client}-${next.server}`)
      mkdirSync(place, { recursive: true })
      results.push(tell(next, await outcomeOf(next, world, missing, place), all.length, results.length + 1))
      if (values.keep === undefined) removeFolder(place)
    }
  }
  await Promise.all(Array.from({ length: jobs }, worker))
  if (values.keep === undefined) removeFolder(folder)
  if (values.document) document(results, world)
  if (values.json) process.stdout.write(`${JSON.stringify(results)}\n`)
  const count = (verdict) => results.filter((result) => result.verdict === verdict).length
  say(JSON.stringify({ passed: count('passed'), failed: count('failed'), skipped: count('skipped') }))
  return count('failed') === 0 ? 0 : 1
}

async function outcomeOf(next, world, missing, place) {
  const reason = missing[next.client] ?? missing[next.server]
  if (reason !== undefined) return { verdict: 'skipped', reasons: [reason], facts: {}, notes: [], ms: 0 }
  try {
    return await runRow(next, world, place)
  } catch (error) {
    return { verdict: 'failed', reasons: [error instanceof Error ? (error.stack ?? error.message) : String(error)], facts: {}, notes: [], ms: 0 }
  }
}

function tell({ name, client, server }, { verdict, reasons, facts, notes, ms }, all, number) {
  const word = { passed: 'ok  ', failed: 'FAIL', skipped: 'skip' }[verdict]
  const more = [`${ms} ms`, ...(facts.kbps === undefined ? [] : [`${facts.kbps} kbit/s`]), ...(verdict === 'skipped' ? reasons : [])]
  say(`${word} ${name}: ${client} -> ${server} (${more.join(', ')}) [${number}/${all}]`)
  for (const note of notes) say(`       ${note}`)
  if (verdict === 'failed') for (const reason of reasons) say(`       ${reason}`)
  return { case: name, client, server, verdict, reasons, notes, facts, ms }
}

/** The link emulator of the native module (src/binding/relay.ts). */
function relayOf(native) {
  return (links) => {
    const handle = native.relayStart(JSON.stringify({ links, seed: Number(values.seed) }))
    let last = null
    return {
      command: (command) => native.relayCommand(handle, JSON.stringify(command)),
      /** The counters at the end. */
      stop() {
        if (last === null) {
          last = JSON.parse(native.relayStatistics(handle))
          native.relayStop(handle)
        }
        return last
      },
    }
  }
}

process.exitCode = await main()
