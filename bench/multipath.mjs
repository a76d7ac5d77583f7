// Downloads, failover and handshakes over several paths, against noq or what a rule allows: in virtual time, where noq's figures are
// those it reached over the same links, or in real time, where it runs beside ours.

import { existsSync } from 'node:fs'
import { spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { CASES, counted, unitOf } from './multipath/cases.mjs'
import { measureReal, realSettings } from './multipath/real.mjs'
import { lostRow, row } from './lib/statistics.mjs'

const PACKAGE = new URL('../dist/sim.mjs', import.meta.url)
const PROGRAM = fileURLToPath(new URL('multipath/sim.mjs', import.meta.url))
const NOQ = 'noq 1.4.0'

/** @returns settings and rows. */
export function multipath({ quick, real, progress }) {
  return real ? realTime({ quick, progress }) : virtualTime({ quick, progress })
}

async function virtualTime({ quick, progress }) {
  if (!existsSync(PACKAGE)) throw new Error('the package is not built: npm run build')
  const seeds = quick ? 3 : 20
  const values = new Map()
  for (const [index, { name }] of CASES.entries()) {
    progress(`${name}, ${index + 1} of ${CASES.length}`)
    values.set(name, await measure(name, seeds))
  }
  const results = CASES.flatMap((one) => {
    const ours = counted(one, values.get(one.name))
    return one.against.map(({ peer, value, of }) => row('multipath', facts(one, peer), ours, of === undefined ? Array(seeds).fill(value) : values.get(of)))
  })
  return { settings: settings(seeds), results }
}

async function realTime({ quick, progress }) {
  const values = await measureReal({ quick, progress })
  const results = CASES.flatMap((one) => {
    const { ours, ...noqs } = values.get(one.name)
    const mine = counted(one, ours.values)
    const measured = Object.entries(noqs).map(([key, { values: theirs, lost }]) => {
      const name = facts(one, key === 'noq' ? NOQ : `${NOQ}, path idle timeout`)
      return theirs.length > 0 ? row('multipath', name, mine, counted(one, theirs)) : lostRow('multipath', name, mine, lost[0])
    })
    const others = one.against.filter(({ peer }) => peer !== NOQ)
    return [...measured, ...others.map(({ peer, value, of }) => row('multipath', facts(one, peer), mine, of === undefined ? mine.map(() => value) : values.get(of).ours.values))]
  })
  return { settings: realSettings(quick), results, file: 'multipath-real' }
}

const facts = ({ name, metric }, peer) => ({ name, metric, unit: unitOf(metric), peer })

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
