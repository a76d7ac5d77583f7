/** Child processes of the scripts: their output live, and kept where somebody counts in it. */
import { spawn } from 'node:child_process'
import { dirname, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'

/** The repository. */
export const ROOT = resolve(dirname(fileURLToPath(import.meta.url)), '../..')

/**
 * Runs a program in the repository until it ends. `to`: where its output goes live, 'stdout' or 'stderr'.
 * Resolves with its exit code and everything it said; a program that is not there answers code 127.
 */
export function run(program, args, { to = 'stdout', env = {}, keep = false } = {}) {
  return new Promise((done) => {
    const out = to === 'stdout' ? process.stdout : process.stderr
    const child = spawn(program, args, {
      cwd: ROOT, env: { ...process.env, ...env }, shell: process.platform === 'win32',
      stdio: ['ignore', keep ? 'pipe' : out, keep ? 'pipe' : 2],
    })
    const said = []
    for (const stream of keep ? [child.stdout, child.stderr] : []) {
      stream.on('data', (bytes) => {
        out.write(bytes)
        said.push(bytes)
      })
    }
    child.once('error', (error) => {
      process.stderr.write(`${program}: ${error.message}\n`)
      done({ code: 127, text: '' })
    })
    child.once('close', (code) => done({ code: code ?? 1, text: plain(Buffer.concat(said).toString()) }))
  })
}

/** npm itself, the one that runs us if there is one. Its notices stay away from results. */
export function npm(args, options) {
  const path = process.env.npm_execpath
  const quiet = [...args, '--no-audit', '--no-fund', '--loglevel=error']
  return path?.endsWith('.js') ? run(process.execPath, [path, ...quiet], options) : run('npm', quiet, options)
}

/** Without colours. */
export function plain(text) {
  return text.replaceAll(new RegExp(`${String.fromCharCode(27)}\\[[0-9;]*m`, 'g'), '')
}
