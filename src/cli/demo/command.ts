/** `quicbraid demo [FILE]`: options, and the frame around one run: files made and removed, result printed. */
import { mkdtemp, realpath, rm, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Command } from 'commander'
import { CommandError, Exit, usageError } from '../exit.ts'
import { parsed } from '../options.ts'
import { parseRate, parseShare, parseSize, parseTime } from '../parse.ts'
import type { Context } from '../program.ts'
import { Progress } from '../progress.ts'
import { SCHEDULER_HELP, SCHEDULER_OPTION, schedulerOption } from '../scheduler.ts'
import { Interruption } from '../signals.ts'
import { faultsOf, jsonOf, tableOf } from './report.ts'
import { DemoRun } from './run.ts'
import { writeSample } from './sample.ts'

export interface DemoValues {
  size: number
  rate: number
  delay: number
  cutAt: number
  restoreAt: number
  /** commander's form of `--no-cut`. */
  cut: boolean
  scheduler: string
  json?: true
}

export function addDemo(program: Command, context: Context): void {
  program.command('demo')
    .alias('start')
    .description('send a file over two paths, cut one of them, go on')
    .argument('[file]', 'the file to send (pseudo-random bytes)')
    .option('--size <size>', 'without a file: how much (256MiB)', parsed(parseSize), 256 * 1024 * 1024)
    .option('--rate <rate>', 'of each path (250mbit)', parsed(parseRate), 250e6)
    .option('--delay <time>', 'of each path, one way (5ms)', parsed(parseTime), 5)
    .option('--cut-at <share>', 'cut the second path when so much has arrived (40%)', parsed(parseShare), 0.4)
    .option('--restore-at <share>', 'restore it when so much has arrived (70%)', parsed(parseShare), 0.7)
    .option('--no-cut', 'leave both paths whole')
    .option(SCHEDULER_OPTION, SCHEDULER_HELP, 'round-robin')
    .option('--json', 'result as JSON on stdout')
    .action(async (file: string | undefined, values: DemoValues) => demo(file, values, context))
}

async function demo(given: string | undefined, values: DemoValues, { terminal, entry }: Context): Promise<void> {
  check(values)
  // Both ends load it for themselves; what is wrong with it is said before.
  await schedulerOption(values.scheduler)
  using interrupted = new Interruption()
  const folder = await mkdtemp(join(tmpdir(), 'quicbraid-demo-'))
  const run = new DemoRun({ values, entry, folder, terminal, signal: interrupted.signal })
  const progress = new Progress(terminal, values.json === true ? 'quiet' : 'shown', () => run.frame())
  try {
    const file = await prepare(given, values, folder, progress)
    const measured = await run.start(file, progress)
    progress.stop()
    const json = jsonOf(measured)
    const faults = faultsOf(measured)
    if (faults.length > 0) throw new CommandError('QB_RESULT_WRONG', Exit.INCOMPLETE, `the demo failed: ${faults.join('; ')}`, { facts: { ...json, ok: false } })
    if (values.json === true) terminal.json(json)
    else for (const line of tableOf(measured, terminal.colors)) terminal.result(line)
  } finally {
    progress.stop()
    await run.stop()
    await rm(folder, { recursive: true, force: true })
  }
}

function check(values: DemoValues): void {
  if (values.rate < 1e6) throw usageError('--rate must be at least 1mbit')
  if (values.delay > 1000) throw usageError('--delay must be at most 1s')
  if (values.size < 1) throw usageError('--size must be at least 1')
  if (values.cut && values.cutAt >= values.restoreAt) throw usageError('--cut-at must be less than --restore-at')
}

async function prepare(given: string | undefined, values: DemoValues, folder: string, progress: Progress): Promise<string> {
  if (given === undefined) {
    const file = join(folder, 'braid.bin')
    progress.note('making a file of pseudo-random bytes')
    await writeSample(file, values.size)
    return file
  }
  if (!(await stat(given)).isFile()) throw new CommandError('QB_FILE_ACCESS', Exit.LOCAL, `${given} is not a file`)
  return realpath(given)
}
