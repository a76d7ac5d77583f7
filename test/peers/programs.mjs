// Makes the programs of the rows: cargo builds the Rust ones, a virtual environment holds the Python one.

import { spawnSync } from 'node:child_process'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const HERE = fileURLToPath(new URL('.', import.meta.url))
const RUST = join(HERE, 'rust')
const TARGET = process.env.CARGO_TARGET_DIR ?? join(RUST, 'target')
const VENV = process.env.PEERS_VENV ?? join(HERE, '.venv')
const REQUIREMENTS = join(HERE, 'requirements.txt')
const EXECUTABLE = process.platform === 'win32' ? '.exe' : ''

/**
 * Builds what is missing.
 *
 * @returns command lines by implementation, and the reason for each implementation that cannot run here.
 */
export function programs() {
  const built = spawnSync('cargo', ['build'], { cwd: RUST, stdio: ['ignore', 'inherit', 'inherit'] })
  if (built.error !== undefined) throw new Error(`cargo does not start: ${built.error.message}`)
  if (built.status !== 0) throw new Error('the Rust programs do not build')
  const rust = (name) => [join(TARGET, 'debug', `${name}-peer${EXECUTABLE}`)]
  const commands = { ours: rust('ours'), quinn: rust('quinn'), noq: rust('noq'), 'noq-late': rust('noq-late'), relay: [join(TARGET, 'debug', `peer-relay${EXECUTABLE}`)] }
  const python = pythonEnvironment()
  return python.problem === undefined
    ? { commands: { ...commands, aioquic: [python.interpreter, join(HERE, 'aioquic_peer.py')] }, missing: {} }
    : { commands, missing: { aioquic: python.problem } }
}

/** A development certificate for `localhost` in `directory`, made by `ours-peer cert`. */
export function certificate(commands, directory) {
  const made = spawnSync(commands.ours[0], [...commands.ours.slice(1), 'cert', '--out', directory], { encoding: 'utf8' })
  if (made.status !== 0) throw new Error(`no certificate: ${made.error?.message ?? made.stderr}`)
  return { cert: join(directory, 'cert.pem'), key: join(directory, 'key.pem') }
}

/** An interpreter with aioquic, or the problem. */
export function pythonEnvironment() {
  const interpreter = process.platform === 'win32' ? join(VENV, 'Scripts', 'python.exe') : join(VENV, 'bin', 'python')
  const stamp = join(VENV, 'installed.txt')
  const wanted = readFileSync(REQUIREMENTS, 'utf8')
  if (existsSync(stamp) && readFileSync(stamp, 'utf8') === wanted) return { interpreter }
  const made = spawnSync('python3', ['-m', 'venv', VENV], { encoding: 'utf8' })
  if (made.error !== undefined) return { problem: 'python3 is missing' }
  if (made.status !== 0) return { problem: `python3 makes no virtual environment: ${lastLine(made.stderr || made.stdout)}` }
  const installed = spawnSync(interpreter, ['-m', 'pip', 'install', '--quiet', '--requirement', REQUIREMENTS], { encoding: 'utf8' })
  if (installed.status !== 0) return { problem: `pip installs no aioquic: ${lastLine(installed.stderr)}` }
  writeFileSync(stamp, wanted)
  return { interpreter }
}

function lastLine(text) {
  return text.trim().split('\n').at(-1) ?? ''
}
