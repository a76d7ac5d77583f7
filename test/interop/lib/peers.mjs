// The endpoints: programs that obey the runner's environment variables. Builds what is missing; names what cannot run here, and why.

import { spawnSync } from 'node:child_process'
import { existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { pythonEnvironment } from '../../peers/programs.mjs'

export const ROOT = fileURLToPath(new URL('../../..', import.meta.url))
const PEERS = join(ROOT, 'test/peers')
const RUST = join(PEERS, 'rust')
const TARGET = process.env.PEERS_TARGET_DIR ?? process.env.CARGO_TARGET_DIR ?? join(RUST, 'target')

/**
 * name -> { command, movesItself, secondPort }.
 * `movesItself`: as a client it migrates by itself, it does not follow a preferred address. `secondPort`: as a server it listens at the next
 * port, too, for its preferred address.
 */
export function peers(names) {
  const found = {}
  const missing = {}
  const add = (name, made) => {
    if (typeof made === 'string') missing[name] = made
    else found[name] = made
  }
  if (names.includes('ours')) add('ours', ours())
  if (names.includes('quinn')) add('quinn', quinn())
  if (names.includes('aioquic')) add('aioquic', aioquic())
  return { found, missing }
}

function ours() {
  const cli = join(ROOT, 'dist/cli.mjs')
  return existsSync(cli) && addon() !== null ? { command: [process.execPath, cli, 'interop'], movesItself: false, secondPort: true } : 'not built: npm run build'
}

/** The native module; the harness takes its link emulator. */
export function addon() {
  const folder = join(ROOT, 'native/binding')
  const name = readdirSync(folder).find((name) => name.endsWith('.node'))
  return name === undefined ? null : join(folder, name)
}

function quinn() {
  const built = spawnSync('cargo', ['build', '--quiet', '-p', 'quinn-hq'], { cwd: RUST, stdio: ['ignore', 'inherit', 'inherit'], env: { ...process.env, CARGO_TARGET_DIR: TARGET } })
  if (built.error !== undefined) return `cargo does not start: ${built.error.message}`
  if (built.status !== 0) return 'quinn-hq does not build'
  return { command: [join(TARGET, 'debug/quinn-hq')], movesItself: true, secondPort: false }
}

function aioquic() {
  const python = pythonEnvironment()
  if (python.problem !== undefined) return python.problem
  return { command: [python.interpreter, join(PEERS, 'aioquic_hq.py')], movesItself: true, secondPort: false }
}
