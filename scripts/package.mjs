/**
 * `npm run package`: packs what is published into `.tmp/package/*.tgz` and says how large it is; the last line with `--json` is the list.
 * `--all` fails unless the module of every platform is there (a release). Needs a build, does not build.
 * By npm itself: `--carry` and `--drop` around `npm pack` of the checkout, which makes one tarball with this machine's module;
 * `--refuse` before `npm publish` of the checkout, which is never right.
 */
import { existsSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { ROOT } from './lib/run.mjs'
import { bytesOf, carried, platforms, stage, strip } from './lib/stage.mjs'
import { packed } from './lib/tarball.mjs'

const TO = join(ROOT, '.tmp/package')
const fail = (line) => {
  process.stderr.write(`quicbraid: ${line}\n`)
  process.exit(1)
}

const asked = process.argv.slice(2)
const unknown = asked.find((option) => !['--json', '--all', '--carry', '--drop', '--refuse'].includes(option))
if (unknown !== undefined) fail(`no option ${unknown}; there are --json and --all`)
if (asked.includes('--refuse')) fail('the checkout is not published: npm run package -- --all, then npm publish each of .tmp/package/*.tgz, quicbraid last')
if (!existsSync(join(ROOT, 'dist/index.mjs'))) fail('nothing is built: npm run build')

const own = carried()
if (asked.includes('--carry')) {
  if (own === null) fail('no native module of this machine: npm run build:native')
  strip(own.from, own.to)
} else if (asked.includes('--drop')) {
  if (own !== null) rmSync(own.to, { force: true })
} else {
  await makeAll()
}

async function makeAll() {
  const absent = platforms().filter(({ module }) => module === null).map(({ manifest }) => manifest.main)
  if (asked.includes('--all') && absent.length > 0) fail(`no ${absent.join(', ')} in native/binding or artifacts`)
  const rows = []
  for (const { name, folder, stripped } of stage(TO)) {
    const tarball = await packed(folder, TO)
    rows.push({ name, tarball, stripped, packedBytes: bytesOf(tarball), bytes: bytesOf(folder) })
  }
  const mib = (bytes) => `${(bytes / 2 ** 20).toFixed(2)} MiB`
  const out = asked.includes('--json') ? process.stderr : process.stdout
  for (const { name, packedBytes, bytes, stripped } of rows) out.write(`${name.padEnd(28)} ${mib(packedBytes).padStart(9)} packed ${mib(bytes).padStart(9)} installed${stripped === false ? ' (not stripped: no tool)' : ''}\n`)
  if (absent.length > 0) out.write(`not here: ${absent.join(', ')}\n`)
  if (asked.includes('--json')) process.stdout.write(`${JSON.stringify(rows)}\n`)
}
