/** Installs and builds what is not there or not up to date; does nothing when all is. */
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { npm, ROOT } from './run.mjs'

/** What each product is made of, and where it lies. `built` answers whether it is there at all. */
const PRODUCTS = {
  native: {
    what: 'the native module (Rust; the first time takes a few minutes)',
    script: 'build:native',
    sources: ['native', 'Cargo.toml', 'Cargo.lock'],
    ignore: /(?:^|\/)(?:target|fuzz|tests|benches)(?:\/|$)|\.node$/,
    built: () => readdirSync(join(ROOT, 'native/binding')).some((name) => name.endsWith('.node')),
  },
  ts: {
    what: 'the JavaScript',
    script: 'build:ts',
    sources: ['src', 'package.json', 'tsconfig.json', 'tsdown.config.ts'],
    ignore: /$^/,
    built: () => existsSync(join(ROOT, 'dist/index.mjs')) && existsSync(join(ROOT, 'dist/cli.mjs')),
  },
}

/**
 * Installs what the lock file asks for, unless it is there. Not by `npm ci`: that refuses a lock file without the optional packages of
 * other platforms, and not every registry has those. `--no-save` leaves the lock file as it is. Throws when it fails.
 */
export async function install(to) {
  if (isInstalled()) return
  say(to, 'installing packages')
  if ((await npm(['install', '--no-save'], { to })).code !== 0) throw new Error('npm install failed')
}

/** Builds 'native' or 'ts' if its sources changed. Throws when it fails. */
export async function build(name, to) {
  const product = PRODUCTS[name]
  const stamp = join(ROOT, '.tmp/stamps', name)
  const now = fingerprint(product)
  if (product.built() && existsSync(stamp) && readFileSync(stamp, 'utf8') === now) return
  say(to, `building ${product.what}`)
  rmSync(stamp, { force: true })
  if ((await npm(['run', product.script], { to })).code !== 0) throw new Error(`npm run ${product.script} failed`)
  mkdirSync(dirname(stamp), { recursive: true })
  writeFileSync(stamp, now)
}

function say(to, line) {
  process[to].write(`quicbraid: ${line}\n`)
}

/** Every package of the lock file that belongs on this platform is there, in its version. */
function isInstalled() {
  const placed = join(ROOT, 'node_modules/.package-lock.json')
  if (!existsSync(placed)) return false
  const wanted = JSON.parse(readFileSync(join(ROOT, 'package-lock.json'), 'utf8')).packages
  const found = JSON.parse(readFileSync(placed, 'utf8')).packages
  return Object.entries(wanted).every(([path, { version, optional }]) => path === '' || (found[path] === undefined ? optional === true : found[path].version === version))
}

/** Hash over names and contents of all sources. */
function fingerprint({ sources, ignore }) {
  const hash = createHash('sha256')
  for (const file of sources.flatMap((name) => filesOf(name, ignore)).sort()) hash.update(`${file}\0`).update(readFileSync(join(ROOT, file))).update('\0')
  return hash.digest('hex')
}

function filesOf(path, ignore) {
  if (ignore.test(path)) return []
  let entries
  try {
    entries = readdirSync(join(ROOT, path), { withFileTypes: true })
  } catch {
    return existsSync(join(ROOT, path)) ? [path] : []
  }
  return entries.flatMap((entry) => {
    const name = `${path}/${entry.name}`
    if (entry.isDirectory()) return filesOf(name, ignore)
    return ignore.test(name) ? [] : [name]
  })
}
