// The package as Node programs use it, against node:tls, node:http2 and @matrixai/quic, one process a side.

import { spawnSync } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { BULK, OPERATIONS, runRounds } from './lib/rounds.mjs'
import { row } from './lib/statistics.mjs'

const HERE = fileURLToPath(new URL('node/', import.meta.url))
const PACKAGE = new URL('../dist/index.mjs', import.meta.url)
const MATRIXAI = '@matrixai/quic'

const FULL = { rounds: 5, seconds: 2 }
const QUICK = { rounds: 3, seconds: 0.5 }

/** @returns settings and rows. */
export async function node({ quick, progress }) {
  const effort = quick ? QUICK : FULL
  const missing = install()
  if (missing !== null) process.stderr.write(`without ${MATRIXAI}: ${missing}\n`)
  const directory = mkdtempSync(join(tmpdir(), 'quicbraid-bench-'))
  try {
    const cases = casesFor(await certificate(directory), effort.seconds)
    if (missing !== null) for (const { sides } of cases) delete sides[MATRIXAI]
    const values = await runRounds(cases, effort, progress)
    return { settings: settings(effort), results: cases.flatMap((it) => rows(it, values[it.name])) }
  } finally {
    rmSync(directory, { recursive: true, force: true })
  }
}

/** Each of our ways against each peer. */
function rows({ sides, metrics, ways, peers }, values) {
  return Object.entries(ways).flatMap(([side, name]) =>
    peers.filter((peer) => peer in sides).flatMap((peer) =>
      Object.entries(metrics).map(([metric, { unit }]) => row('node', { name, metric, unit, peer }, values[side][metric], values[peer][metric])),
    ),
  )
}

function casesFor({ cert, key }, seconds) {
  const side = (program, kind, options = []) => {
    const command = [process.execPath, join(HERE, `${program}.mjs`)]
    return {
      server: [...command, 'server', '--case', kind, '--cert', cert, '--key', key, ...options],
      client: [...command, 'client', '--case', kind, '--ca', cert, '--seconds', `${seconds}`, ...options],
    }
  }
  const inFlight = ['--in-flight', '64']
  const ours = (kind, api, options = []) => side('ours', kind, ['--api', api, ...options])
  return [
    {
      name: 'bulk1',
      sides: {
        duplex: ours('bulk', 'duplex'),
        'node:tls': side('tls', 'bulk'),
        web: ours('bulk', 'web'),
        [MATRIXAI]: side('matrixai', 'bulk'),
      },
      ways: { duplex: 'bulk1', web: 'bulk1-web' },
      peers: ['node:tls', MATRIXAI],
      metrics: BULK,
    },
    {
      name: 'small-streams',
      sides: {
        duplex: ours('streams', 'duplex', inFlight),
        'node:http2': side('http2', 'streams', inFlight),
        web: ours('streams', 'web', inFlight),
        direct: ours('streams', 'direct', inFlight),
        [MATRIXAI]: side('matrixai', 'streams', inFlight),
      },
      ways: { duplex: 'small-streams', web: 'small-streams-web', direct: 'small-streams-direct' },
      peers: ['node:http2', MATRIXAI],
      metrics: OPERATIONS,
    },
  ]
}

async function certificate(directory) {
  if (!existsSync(PACKAGE)) throw new Error('the package is not built: npm run build')
  const { createDevCertificate } = await import(PACKAGE)
  const made = createDevCertificate({ names: ['localhost'], days: 1 })
  const files = { cert: join(directory, 'cert.pem'), key: join(directory, 'key.pem') }
  writeFileSync(files.cert, made.cert)
  writeFileSync(files.key, made.key)
  return files
}

/** Installs what is compared with; why it could not, or null. */
function install() {
  const stamp = join(HERE, 'node_modules/.package-lock.json')
  if (existsSync(stamp) && version(stamp) === version(join(HERE, 'package-lock.json'))) return null
  const npm = process.platform === 'win32' ? 'npm.cmd' : 'npm'
  const { status, error } = spawnSync(npm, ['ci', '--no-audit', '--no-fund'], { cwd: HERE, stdio: ['ignore', 2, 2], shell: process.platform === 'win32' })
  return status === 0 ? null : (error?.message ?? 'npm ci failed')
}

function version(lockfile) {
  return JSON.parse(readFileSync(lockfile, 'utf8')).packages[`node_modules/${MATRIXAI}`]?.version
}

function settings({ rounds, seconds }) {
  return {
    rounds: `${rounds} interleaved, ${seconds} s each, medians`,
    network: 'loopback, server and client one process each; ours with an I/O thread beside the JavaScript thread',
    bulk1: '64 KiB writes on one stream; ours through toDuplex(), -web through Web Streams',
    'small-streams': '64 in flight, 100 bytes each way; ours through toDuplex(), -web through Web Streams, -direct through write(), end() and bytes()',
    cryptography: 'TLS 1.3, AES-128-GCM, ECDSA P-256',
    'node:tls, node:http2': `of node ${process.versions.node}, over TCP`,
    [MATRIXAI]: version(join(HERE, 'package-lock.json')),
  }
}
