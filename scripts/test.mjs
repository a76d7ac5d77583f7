/**
 * `npm test`: every test of the repository, from a fresh clone on. Installs, builds, runs each layer with its output live,
 * and ends with one line `N passed, N failed[, N skipped]`. `npm test -- rust` runs only the layers that are named.
 */
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { build, install } from './lib/build.mjs'
import { cargoCounts, countsLine, nodeTestCounts, NONE, oneCheck, sum, summaryCounts, vitestCounts, withCode } from './lib/counts.mjs'
import { preflight } from './lib/preflight.mjs'
import { ROOT, run } from './lib/run.mjs'

const PEERS = join(ROOT, 'test/peers/run.mjs')
const PACKAGE = join(ROOT, 'test/package/run.mjs')
const INTEROP = join(ROOT, 'test/interop/run.mjs')
const NAT = join(ROOT, 'test/nat')

/** A machine that builds once needs neither debug information nor the bookkeeping for the next build. */
const ONCE = process.env.CI === 'true' ? { CARGO_INCREMENTAL: '0', CARGO_PROFILE_DEV_DEBUG: '0' } : {}

/** The programs of the peers are a workspace of their own; what it shares with ours (ring, rustls) is compiled once. */
const PROGRAMS = { ...ONCE, CARGO_TARGET_DIR: process.env.CARGO_TARGET_DIR ?? join(ROOT, 'target') }

/** In the order of their cost. Each answers its counts; what throws counts as one failure. */
const LAYERS = {
  types: { what: 'TypeScript: types and lints', test: types },
  rules: { what: 'Compliance: the MUSTs of the RFCs', test: rules },
  rust: { what: 'Rust: unit tests, properties, simulated networks', test: rust },
  lints: { what: 'Rust: lints', test: lints },
  js: { what: 'JavaScript: over the native module', test: js },
  package: { what: 'Package: packed, installed, its types against the contract', test: packed },
  peers: { what: 'Peers: other QUIC implementations', test: peers },
  interop: { what: 'Interop: cases of the quic-interop-runner in small sizes', test: interop },
  nat: { what: 'NAT: real ones, in network namespaces', test: nat },
}

async function types() {
  const tool = (name, args) => run(process.execPath, [join(ROOT, 'node_modules', name), ...args])
  const checks = [
    await tool('typescript/bin/tsc', ['-p', 'tsconfig.json']),
    await tool('typescript/bin/tsc', ['-p', 'tsconfig.test.json']),
    await tool('oxlint/bin/oxlint', ['--deny-warnings', 'src', 'test']),
  ]
  return sum(checks.map(({ code }) => oneCheck(code)))
}

/** Every rule has its row, and what the rows name exists. The state of the seven RFCs is its last line. */
async function rules() {
  return oneCheck((await run(process.execPath, [join(ROOT, 'scripts/compliance.mjs'), '--open'])).code)
}

async function rust() {
  const { code, text } = await run('cargo', ['test', '--locked', '--workspace', '--no-fail-fast'], { keep: true, env: ONCE })
  return withCode(cargoCounts(text), code)
}

/** The workspace's own lints are denied in Cargo.toml; what newer compilers warn of is shown and does not fail. */
async function lints() {
  const there = await run('cargo', ['clippy', '--version'])
  if (there.code !== 0) return { ...NONE, skipped: 1 }
  return oneCheck((await run('cargo', ['clippy', '--locked', '--workspace', '--all-targets', '--quiet'], { env: ONCE })).code)
}

async function js() {
  const file = join(ROOT, '.tmp/vitest.json')
  mkdirSync(join(ROOT, '.tmp'), { recursive: true })
  rmSync(file, { force: true })
  const { code } = await run(process.execPath, [join(ROOT, 'node_modules/vitest/vitest.mjs'), 'run', '--reporter=default', '--reporter=json', `--outputFile.json=${file}`])
  return withCode(existsSync(file) ? vitestCounts(JSON.parse(readFileSync(file, 'utf8'))) : NONE, code)
}

async function packed() {
  const { code, text } = await run(process.execPath, [PACKAGE], { keep: true })
  return withCode(summaryCounts(text), code)
}

async function peers() {
  if (!existsSync(PEERS)) return NONE
  const { code, text } = await run(process.execPath, [PEERS], { keep: true, env: PROGRAMS })
  return withCode(summaryCounts(text), code)
}

async function interop() {
  if (!existsSync(INTEROP)) return NONE
  const { code, text } = await run(process.execPath, [INTEROP, '--quick'], { keep: true, env: PROGRAMS })
  return withCode(summaryCounts(text), code)
}

/** Files of node:test, two at a time, since they mostly wait: each has namespaces of its own. What hangs fails after five minutes. Links with delays need netem, or this program in its place. */
async function nat() {
  const wire = join(process.env.CARGO_TARGET_DIR ?? join(ROOT, 'target'), 'debug/examples/wire')
  if (process.platform === 'linux' && process.getuid() === 0) await run('cargo', ['build', '--locked', '--quiet', '--package', 'qdriver', '--example', 'wire'], { env: ONCE })
  const files = readdirSync(NAT).filter((name) => name.endsWith('.test.mjs')).map((name) => join(NAT, name))
  const { code, text } = await run(process.execPath, ['--test', '--test-reporter=spec', '--test-concurrency=2', '--test-timeout=300000', ...files], { keep: true, env: { QUICBRAID_LAB_WIRE: wire } })
  return withCode(nodeTestCounts(text), code)
}

async function layer(name, { what, test }) {
  process.stdout.write(`\n=== ${what}\n`)
  const started = performance.now()
  let counts
  try {
    counts = await test()
  } catch (error) {
    process.stdout.write(`${name}: ${error.stack ?? error}\n`)
    counts = oneCheck(1)
  }
  const seconds = ((performance.now() - started) / 1000).toFixed(0)
  process.stdout.write(`--- ${name}: ${countsLine(counts)} (${seconds} s)\n`)
  return { name, counts, seconds }
}

const asked = process.argv.slice(2)
const unknown = asked.filter((name) => !(name in LAYERS))
if (unknown.length > 0) {
  process.stderr.write(`no layer ${unknown.join(', ')}; there are ${Object.keys(LAYERS).join(', ')}\n`)
  process.exit(1)
}
preflight()
const results = []
const make = async () => {
  await install('stdout')
  // The last step of the module's build keeps one core busy for minutes: the others compile the tests meanwhile. What fails there fails in its layer.
  if (asked.length === 0) void run('cargo', ['test', '--locked', '--workspace', '--no-run', '--quiet'], { env: ONCE })
  await build('native', 'stdout')
  await build('ts', 'stdout')
  return NONE
}
results.push(await layer('build', { what: 'Install and build', test: make }))
for (const [name, it] of Object.entries(LAYERS)) {
  if (asked.length === 0 || asked.includes(name)) results.push(await layer(name, it))
}
const total = sum(results.map(({ counts }) => counts))
process.stdout.write('\n=== Summary\n')
for (const { name, counts, seconds } of results) process.stdout.write(`${name.padEnd(8)} ${countsLine(counts)} (${seconds} s)\n`)
process.stdout.write(`${countsLine(total)}\n`)
process.exitCode = total.failed === 0 ? 0 : 1
