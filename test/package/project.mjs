/** Empty projects outside the repository, with packed packages installed as a user would. No registry is asked: what the package depends on comes from the repository's `node_modules`. */
import { copyFileSync, cpSync, mkdirSync, mkdtempSync, realpathSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { spawn, spawnSync } from 'node:child_process'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { npmText } from '../../scripts/lib/tarball.mjs'
import { readJson } from '../../scripts/lib/stage.mjs'

const ROOT = join(import.meta.dirname, '../..')
const PROGRAMS = join(import.meta.dirname, 'programs')
const LIMIT_MS = 60_000

/** What no program of ours loads, most of the files of what we depend on. */
const UNUSED = /(?:^|\/)(?:src|dist\/(?:bundles|esm|esm5))$|\.map$/

/** Tarballs in `to` of all that the package needs, and what those need. Not by `npm pack`, which takes its time over thousands of files. */
export function packDependencies(to) {
  const found = new Set()
  const walk = ({ dependencies = {} }) => {
    for (const name of Object.keys(dependencies)) {
      if (found.has(name)) continue
      found.add(name)
      walk(readJson(join(ROOT, 'node_modules', name, 'package.json')))
    }
  }
  walk(readJson(join(ROOT, 'package.json')))
  return [...found].map((name, index) => {
    const [from, folder, tarball] = [realpathSync(join(ROOT, 'node_modules', name)), join(to, String(index)), join(to, `dependency-${index}.tgz`)]
    cpSync(from, join(folder, 'package'), { recursive: true, filter: (path) => !UNUSED.test(path.slice(from.length).replaceAll('\\', '/')) })
    const { status, stderr } = spawnSync('tar', ['-czf', tarball, '-C', folder, 'package'], { encoding: 'utf8' })
    if (status !== 0) throw new Error(`tar failed: ${stderr}`)
    return tarball
  })
}

/** A project in a folder of its own with `tarballs` installed; `remove()` when done. Throws with what npm said. */
export async function project(tarballs) {
  const folder = mkdtempSync(join(tmpdir(), 'quicbraid-project-'))
  const remove = () => rmSync(folder, { recursive: true, force: true })
  writeFileSync(join(folder, 'package.json'), '{ "name": "project", "version": "1.0.0", "private": true }\n')
  const install = async (these) => {
    const { code, said } = await npmText(['install', ...these, '--offline', '--no-audit', '--no-fund', '--loglevel=error'], { cwd: folder })
    if (code !== 0) throw new Error(`npm install failed: ${said}`)
  }
  try {
    await install(tarballs)
  } catch (error) {
    remove()
    throw error
  }
  return {
    folder, remove, install,
    /** A program of `programs/` into the project, under `name`. */
    take: (program, name = program) => {
      mkdirSync(dirname(join(folder, name)), { recursive: true })
      copyFileSync(join(PROGRAMS, program), join(folder, name))
    },
    /** The types of Node, which a project in TypeScript has. */
    takeTypes: () => {
      mkdirSync(join(folder, 'node_modules/@types'), { recursive: true })
      symlinkSync(realpathSync(join(ROOT, 'node_modules/@types/node')), join(folder, 'node_modules/@types/node'), 'junction')
    },
    run: (program, args) => runIn(folder, program, args),
  }
}

/** Runs a program in `cwd`; its exit code and all it said. One that hangs is ended, and has code 124. */
export function runIn(cwd, program, args) {
  return new Promise((done) => {
    const child = spawn(program, args, { cwd, stdio: ['ignore', 'pipe', 'pipe'] })
    const said = []
    let late = false
    const timer = setTimeout(() => {
      late = true
      child.kill('SIGKILL')
    }, LIMIT_MS)
    for (const stream of [child.stdout, child.stderr]) stream.on('data', (bytes) => said.push(bytes))
    child.once('error', (error) => done({ code: 127, text: error.message }))
    child.once('close', (code, signal) => {
      clearTimeout(timer)
      done({ code: late ? 124 : (code ?? signal), text: Buffer.concat(said).toString() })
    })
  })
}
