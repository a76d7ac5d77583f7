// TCP through a tunnel of ours, each side a process, against a proxy of 20 lines with node:net. `bulk1`: one TCP connection downloads;
// `latency`: what a request of one byte takes on an open connection, with what it takes without anything between taken off.

import { fork } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { connect } from 'node:net'
import { fileURLToPath } from 'node:url'
import { withGoal } from './lib/goals.mjs'
import { lostRow, row, spread } from './lib/statistics.mjs'

const PACKAGE = new URL('../dist/tunnel.mjs', import.meta.url)
const PROCESS = fileURLToPath(new URL('./tunnel/process.mjs', import.meta.url))
const FULL = { rounds: 5, bytes: 512 * 2 ** 20, requests: 2000 }
const QUICK = { rounds: 3, bytes: 64 * 2 ** 20, requests: 300 }
const NOT_THERE = ['ssh', 'chisel']

/** @returns settings and rows. */
export async function tunnel({ quick, progress }) {
  if (!existsSync(PACKAGE)) throw new Error('the package is not built: npm run build')
  const { rounds, bytes, requests } = quick ? QUICK : FULL
  const processes = []
  const start = async (...parameters) => {
    const child = fork(PROCESS, parameters)
    processes.push(child)
    const [told] = await Promise.race([once(child, 'message'), once(child, 'exit').then(([code]) => { throw new Error(`${parameters[0]} ended with ${code}`) })])
    return told
  }
  try {
    const source = await start('source')
    const sides = { ours: await start('near', JSON.stringify(await start('far', String(source)))), proxy: await start('proxy', String(source)), direct: source }
    const rates = { ours: [], proxy: [] }
    const latencies = { ours: [], proxy: [], direct: [] }
    for (let round = 0; round < rounds; round++) {
      progress(`round ${round + 1} of ${rounds}`)
      // In turn, so that what else the machine does meets all alike.
      for (const [side, values] of Object.entries(rates)) values.push(await download(sides[side], bytes))
      for (const [side, values] of Object.entries(latencies)) values.push(await request(sides[side], requests))
    }
    const added = (side) => latencies[side].map((ms, index) => Math.max(0, ms - latencies.direct[index]))
    const bulk = { name: 'bulk1', metric: 'rate', unit: 'Gbit/s' }
    return {
      settings: { rounds, bytes, requests, processes: 'source, both ends, proxy and client: one each' },
      results: [
        withGoal(row('tunnel', { ...bulk, peer: 'node:net' }, rates.ours, rates.proxy), { ratioAtLeast: 0.5 }),
        ...NOT_THERE.map((peer) => lostRow('tunnel', { ...bulk, peer }, rates.ours, 'not in this benchmark yet')),
        withGoal(row('tunnel', { name: 'latency', metric: 'addedP50', unit: 'ms', peer: 'node:net' }, added('ours'), added('proxy')), { atMost: 0.5 }),
      ],
    }
  } finally {
    for (const child of processes) child.kill()
  }
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
