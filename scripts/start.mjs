/**
 * `npm start`: installs and builds what is missing, then runs the demo. All but the demo's result goes to stderr, so that
 * with `--json` the last line of stdout is the result.
 */
import { spawn } from 'node:child_process'
import { join } from 'node:path'
import { build, install } from './lib/build.mjs'
import { preflight } from './lib/preflight.mjs'
import { ROOT } from './lib/run.mjs'

preflight()
try {
  await install('stderr')
  await build('native', 'stderr')
  await build('ts', 'stderr')
} catch (error) {
  process.stderr.write(`quicbraid: ${error.message}; the lines above say why\n`)
  process.exit(2)
}
const demo = spawn(process.execPath, [join(ROOT, 'dist/cli.mjs'), 'demo', ...process.argv.slice(2)], { stdio: 'inherit' })
// The demo stops in order when it is told to; this process only waits for it.
for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => demo.kill(signal))
demo.on('exit', (code, signal) => {
  process.exitCode = code ?? (signal === 'SIGINT' ? 130 : 143)
})
