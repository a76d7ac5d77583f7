/** `npm run bench -- NAME`: builds what is missing, then runs the benchmarks of `bench/` if this checkout has them. */
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { build, install } from './lib/build.mjs'
import { preflight } from './lib/preflight.mjs'
import { ROOT, run } from './lib/run.mjs'

const BENCH = join(ROOT, 'bench/run.mjs')
if (!existsSync(BENCH)) {
  process.stderr.write('quicbraid: there are no benchmarks in this checkout yet\n')
  process.exit(1)
}
preflight()
await install('stderr')
await build('native', 'stderr')
await build('ts', 'stderr')
process.exitCode = (await run(process.execPath, [BENCH, ...process.argv.slice(2)])).code
