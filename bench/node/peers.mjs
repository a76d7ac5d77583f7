// What our package is compared with from the npm registry: installed here, asked for by name, left out where it does not run.

import { spawnSync } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const HERE = fileURLToPath(new URL('.', import.meta.url))
export const MATRIXAI = '@matrixai/quic'
export const LIBP2P = '@chainsafe/libp2p-quic'
const PACKAGES = [MATRIXAI, LIBP2P]

/** Those that cannot be loaded; one line each on stderr. */
export function missingPeers() {
  const failed = install()
  return new Set(PACKAGES.filter((name) => {
    const why = failed ?? unloadable(name)
    if (why !== null) process.stderr.write(`without ${name}: ${why}\n`)
    return why !== null
  }))
}

/** Versions by name. */
export function peerVersions() {
  return Object.fromEntries(PACKAGES.map((name) => [name, version(join(HERE, 'package-lock.json'), name)]))
}

/** Why they could not be installed, or null. */
function install() {
  const stamp = join(HERE, 'node_modules/.package-lock.json')
  if (existsSync(stamp) && PACKAGES.every((name) => version(stamp, name) === version(join(HERE, 'package-lock.json'), name))) return null
  const npm = process.platform === 'win32' ? 'npm.cmd' : 'npm'
  const { status, error } = spawnSync(npm, ['ci', '--no-audit', '--no-fund'], { cwd: HERE, stdio: ['ignore', 2, 2], shell: process.platform === 'win32' })
  return status === 0 ? null : (error?.message ?? 'npm ci failed')
}

/** Each is tried in a process of its own: none is loaded beside another, nor beside ours. */
function unloadable(name) {
  const { status, stderr } = spawnSync(process.execPath, ['--input-type=module', '--eval', `await import('${name}'); process.exit(0)`], { cwd: HERE, encoding: 'utf8' })
  return status === 0 ? null : `it does not load: ${/^\w*Error.*$/m.exec(stderr)?.[0] ?? `code ${status}`}`
}

function version(lockfile, name) {
  return JSON.parse(readFileSync(lockfile, 'utf8')).packages[`node_modules/${name}`]?.version
}
