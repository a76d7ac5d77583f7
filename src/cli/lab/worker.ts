/** `quicbraid lab worker redis://…`: takes runs of sweeps on other machines, until it is interrupted. */
import type { Command } from 'commander'
import { work } from '../../lab/index.ts'
import { nowMs } from '../clock.ts'
import { asCommandError, Exit, usageError } from '../exit.ts'
import { formatCount } from '../format.ts'
import { parsed } from '../options.ts'
import { parseCount } from '../parse.ts'
import { rounded } from '../paths.ts'
import type { Context } from '../program.ts'
import { Progress } from '../progress.ts'
import { Interruption } from '../signals.ts'

interface WorkerValues {
  workers?: number
  quiet?: true
  json?: true
}

type RedisUrl = `redis://${string}`

export function isRedis(text: string): text is RedisUrl {
  return text.startsWith('redis://')
}

export function addWorker(lab: Command, context: Context): void {
  lab.command('worker').description('takes runs of sweeps that were started with --workers redis://…')
    .argument('<redis>', 'where they are: redis://[user:password@]host[:port][/db]')
    .argument('[files...]', "experiments of one's own, besides the built-in ones: the same files as the sweeps have")
    .option('--workers <n>', 'runs at once, each on a thread (cores)', parsed((text) => parseCount(text, 1, 1024)))
    .option('-q, --quiet', 'no progress')
    .option('--json', 'result as JSON on stdout')
    .action(async (redis: string, files: string[], values: WorkerValues) => run(redis, files, values, context))
}

async function run(redis: string, modules: readonly string[], values: WorkerValues, { terminal, end }: Context): Promise<void> {
  if (!isRedis(redis)) throw usageError(`'${redis}' is not the address of a Redis server; write redis://host[:port][/db]`)
  using interrupted = new Interruption()
  const started = nowMs()
  const done = { runs: 0, failed: 0 }
  let words = 'connecting'
  const progress = new Progress(terminal, values.json === true || values.quiet === true ? 'quiet' : 'shown', () => {
    const line = `${words}: ${formatCount(done.runs)} runs done${done.failed === 0 ? '' : `, ${formatCount(done.failed)} failed`}`
    return { lines: [line], line }
  })
  progress.start()
  try {
    await work({
      redis, modules, signal: interrupted.signal,
      ...(values.workers === undefined ? {} : { workers: values.workers }),
      onReady: ({ server, workers, experiments }) => {
        words = `worker at ${server}, ${workers} threads`
        if (values.json !== true) terminal.result(`${words}; experiments: ${experiments.join(', ')}`)
      },
      onRow: ({ ok }) => {
        done.runs += 1
        if (!ok) done.failed += 1
      },
    })
  } catch (error) {
    throw asCommandError(error, 'connecting')
  } finally {
    progress.stop()
  }
  // An interruption is how a worker ends.
  if (values.json === true) terminal.json({ ok: true, ...done, seconds: rounded((nowMs() - started) / 1000) })
  else terminal.result(`${formatCount(done.runs)} runs done, ${formatCount(done.failed)} failed`)
  end(Exit.DONE)
}
