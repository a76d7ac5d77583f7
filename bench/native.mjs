// The core without JavaScript: our endpoint, quinn and the floor, server and client one process and one thread each.

import { spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { BULK, OPERATIONS, runRounds } from './lib/rounds.mjs'
import { row } from './lib/statistics.mjs'

const NATIVE = fileURLToPath(new URL('native/', import.meta.url))
const TARGET = join(process.env.CARGO_TARGET_DIR ?? join(NATIVE, 'target'), 'release')
const EXECUTABLE = process.platform === 'win32' ? '.exe' : ''

const FULL = { rounds: 5, seconds: 2 }
const QUICK = { rounds: 3, seconds: 0.7 }

const SEGMENTS = { segmentsPerBurst: { unit: 'segments', of: ({ client }) => client.segments / client.bursts } }

/** @returns settings and rows. */
export async function native({ quick, progress }) {
  build()
  const effort = quick ? QUICK : FULL
  const directory = mkdtempSync(join(tmpdir(), 'quicbraid-bench-'))
  try {
    const cases = casesFor(directory, effort.seconds)
    const values = await runRounds(cases, effort, progress)
    const results = cases.flatMap(({ name, metrics, comparisons }) =>
      comparisons.flatMap(({ peer, of = Object.keys(metrics), ours = [name, 'ours'], theirs = [name, peer] }) =>
        of.map((metric) => row('native', { name, metric, unit: metrics[metric].unit, peer }, pick(values, ours, metric), pick(values, theirs, metric))),
      ),
    )
    return { settings: settings(effort), results }
  } finally {
    rmSync(directory, { recursive: true, force: true })
  }
}

const pick = (values, [name, side], metric) => values[name][side][metric]

function casesFor(directory, seconds) {
  const made = spawnSync(program('ours'), ['cert', directory], { encoding: 'utf8' })
  if (made.status !== 0) throw new Error(`no certificate: ${made.error?.message ?? made.stderr}`)
  const cert = join(directory, 'cert.pem')
  const key = join(directory, 'key.pem')
  const side = (name, kind, clientOptions = [], options = []) => ({
    server: [program(name), 'server', '--case', kind, '--cert', cert, '--key', key, ...options],
    client: [program(name), 'client', '--case', kind, '--ca', cert, '--seconds', `${seconds}`, ...clientOptions, ...options],
  })
  const both = (kind, clientOptions, options) => ({ ours: side('ours', kind, clientOptions, options), quinn: side('quinn', kind, clientOptions, options) })
  return [
    {
      name: 'bulk1',
      sides: { ...both('bulk'), floor: side('floor', 'bulk'), 'ours-without-multipath': side('ours', 'bulk', [], ['--multipath', 'off']) },
      metrics: { ...BULK, ...SEGMENTS },
      comparisons: [{ peer: 'quinn' }, { peer: 'floor', of: Object.keys(BULK) }, { peer: 'ours-without-multipath', of: Object.keys(BULK) }],
    },
    {
      name: 'bulk1-no-gso',
      sides: both('bulk', [], ['--gso', 'off']),
      metrics: BULK,
      comparisons: [{ peer: 'quinn' }, { peer: 'ours-with-gso', theirs: ['bulk1', 'ours'] }],
    },
    { name: 'bulk100', sides: both('bulk', ['--streams', '100']), metrics: BULK, comparisons: [{ peer: 'quinn' }] },
    { name: 'handshakes', sides: both('handshakes', ['--in-flight', '32']), metrics: OPERATIONS, comparisons: [{ peer: 'quinn' }] },
    { name: 'small-streams', sides: both('streams', ['--in-flight', '64']), metrics: OPERATIONS, comparisons: [{ peer: 'quinn' }] },
  ]
}

const program = (name) => join(TARGET, `bench-${name}${EXECUTABLE}`)

function build() {
  // Its words go to stderr: stdout belongs to the rows.
  const { status, error } = spawnSync('cargo', ['build', '--release'], { cwd: NATIVE, stdio: ['ignore', 2, 2] })
  if (status !== 0) throw new Error(`the native programs do not build${error === undefined ? '' : `: ${error.message}`}`)
}

function settings({ rounds, seconds }) {
  return {
    rounds: `${rounds} interleaved, ${seconds} s each, medians`,
    network: 'loopback, server and client one process and one thread each',
    datagrams: '1452 bytes, segmentation and receive offload, 4 MiB socket buffers',
    windows: 'stream 1 MiB, connection 4 MiB',
    cryptography: 'AES-128-GCM, X25519, ECDSA P-256, ring, no resumption',
    'small-streams': '64 in flight, 100 bytes each way',
    handshakes: '32 at once, to the first byte of the server',
    quinn: `${version('quinn')}, tokio current_thread, CUBIC, write_chunk and read_chunk`,
  }
}

function version(name) {
  const lock = readFileSync(join(NATIVE, 'Cargo.lock'), 'utf8')
  return new RegExp(`name = "${name}"\\nversion = "([^"]+)"`).exec(lock)?.[1] ?? 'unknown'
}
