// Downloads, failover and handshakes over several paths in virtual time, against figures of noq or what a rule allows.

import { existsSync } from 'node:fs'
import { spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { row } from './lib/statistics.mjs'

const PACKAGE = new URL('../dist/sim.mjs', import.meta.url)
const PROGRAM = fileURLToPath(new URL('multipath/sim.mjs', import.meta.url))

/** Mbit/s that noq 1.4.0 reached over the same links, 10 MB, queues of 100 ms. */
const noq = (value) => ({ peer: 'noq 1.4.0', value })
/** What we hold ourselves to. */
const goal = (value) => ({ peer: 'goal', value })
/** Another case of this table. */
const other = (name) => ({ peer: name, of: name })

/** `worst`: the slowest seed counts, not the middle one. */
const CASES = [
  { name: 'equal-0ms', metric: 'throughput', against: [noq(38.0), goal(38.0)] },
  { name: 'equal-20ms', metric: 'throughput', against: [noq(34.2), goal(36.5)] },
  { name: 'hetero-fast-first', metric: 'throughput', against: [noq(26.2), goal(27.5)] },
  { name: 'hetero-slow-first', metric: 'throughput', against: [noq(20.3), goal(27.5)] },
  { name: 'loss-1pct-cubic-single', metric: 'throughput', against: [noq(3.6)] },
  { name: 'loss-1pct-cubic', metric: 'throughput', against: [noq(6.5), other('loss-1pct-cubic-single')] },
  { name: 'loss-1pct-bbr', metric: 'throughput', against: [noq(6.5), goal(30)] },
  { name: 'path-silent', metric: 'stall', worst: true, against: [goal(300)] },
  { name: 'first-path-dead-single', metric: 'handshake', worst: true, against: [goal(1140)] },
  { name: 'first-path-dead-stagger', metric: 'handshake', worst: true, against: [goal(240)] },
  { name: 'first-path-dead-race', metric: 'handshake', worst: true, against: [goal(90)] },
  { name: 'first-path-dead-shared', metric: 'handshake', worst: true, against: [goal(90)] },
  { name: 'clean-handshake-single', metric: 'handshake', against: [] },
  ...['stagger', 'race', 'shared'].map((mode) => ({ name: `clean-handshake-${mode}`, metric: 'handshake', against: [other('clean-handshake-single')] })),
]

/** @returns settings and rows. */
export async function multipath({ quick, progress }) {
  if (!existsSync(PACKAGE)) throw new Error('the package is not built: npm run build')
  const seeds = quick ? 3 : 20
  const values = new Map()
  for (const [index, { name }] of CASES.entries()) {
    progress(`${name}, ${index + 1} of ${CASES.length}`)
    values.set(name, await measure(name, seeds))
  }
  const results = CASES.flatMap(({ name, metric, worst, against }) => {
    const ours = values.get(name)
    const counted = worst ? Array(ours.length).fill(Math.max(...ours)) : ours
    const unit = metric === 'throughput' ? 'Mbit/s' : 'ms'
    return against.map(({ peer, value, of }) => row('multipath', { name, metric, unit, peer }, counted, of === undefined ? Array(seeds).fill(value) : values.get(of)))
  })
  return { settings: settings(seeds), results }
}

async function measure(name, seeds) {
  const child = spawn(process.execPath, [PROGRAM, name, `${seeds}`], { stdio: ['ignore', 'pipe', 'inherit'] })
  let text = ''
  for await (const piece of child.stdout.setEncoding('utf8')) text += piece
  const code = child.exitCode ?? (await new Promise((resolve) => child.once('exit', resolve)))
  if (code !== 0) throw new Error(`${name} failed with code ${code}`)
  return JSON.parse(text)
}

function settings(seeds) {
  return {
    seeds: `1 to ${seeds}; medians, for stalls and dead paths the worst seed`,
    links: 'equal: 2 × 20 Mbit/s; hetero: 20 Mbit/s 10 ms and 10 Mbit/s 100 ms; loss: 2 × 20 Mbit/s 20 ms, 1 % each way; delays one way, queues of 100 ms',
    download: '10 MB of one stream, from the request, sent when both paths are open, to the last byte',
    'path-silent': '2 × 20 Mbit/s 10 ms; path 0 is cut both ways after two seconds; the longest time without a new byte',
    handshakes: 'paths of 10 and 20 ms; time to the complete handshake',
    ours: 'scheduler min-rtt, CUBIC where nothing else is said',
  }
}
