// The table over several paths in real time: ours and noq over the same emulated links, between two network namespaces.
//
// A round of a case is both programs once, over a fresh relay with the round's number for its luck; who goes first changes with
// every round. What a side does not survive is no number: its words are kept.

import { spawn, spawnSync } from 'node:child_process'
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { loadavg, tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { CASES } from './cases.mjs'
import { namespaces } from './namespaces.mjs'

const PACKAGE = new URL('../../dist/index.mjs', import.meta.url)
const OURS = fileURLToPath(new URL('ours.mjs', import.meta.url))
const NATIVE = fileURLToPath(new URL('native/', import.meta.url))
const TARGET = join(process.env.CARGO_TARGET_DIR ?? join(NATIVE, 'target'), 'release')

const BYTES = 10e6
/** One that a path leaves after two seconds has more left by then than the other can hide. */
const SILENT_BYTES = 25e6
const CUT_AFTER_MS = 2000
/** A path that noq is told to give up. */
const PATH_IDLE_MS = 1000
const LIMITS = { throughput: 60_000, stall: 25_000, handshake: 15_000 }
const ROUNDS = { full: { throughput: 5, stall: 20, handshake: 20 }, quick: { throughput: 1, stall: 1, handshake: 2 } }
/** noq that loses a connection does so every time; more rounds of it only take minutes. */
const LOST_ROUNDS = 3

const path = (mbit, delayMs, loss = 0) => ({ mbit, delayMs, loss })
const [LOSSY, NEAR, FAR] = [path(20, 20, 0.01), path(20, 10), path(20, 20)]
/** Links of a case, and what is special about it. */
const SETUPS = {
  'equal-0ms': { links: [path(20, 0), path(20, 0)] },
  'equal-20ms': { links: [path(20, 20), path(20, 20)] },
  'hetero-fast-first': { links: [path(20, 10), path(10, 100)] },
  'hetero-slow-first': { links: [path(10, 100), path(20, 10)] },
  'loss-1pct-cubic-single': { links: [LOSSY] },
  'loss-1pct-cubic': { links: [LOSSY, LOSSY] },
  'loss-1pct-bbr': { links: [LOSSY, LOSSY], congestion: 'bbr3' },
  'path-silent': { links: [NEAR, NEAR], bytes: SILENT_BYTES, cutAfterMs: CUT_AFTER_MS },
  ...Object.fromEntries(['single', 'stagger', 'race', 'shared'].flatMap((mode) => [
    [`first-path-dead-${mode}`, { links: [NEAR, FAR], handshake: mode, bytes: 0, cutAfterMs: 0 }],
    [`clean-handshake-${mode}`, { links: [NEAR, FAR], handshake: mode, bytes: 0 }],
  ])),
}

const VALUE = {
  throughput: ({ bytes, seconds }) => (bytes * 8) / seconds / 1e6,
  stall: ({ stallMs }) => stallMs,
  handshake: ({ handshakeMs }) => handshakeMs,
}

/** The noqs of a case: as it is, and where it loses a path also with a time after which it gives one up. */
function noqs({ name, metric }) {
  const plain = { key: 'noq', options: [] }
  if (metric === 'stall') return [plain, { key: 'noq-idle', options: ['--path-idle', `${PATH_IDLE_MS}`] }]
  // It has one mode, that of a single path.
  if (metric === 'handshake') return name.endsWith('-single') ? [plain] : []
  return [plain]
}

/**
 * Measures every case.
 *
 * @returns per case the values of each side: `Map(name → { ours, noq, … })`, each `{ values, lost }`, `lost` being the words of rounds
 * without a value.
 */
export async function measureReal({ quick, progress }) {
  if (!existsSync(PACKAGE)) throw new Error('the package is not built: npm run build')
  const net = namespaces()
  const directory = mkdtempSync(join(tmpdir(), 'quicbraid-bench-'))
  try {
    const files = await certificate(directory)
    build()
    const results = new Map()
    for (const [index, one] of CASES.entries()) {
      results.set(one.name, await measureCase(one, { net, files, rounds: ROUNDS[quick ? 'quick' : 'full'][one.metric], progress: (words) => progress(`${one.name}, ${index + 1} of ${CASES.length}: ${words}`) }))
    }
    return results
  } finally {
    net.close()
    rmSync(directory, { recursive: true, force: true })
  }
}

async function measureCase(one, { net, files, rounds, progress }) {
  const sides = [{ key: 'ours', options: [] }, ...noqs(one)]
  const results = Object.fromEntries(sides.map(({ key }) => [key, { values: [], lost: [] }]))
  for (let round = 1; round <= rounds; round += 1) {
    for (const side of [...sides.slice(round % sides.length), ...sides.slice(0, round % sides.length)]) {
      const { values, lost } = results[side.key]
      if (side.key !== 'ours' && values.length === 0 && lost.length >= LOST_ROUNDS) continue
      progress(`${side.key}, round ${round} of ${rounds}`)
      const report = await run(SETUPS[one.name], side, { net, files, seed: round, limitMs: LIMITS[one.metric] })
      if (report.lost === undefined) values.push(VALUE[one.metric](report))
      else lost.push(report.lost)
    }
  }
  const { values, lost } = results.ours
  if (values.length < rounds) throw new Error(`${one.name}: ours lost ${lost.length} of ${rounds}: ${lost[0]}`)
  return results
}

/** One download or handshake of one side over links of its own: the client's report, or `{ lost }`. */
async function run({ links, bytes = BYTES, cutAfterMs, congestion, handshake }, { key, options }, { net, files, seed, limitMs }) {
  const program = key === 'ours' ? [process.execPath, OURS] : [join(TARGET, 'multipath-noq')]
  const inside = (namespace, role, ...words) => start(['ip', 'netns', 'exec', namespace, ...program, role, ...words, ...options, ...(congestion === undefined ? [] : ['--congestion', congestion])])
  const server = inside(net.server, 'server', '--listen', net.target, '--cert', files.cert, '--key', files.key)
  const relay = start([
    join(TARGET, 'multipath-relay'), '--client', net.client, '--server', net.server, '--target', net.target, '--seed', `${seed}`,
    ...links.flatMap(({ mbit, delayMs, loss }, index) => ['--link', [net.paths[index].listen, net.paths[index].source, mbit, delayMs, loss].join(',')]),
  ])
  let client
  let cutting
  try {
    await Promise.all([server.line('listening'), relay.line('listening')])
    if (cutAfterMs === 0) await cutFirst(relay)
    const paths = links.flatMap((_, index) => ['--path', `${net.paths[index].local},${net.paths[index].listen}`])
    const mode = handshake === undefined || key !== 'ours' ? [] : ['--handshake', handshake]
    client = inside(net.client, 'client', '--ca', files.cert, ...paths, ...mode, '--bytes', `${bytes}`)
    if (cutAfterMs > 0) void client.line('started').then(() => { cutting = setTimeout(() => relay.order('cut 0'), cutAfterMs) }, () => {})
    const late = setTimeout(() => client.kill(), limitMs)
    const report = await client.end()
    clearTimeout(late)
    return report ?? { lost: bytes > 0 ? `not done after ${limitMs / 1000} s` : `not connected after ${limitMs / 1000} s` }
  } finally {
    clearTimeout(cutting)
    for (const child of [client, relay, server]) child?.kill()
    await Promise.all([client, relay, server].map((child) => child?.exited))
  }
}

/** The order is carried out before the first datagram can be there. */
async function cutFirst(relay) {
  relay.order('cut 0')
  await new Promise((resolve) => setTimeout(resolve, 50))
}

/** A program that speaks in lines of JSON. */
function start([file, ...words]) {
  const child = spawn(file, words, { stdio: ['pipe', 'pipe', 'pipe'] })
  const lines = []
  const waiting = new Set()
  let errors = ''
  createInterface({ input: child.stdout }).on('line', (text) => {
    lines.push(JSON.parse(text))
    for (const look of waiting) look()
  })
  child.stderr.setEncoding('utf8').on('data', (text) => { errors = (errors + text).slice(-4_000) })
  child.stdin.on('error', () => { /* It ended first. */ })
  const exited = new Promise((resolve) => {
    child.on('error', (error) => { errors += error.message; resolve() })
    child.on('close', resolve)
  })
  return {
    exited,
    order: (text) => child.stdin.write(`${text}\n`),
    kill: () => child.kill('SIGKILL'),
    /** The line with this field. */
    line: (field) => new Promise((resolve, reject) => {
      const look = () => {
        const found = lines.find((line) => line[field] !== undefined)
        if (found === undefined) return
        waiting.delete(look)
        resolve(found)
      }
      waiting.add(look)
      look()
      void exited.then(() => reject(new Error(`${file} ${words.join(' ')} ended: ${errors || JSON.stringify(lines)}`)))
    }),
    /** Its last word; none when it was ended before. */
    async end() {
      await exited
      const last = lines.findLast((line) => line.handshakeMs !== undefined || line.lost !== undefined)
      if (last === undefined && errors !== '') throw new Error(`${file}: ${errors}`)
      return last
    },
  }
}

async function certificate(directory) {
  const { createDevCertificate } = await import(PACKAGE)
  const made = createDevCertificate({ names: ['localhost'], days: 1 })
  const files = { cert: join(directory, 'cert.pem'), key: join(directory, 'key.pem') }
  writeFileSync(files.cert, made.cert)
  writeFileSync(files.key, made.key)
  return files
}

function build() {
  // Its words go to stderr: stdout belongs to the rows.
  const { status, error } = spawnSync('cargo', ['build', '--release', '--locked'], { cwd: NATIVE, stdio: ['ignore', 2, 2] })
  if (status !== 0) throw new Error(`the native programs do not build${error === undefined ? '' : `: ${error.message}`}`)
}

/** What the numbers are of. */
export function realSettings(quick) {
  const { throughput, stall, handshake } = ROUNDS[quick ? 'quick' : 'full']
  return {
    rounds: `interleaved; ${throughput} of downloads, ${stall} of stalls, ${handshake} of handshakes; medians, for stalls and dead paths the worst`,
    load: `${loadavg()[0].toFixed(2)} after the run`,
    network: 'two namespaces; between them a relay in user space, a thread a link, which emulates rate of UDP payload, one-way delay, a queue of 100 ms and random loss each way; no ECN',
    links: 'equal: 2 × 20 Mbit/s; hetero: 20 Mbit/s 10 ms and 10 Mbit/s 100 ms; loss: 2 × 20 Mbit/s 20 ms, 1 % each way, the same luck for every side',
    download: '10 MB of one stream, from the request, sent when both paths are open, to the last byte',
    'path-silent': '2 × 20 Mbit/s 10 ms; path 0 is cut both ways two seconds after the request for 25 MB; the longest time without a new byte',
    handshakes: 'paths of 10 and 20 ms; from connect to the complete handshake',
    ours: 'the package in Node, one process a side; scheduler min-rtt, CUBIC where nothing else is said',
    noq: `1.4.0, tokio current_thread, defaults, CUBIC, its BBRv3 in loss-1pct-bbr; ${PATH_IDLE_MS / 1000} s of path idle timeout where it says so`,
  }
}
