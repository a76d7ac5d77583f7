/**
 * `npm run node-versions [-- 22 24 bun] [-- FILE…]`: life-cycle tests and the package test on other versions of Node, and a handshake on Bun.
 * The programs come from the npm registry once and stay in `.tmp/runtimes`; what cannot be had is skipped in one line.
 * Needs a build. The last line is `N passed, N failed[, N skipped]`. Not part of `npm test`.
 */
import { existsSync, mkdirSync, readFileSync, rmSync } from 'node:fs'
import { spawnSync } from 'node:child_process'
import { join } from 'node:path'
import { countsLine, NONE, sum, summaryCounts, vitestCounts, withCode } from './lib/counts.mjs'
import { run, ROOT } from './lib/run.mjs'
import { npmText } from './lib/tarball.mjs'

const { platform, arch } = process
const SYSTEM = platform === 'win32' ? 'win' : platform
const END = platform === 'win32' ? '.exe' : ''
/** Folders and files of tests that end and collect what they use, in every way a program has. */
const LIFE = ['test/life', 'test/native/exit.test.ts', 'test/native/module.test.ts', 'test/native/handshake.test.ts', 'test/stream/web-streams.test.ts', 'test/sim/determinism.test.ts']
const node = (version) => ({ name: `Node ${version}`, package: `node-${SYSTEM}-${arch}`, range: version, program: `bin/node${END}`, test: onNode })
const RUNTIMES = { 20: node('20'), 22: node('22'), 24: node('24'), bun: { name: 'Bun', package: `@oven/bun-${SYSTEM === 'win' ? 'windows' : platform}-${arch === 'arm64' ? 'aarch64' : arch}`, range: '1', program: `bin/bun${END}`, test: onBun } }
const DEFAULT = ['22', '24', 'bun']

const args = process.argv.slice(2)
const named = args.filter((arg) => arg in RUNTIMES)
const files = args.filter((arg) => !(arg in RUNTIMES))
const lost = files.find((file) => !existsSync(join(ROOT, file)))
if (lost !== undefined) {
  process.stderr.write(`quicbraid: ${lost} is neither a test nor one of ${Object.keys(RUNTIMES).join(', ')}\n`)
  process.exit(1)
}
const results = []
for (const key of named.length > 0 ? named : DEFAULT) results.push(await on(key, RUNTIMES[key]))
process.stdout.write('\n=== Summary\n')
for (const { name, version, counts } of results) process.stdout.write(`${name.padEnd(8)} ${version.padEnd(10)} ${countsLine(counts)}\n`)
const total = sum(results.map(({ counts }) => counts))
process.stdout.write(`${countsLine(total)}\n`)
process.exitCode = total.failed === 0 ? 0 : 1

async function on(key, runtime) {
  const { program, version, why } = await fetched(key, runtime)
  if (program === null) {
    process.stdout.write(`\n${runtime.name} is skipped: ${why}\n`)
    return { name: runtime.name, version: '–', counts: { ...NONE, skipped: 1 } }
  }
  process.stdout.write(`\n=== ${runtime.name}: ${version} (${program})\n`)
  return { name: runtime.name, version, counts: await runtime.test(program) }
}

/** The program, from the cache or the registry, and what it calls itself; or why there is none. */
async function fetched(key, { package: name, range, program }) {
  const folder = join(ROOT, '.tmp/runtimes', key)
  const path = join(folder, 'node_modules', name, program)
  const ask = () => spawnSync(path, ['--version'], { encoding: 'utf8' })
  if (!existsSync(path) || ask().status !== 0) {
    mkdirSync(folder, { recursive: true })
    const { code, said } = await npmText(['install', '--prefix', folder, '--no-save', '--ignore-scripts', '--no-audit', '--no-fund', '--fetch-retries=0', '--loglevel=error', `${name}@${range}`])
    if (code !== 0) return { program: null, why: `npm could not fetch ${name}@${range} (${/request to .+|\d{3} [A-Z].+ - .+/.exec(said)?.[0] ?? `exit code ${code}`})` }
  }
  const { status, stdout, stderr, error } = ask()
  return status === 0 ? { program: path, version: stdout.trim() } : { program: null, why: `${name} does not run here (${error?.message ?? stderr?.trim()})` }
}

async function onNode(program) {
  const report = join(ROOT, '.tmp/node-versions.json')
  rmSync(report, { force: true })
  const wanted = (files.length > 0 ? files : LIFE).filter((file) => !file.startsWith('test/package') && existsSync(join(ROOT, file)))
  const counts = []
  if (wanted.length > 0) {
    const { code } = await run(program, [join(ROOT, 'node_modules/vitest/vitest.mjs'), 'run', ...wanted, '--reporter=default', '--reporter=json', `--outputFile.json=${report}`])
    counts.push(withCode(existsSync(report) ? vitestCounts(JSON.parse(readFileSync(report, 'utf8'))) : NONE, code))
  }
  if (files.length === 0 || files.some((file) => file.startsWith('test/package'))) counts.push(await packageTest(program, ['tarball', 'installs', 'shake', 'command', 'without']))
  return sum(counts)
}

function onBun(program) {
  return packageTest(program, ['installs', 'an ES module', 'a CommonJS'])
}

/** Its checks that have one of `words`, with the installed package run by `program`. */
async function packageTest(program, words) {
  const { code, text } = await run(process.execPath, [join(ROOT, 'test/package/run.mjs'), ...words], { keep: true, env: { QUICBRAID_RUNTIME: program } })
  return withCode(summaryCounts(text), code)
}
