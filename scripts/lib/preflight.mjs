/** What the machine must have before anything is built. One line for each thing that is missing: what, and how to get it. */
import { spawnSync } from 'node:child_process'

const NODE = [20, 19]
const RUST = [1, 88]

/** Lines for what is missing; empty when all is there. */
export function missing() {
  return [nodeMissing(process.versions.node), cargoMissing(answerOf('cargo', ['--version'])), compilerMissing()].filter((line) => line !== null)
}

/** Ends the process with one line a missing thing. */
export function preflight() {
  const lines = missing()
  for (const line of lines) process.stderr.write(`quicbraid: ${line}\n`)
  if (lines.length > 0) process.exit(2)
}

export function nodeMissing(version) {
  return atLeast(version, NODE) ? null : `needs Node ${NODE.join('.')} or newer, this is ${version}: install it from https://nodejs.org`
}

export function cargoMissing(answer) {
  const how = 'install Rust with rustup, https://rustup.rs'
  if (answer === null) return `needs Rust ${RUST.join('.')} or newer to build its core, and there is no cargo: ${how}`
  const version = /(\d+\.\d+\.\d+)/.exec(answer)?.[1] ?? '0.0.0'
  return atLeast(version, RUST) ? null : `needs Rust ${RUST.join('.')} or newer, this is ${version}: rustup update, or ${how}`
}

/** The cryptography has C and assembler in it. MSVC comes with Rust's own check. */
function compilerMissing() {
  if (process.platform === 'win32') return null
  const found = [process.env.CC, 'cc', 'gcc', 'clang'].some((name) => name !== undefined && answerOf(name, ['--version']) !== null)
  return found ? null : 'needs a C compiler for its cryptography: install gcc or clang (Debian, Ubuntu: apt install build-essential)'
}

function answerOf(program, args) {
  const { status, stdout } = spawnSync(program, args, { encoding: 'utf8' })
  return status === 0 ? stdout : null
}

function atLeast(version, [major, minor]) {
  const [a = 0, b = 0] = version.split('.').map(Number)
  return a > major || (a === major && b >= minor)
}
