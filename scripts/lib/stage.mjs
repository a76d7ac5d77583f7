/**
 * What is published, made from a built checkout: the main package, which has no native module and names one optional package per
 * platform, and the packages of the platforms whose modules are there. `docs/packages.md` says how a release uses it.
 * Called by `scripts/package.mjs`. Changes nothing outside the folder it is given.
 */
import { copyFileSync, cpSync, existsSync, mkdirSync, readFileSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { spawnSync } from 'node:child_process'
import { basename, join } from 'node:path'
import { ROOT } from './run.mjs'

/** Where native modules may lie: the build's own place, and what a release collected from its machines. */
const MODULES = ['native/binding', 'artifacts']
/** Of the packing itself; a package that is installed has no use for them. */
const UNPUBLISHED = ['scripts', 'devDependencies', 'napi']
const LEGAL = ['LICENSE', 'NOTICE']

export const readJson = (path) => JSON.parse(readFileSync(path, 'utf8'))

/** The packages of `npm/`: folder (`linux-x64-gnu`), manifest, and the module if there is one, else null. */
export function platforms() {
  return readdirSync(join(ROOT, 'npm')).sort().map((platform) => {
    const manifest = readJson(join(ROOT, 'npm', platform, 'package.json'))
    const module = MODULES.map((place) => join(ROOT, place, manifest.main)).find((path) => existsSync(path)) ?? null
    return { platform, manifest, module }
  })
}

/** The manifest of the main package, as it is published: every platform's package in the same version, as optional. */
export function mainManifest(manifest = readJson(join(ROOT, 'package.json'))) {
  const kept = Object.fromEntries(Object.entries(manifest).filter(([key]) => !UNPUBLISHED.includes(key)))
  return { ...kept, optionalDependencies: Object.fromEntries(platforms().map(({ manifest: { name } }) => [name, manifest.version])) }
}

/** Folders to pack below `to`, the platforms' first: what depends on them is published last. */
export function stage(to) {
  rmSync(to, { recursive: true, force: true })
  const { version } = readJson(join(ROOT, 'package.json'))
  const made = platforms().filter(({ module }) => module !== null).map(({ platform, manifest, module }) => {
    const folder = join(to, manifest.name)
    mkdirSync(folder, { recursive: true })
    writeJson(join(folder, 'package.json'), { ...manifest, version })
    for (const name of LEGAL) copyFileSync(join(ROOT, name), join(folder, name))
    copyFileSync(join(ROOT, 'npm', platform, 'README.md'), join(folder, 'README.md'))
    const stripped = strip(module, join(folder, manifest.main))
    return { name: manifest.name, folder, stripped }
  })
  const main = mainManifest()
  const folder = join(to, main.name)
  mkdirSync(folder, { recursive: true })
  writeJson(join(folder, 'package.json'), main)
  for (const name of main.files) cpSync(join(ROOT, name), join(folder, name), { recursive: true, filter: (path) => !path.endsWith('.node') })
  return [...made, { name: main.name, folder, stripped: null }]
}

/** Tools that take symbols and line tables out, and how each is asked. A Windows module has them in a file of its own. */
const STRIPPERS = process.platform === 'darwin' ? [['strip', '-x', '-o']] : [['strip', '--strip-unneeded', '-o'], ['llvm-strip', '--strip-unneeded', '-o'], ['rust-strip', '--strip-unneeded', '-o']]

/** A copy without line tables and symbols: profilers want those, users of the package download them. Answers whether a tool did it. */
export function strip(from, to) {
  const done = !from.endsWith('-msvc.node') && STRIPPERS.some(([tool, ...args]) => spawnSync(tool, [...args, to, from]).status === 0 && existsSync(to))
  if (!done) copyFileSync(from, to)
  return done
}

/** Bytes of a file, or of all files below a folder. */
export function bytesOf(path) {
  if (!statSync(path).isDirectory()) return statSync(path).size
  return readdirSync(path).reduce((sum, name) => sum + bytesOf(join(path, name)), 0)
}

/** This machine's module where `npm pack` of the checkout takes it along: in `dist/`. */
export function carried() {
  const libc = process.platform === 'linux' ? (process.report.getReport().header.glibcVersionRuntime === undefined ? 'musl' : 'glibc') : undefined
  const found = platforms().find(({ module, manifest: { os, cpu, libc: [wanted] = [] } }) => module !== null && os.includes(process.platform) && cpu.includes(process.arch) && wanted === libc)
  return found === undefined ? null : { from: found.module, to: join(ROOT, 'dist', basename(found.module)) }
}

function writeJson(path, value) {
  writeFileSync(path, `${JSON.stringify(value, null, 2)}\n`)
}
