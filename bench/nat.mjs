// NAT traversal: packets through our relay against a forwarder that decides nothing.

import { spawnSync } from 'node:child_process'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { withGoal } from './lib/goals.mjs'
import { runRounds } from './lib/rounds.mjs'
import { row } from './lib/statistics.mjs'

const NATIVE = fileURLToPath(new URL('native/', import.meta.url))
const PROGRAM = join(process.env.CARGO_TARGET_DIR ?? join(NATIVE, 'target'), 'release', `bench-nat${process.platform === 'win32' ? '.exe' : ''}`)

const FULL = { rounds: 7, seconds: 2 }
const QUICK = { rounds: 3, seconds: 0.7 }

const METRICS = {
  rate: { unit: '1/s', of: ({ client }) => client.operations / client.seconds },
  cpuPerPacket: { unit: 'µs', of: ({ client, server }) => (server.cpu * 1e6) / client.operations },
}

/** What may be measured: each gives rows. */
const CASES = [
  { name: 'relay', run: (effort, progress) => relay('relay', 'trains', effort, progress) },
  { name: 'relay-singles', run: (effort, progress) => relay('relay-singles', 'singles', effort, progress) },
]

/** @returns settings and rows. */
export async function nat({ quick, progress }) {
  build()
  const effort = quick ? QUICK : FULL
  const results = []
  for (const { run } of CASES) results.push(...(await run(effort, progress)))
  return { settings: settings(effort), results }
}

/** One sender and one client of the relay; the forwarder gets the same datagrams. */
async function relay(name, kind, effort, progress) {
  const client = [PROGRAM, 'load', '--case', kind, '--seconds', `${effort.seconds}`]
  const sides = { ours: { server: [PROGRAM, 'relay'], client }, forwarder: { server: [PROGRAM, 'forwarder'], client } }
  const values = await runRounds([{ name, sides, metrics: METRICS }], effort, progress)
  const { ours, forwarder } = values[name]
  return Object.entries(METRICS).map(([metric, { unit }]) =>
    withGoal(row('nat', { name, metric, unit, peer: 'forwarder' }, ours[metric], forwarder[metric]), metric === 'rate' ? { ratioAtLeast: 0.8 } : undefined),
  )
}

function build() {
  // Its words go to stderr: stdout belongs to the rows.
  const { status, error } = spawnSync('cargo', ['build', '--release', '-p', 'bench-nat'], { cwd: NATIVE, stdio: ['ignore', 2, 2] })
  if (status !== 0) throw new Error(`the native programs do not build${error === undefined ? '' : `: ${error.message}`}`)
}

function settings({ rounds, seconds }) {
  return {
    rounds: `${rounds} interleaved, ${seconds} s each, medians`,
    network: 'loopback; sender and receiver one thread of one process, the relay another one',
    datagrams: '1452 bytes with their forward header, 1 MiB in flight, 4 MiB socket buffers',
    relay: 'trains of 44, or datagrams sent one by one; a client that keeps alive each second',
    forwarder: 'recvmmsg with receive offload, segmentation offload, no look at a header',
  }
}
