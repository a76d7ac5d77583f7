// TCP through a tunnel of ours, each end a process, against a proxy of 20 lines with node:net and against tunnels of others
// (`tunnel/programs.mjs`). `bulk1`: one TCP connection downloads, with the processor time of both ends; `latency`: what a request of one byte
// takes on an open connection, with what it takes without anything between taken off: `addedP50` on cores that are kept awake, `addedP50Idle` as the
// machine is. A round before the counted ones warms every side.

import { fork } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { keepAwake } from './lib/awake.mjs'
import { withGoal } from './lib/goals.mjs'
import { processorSeconds } from './lib/processor.mjs'
import { turned } from './lib/rounds.mjs'
import { lostRow, row, spread } from './lib/statistics.mjs'
import { NotThere, PROGRAMS } from './tunnel/programs.mjs'

const PACKAGE = new URL('../dist/tunnel.mjs', import.meta.url)
const PROCESS = fileURLToPath(new URL('./tunnel/process.mjs', import.meta.url))
const FULL = { rounds: 5, bytes: 512 * 2 ** 20, requests: 2000 }
const QUICK = { rounds: 3, bytes: 64 * 2 ** 20, requests: 300 }
/** What is asked of our rate against theirs. */
const BULK_GOALS = { 'node:net': { ratioAtLeast: 0.5 }, ssh: { ratioAtLeast: 1 }, chisel: { ratioAtLeast: 1 } }

/** @returns settings and rows. */
export async function tunnel({ quick, progress }) {
  if (!existsSync(PACKAGE)) throw new Error('the package is not built: npm run build')
  const effort = quick ? QUICK : FULL
  const folder = mkdtempSync(join(tmpdir(), 'quicbraid-bench-'))
  const children = []
  try {
    const { sides, notes } = await startAll(folder, children, progress)
    const measured = await measure(sides, effort, progress)
    const settings = { ...effort, processes: 'source, both ends of each tunnel, proxy and client: one each at least', warming: 'one round before the counted ones, of all sides', awake: 'addedP50 beside a process on every core that yields to all others' }
    return { settings, results: rows(measured, notes) }
  } finally {
    for (const child of children) child.kill()
    rmSync(folder, { recursive: true, force: true })
  }
}

/** `sides`: by name the port and the processes of every way to the source; `notes`: why a peer is not among them. */
async function startAll(folder, children, progress) {
  const own = async (...parameters) => {
    const child = fork(PROCESS, parameters)
    children.push(child)
    const [told] = await Promise.race([once(child, 'message'), once(child, 'exit').then(([code]) => { throw new Error(`${parameters[0]} ended with ${code}`) })])
    return { told, pid: child.pid }
  }
  const source = await own('source')
  const port = source.told
  const far = await own('far', String(port))
  const near = await own('near', JSON.stringify(far.told))
  const proxy = await own('proxy', String(port))
  const sides = { ours: { port: near.told, pids: [near.pid, far.pid] }, 'node:net': { port: proxy.told, pids: [proxy.pid] }, direct: { port, pids: [] } }
  const notes = {}
  for (const [name, start] of Object.entries(PROGRAMS)) {
    progress(`starting ${name}`)
    try {
      sides[name] = await start(port, { folder, children })
    } catch (error) {
      if (!(error instanceof NotThere)) throw error
      notes[name] = error.message
    }
  }
  return { sides, notes }
}

/** Every side once, then all again, so that what else the machine does meets all alike. */
async function measure(sides, { rounds, bytes, requests }, progress) {
  const values = Object.fromEntries(Object.keys(sides).map((side) => [side, { rate: [], cpu: [], idle: [], latency: [] }]))
  for (let round = 0; round <= rounds; round++) {
    for (const [name, { port, pids }] of turned(Object.entries(sides), round)) {
      progress(round === 0 ? `warming ${name}` : `round ${round} of ${rounds}: ${name}`)
      const before = processorSeconds(pids)
      const rate = name === 'direct' ? null : await download(port, bytes)
      const seconds = before === null ? null : processorSeconds(pids) - before
      const idle = await request(port, requests)
      const sleep = keepAwake()
      const latency = await request(port, requests).finally(sleep)
      if (round === 0) continue
      if (rate !== null) values[name].rate.push(rate)
      if (seconds !== null) values[name].cpu.push((seconds * 1e9) / bytes)
      values[name].idle.push(idle)
      values[name].latency.push(latency)
    }
  }
  return values
}

function rows(values, notes) {
  const { ours, direct } = values
  const added = (side, which) => values[side][which].map((ms, index) => Math.max(0, ms - direct[which][index]))
  const peers = ['node:net', ...Object.keys(PROGRAMS)]
  const bulk = { name: 'bulk1', metric: 'rate', unit: 'Gbit/s' }
  const cost = { name: 'bulk1', metric: 'cpuPerGB', unit: 's' }
  const late = { name: 'latency', metric: 'addedP50', unit: 'ms' }
  const there = peers.filter((peer) => peer in values)
  return [
    ...peers.map((peer) => (peer in values ? withGoal(row('tunnel', { ...bulk, peer }, ours.rate, values[peer].rate), BULK_GOALS[peer]) : lostRow('tunnel', { ...bulk, peer }, ours.rate, notes[peer]))),
    ...(ours.cpu.length === 0 ? [] : there.map((peer) => row('tunnel', { ...cost, peer }, ours.cpu, values[peer].cpu))),
    ...there.map((peer) => withGoal(row('tunnel', { ...late, peer }, added('ours', 'latency'), added(peer, 'latency')), peer === 'node:net' ? { atMost: 0.5 } : undefined)),
    ...there.map((peer) => row('tunnel', { ...late, metric: 'addedP50Idle', peer }, added('ours', 'idle'), added(peer, 'idle'))),
  ]
}

/** Gbit/s of one download. */
async function download(port, bytes) {
  const socket = connect({ port, host: '127.0.0.1' })
  await once(socket, 'connect')
  const since = performance.now()
  let received = 0
  socket.on('data', (piece) => { received += piece.length })
  socket.write(ask(bytes))
  await once(socket, 'end')
  if (received !== bytes) throw new Error(`${received} bytes came instead of ${bytes}`)
  return (bytes * 8) / 1e6 / (performance.now() - since)
}

/** The middle of what requests of one byte take, ms. */
async function request(port, count) {
  const socket = connect({ port, host: '127.0.0.1', noDelay: true })
  socket.write(ask(0))
  await once(socket, 'data')
  const times = []
  for (let index = 0; index < count; index++) {
    const since = performance.now()
    socket.write('x')
    await once(socket, 'data')
    times.push(performance.now() - since)
  }
  socket.destroy()
  return spread(times).median
}

function ask(bytes) {
  const head = Buffer.alloc(4)
  head.writeUInt32BE(bytes)
  return head
}
