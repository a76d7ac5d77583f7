/** `npm pack` of a folder, with or without its scripts. */
import { spawn } from 'node:child_process'
import { join } from 'node:path'

/** The path of the tarball that npm made of `folder` in `to`. Throws with what npm said when it fails. */
export async function packed(folder, to, { scripts = false } = {}) {
  const args = ['pack', folder, '--json', '--loglevel=error', `--pack-destination=${to}`, ...(scripts ? [] : ['--ignore-scripts'])]
  const { code, text, said } = await npmText(args)
  if (code !== 0) throw new Error(`npm pack failed: ${said}`)
  // Scripts of the package may have written before it.
  const [{ filename }] = JSON.parse(text.slice(text.search(/^\[/m)))
  return join(to, filename)
}

/** npm, the one that runs us if there is one: its exit code and its output. */
export function npmText(args, { cwd, env = {} } = {}) {
  const path = process.env.npm_execpath
  const [program, all] = path?.endsWith('.js') ? [process.execPath, [path, ...args]] : ['npm', args]
  return new Promise((done) => {
    const child = spawn(program, all, { cwd, env: { ...process.env, ...env }, shell: program === 'npm' && process.platform === 'win32', stdio: ['ignore', 'pipe', 'pipe'] })
    const [out, err] = [[], []]
    child.stdout.on('data', (bytes) => out.push(bytes))
    child.stderr.on('data', (bytes) => err.push(bytes))
    child.once('error', (error) => done({ code: 127, text: '', said: error.message }))
    child.once('close', (code) => done({ code: code ?? 1, text: Buffer.concat(out).toString(), said: Buffer.concat(err).toString() }))
  })
}
