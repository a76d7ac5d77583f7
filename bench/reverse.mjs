// Requests through one reverse connection: the end that was dialled asks, the end that dialled serves, each a process. `requests-1k`: 1 KiB there
// and back, 32 at once, on a stream each; the peer is node:http2 over TLS with its roles turned the same way.

import { fork } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { withGoal } from './lib/goals.mjs'
import { processorSeconds } from './lib/processor.mjs'
import { turned } from './lib/rounds.mjs'
import { lostRow, row } from './lib/statistics.mjs'

const PACKAGE = new URL('../dist/reverse.mjs', import.meta.url)
const PROCESS = fileURLToPath(new URL('./reverse/process.mjs', import.meta.url))
const FULL = { rounds: 5, seconds: 5, inFlight: 32 }
const QUICK = { rounds: 3, seconds: 1, inFlight: 32 }
const GOAL = { atLeast: 5000 }
const SIDES = { ours: 'ours', 'node:http2': 'http2' }

/** @returns settings and rows. */
export async function reverse({ quick, progress }) {
  if (!existsSync(PACKAGE)) throw new Error('the package is not built: npm run build')
  const { rounds, ...effort } = quick ? QUICK : FULL
  const children = []
  try {
    const pairs = {}
    let note = null
    for (const [name, role] of Object.entries(SIDES)) {
      try {
        pairs[name] = await join(role, children)
      } catch (error) {
        if (name === 'ours') throw error
        note = error.message
      }
    }
    const values = Object.fromEntries(Object.keys(pairs).map((name) => [name, { rate: [], cpu: [] }]))
    for (let round = 0; round <= rounds; round++) {
      for (const [name, pair] of turned(Object.entries(pairs), round)) {
        progress(round === 0 ? `warming ${name}` : `round ${round} of ${rounds}: ${name}`)
        const { rate, cpu } = await measure(pair, effort)
        if (round === 0) continue
        values[name].rate.push(rate)
        if (cpu !== null) values[name].cpu.push(cpu)
      }
    }
    const settings = { rounds, ...effort, processes: 'both ends of each connection, one each', warming: 'one round before the counted ones' }
    return { settings, results: rows(values, note) }
  } finally {
    for (const child of children) child.kill()
  }
}

async function join(role, children) {
  const start = (name, ...parameters) => {
    const child = fork(PROCESS, [name, ...parameters], { stdio: ['ignore', 'inherit', 'pipe', 'ipc'] })
    child.words = ''
    child.stderr.setEncoding('utf8').on('data', (text) => { child.words = (child.words + text).slice(-2000) })
    children.push(child)
    return child
  }
  const publicEnd = start(`${role}-public`)
  const facts = await told(publicEnd)
  const privateEnd = start(`${role}-private`, JSON.stringify(facts))
  const joined = told(publicEnd)
  await Promise.all([joined, told(privateEnd)])
  return { publicEnd, pids: [publicEnd.pid, privateEnd.pid] }
}

async function measure({ publicEnd, pids }, effort) {
  const before = processorSeconds(pids)
  publicEnd.send(effort)
  const { operations, seconds } = await told(publicEnd)
  return { rate: operations / seconds, cpu: before === null ? null : ((processorSeconds(pids) - before) * 1e6) / operations }
}

async function told(child) {
  const failed = once(child, 'exit').then(([code]) => {
    throw new Error(child.words.split('\n').find((line) => line.includes('Error')) ?? `an end of the benchmark ended with ${code}`)
  })
  failed.catch(() => {})
  const [message] = await Promise.race([once(child, 'message'), failed])
  return message
}

function rows({ ours, ...peers }, note) {
  const metrics = [['rate', '1/s', GOAL], ['cpu', 'µs', undefined]]
  return metrics.filter(([key]) => ours[key].length > 0).map(([key, unit, goal]) => {
    const measure = { name: 'requests-1k', metric: key === 'cpu' ? 'cpuPerOp' : key, unit, peer: 'node:http2' }
    const theirs = peers['node:http2']?.[key]
    return withGoal(theirs === undefined ? lostRow('reverse', measure, ours[key], note) : row('reverse', measure, ours[key], theirs), goal)
  })
}
