/** `quicbraid lab NAME`, `quicbraid lab run FILE`: options, one sweep with its progress, the table or the JSON. */
import { rm, writeFile } from 'node:fs/promises'
import type { Command } from 'commander'
import { BUILT_IN, report, summarize, timeline } from '../../lab/index.ts'
import type { Cell, Row, SweepOptions, SweepPlan } from '../../lab/index.ts'
import { nowMs } from '../clock.ts'
import { asCommandError, CommandError, Exit, usageError } from '../exit.ts'
import { collectParsed, parsed } from '../options.ts'
import { parseCount } from '../parse.ts'
import { rounded } from '../paths.ts'
import type { Context } from '../program.ts'
import { Progress } from '../progress.ts'
import { interruption, Interruption } from '../signals.ts'
import type { Terminal } from '../terminal.ts'
import { collectRows, planOf } from './sweep.ts'
import { addWorker, isRedis } from './worker.ts'
import { frameOf, listLines, ordered, tableOf } from './view.ts'

export interface LabValues {
  quick?: true
  axis?: (readonly [name: string, values: readonly string[]])[]
  seeds?: number
  workers?: number | `redis://${string}`
  out?: string
  html?: string
  timeline?: readonly (readonly [name: string, value: string])[]
  /** commander's form of `--resume` and `--no-resume`. */
  resume?: boolean
  list?: true
  quiet?: true
  json?: true
}

const WHAT: Readonly<Record<string, string>> = {
  handshake: 'time to connect by mode of the handshake: losses, dark first path, RTTs, Retry, 0-RTT',
  schedulers: 'every scheduler in the home of each, and on drawn pairs of paths',
  failover: 'a path goes silent in a transfer: how long nothing arrives',
  fairness: 'several paths and one path at a common bottleneck',
  nat: 'every pair of NATs: who gets a direct path (`nat matrix` shows it as a grid)',
}

export function addLab(program: Command, context: Context): void {
  const lab = program.command('lab').description('experiments in simulated networks')
  for (const name of BUILT_IN) {
    addOptions(lab.command(name).description(WHAT[name] ?? '')).action(async (values: LabValues) => run(`builtin:${name}`, values, context))
  }
  addOptions(lab.command('run').description("an experiment of one's own").argument('<file>', 'a module that exports `experiment`: .mjs, .js or .ts'))
    .action(async (file: string, values: LabValues) => run(file, values, context))
  addWorker(lab, context)
}

function addOptions(command: Command): Command {
  return command
    .option('--quick', 'fewer values and seeds')
    .option('--axis <name=v,v>', 'only these values of an axis; repeatable', collectParsed(parseAxis))
    .option('--seeds <n>', 'runs of each cell (20)', parsed((text) => parseCount(text, 1, 1_000_000)))
    .option('--workers <n|redis://…>', 'threads (cores), or the server where `lab worker` takes runs', parsed(parseWorkers))
    .option('-o, --out <file>', 'write rows as JSON Lines; rows that are there are not run again')
    .option('--html <file>', 'write a report with plots')
    .option('--timeline <name=v,name=v>', 'cell (and seed) that the report shows over time (the first)', parsed(parseCell))
    .option('--resume', 'go on with the file of --out (on)')
    .option('--no-resume', 'start the file of --out anew')
    .option('--list', 'show axes, values and how many runs that makes; run nothing')
    .option('-q, --quiet', 'no progress')
    .option('--json', 'result as JSON on stdout')
}

async function run(module: string, values: LabValues, context: Context): Promise<void> {
  const { terminal } = context
  if (values.timeline !== undefined && values.html === undefined) throw usageError('--timeline needs --html: the report that shows it')
  if (values.resume === true && values.out === undefined) throw usageError('--resume needs --out: the file to go on with')
  const options: SweepOptions = {
    module,
    ...(values.quick === true ? { quick: true } : {}),
    ...(values.axis === undefined ? {} : { axes: Object.fromEntries(values.axis) }),
    ...(values.seeds === undefined ? {} : { seeds: values.seeds }),
    ...(values.workers === undefined ? {} : { workers: values.workers }),
    ...(values.out === undefined ? {} : { out: values.out }),
  }
  if (values.list === true) return list(await planOf(options), values, terminal)
  if (values.out !== undefined && values.resume === false) await rm(values.out, { force: true })
  return measure(options, values, context)
}

async function measure(options: SweepOptions, values: LabValues, { terminal, end }: Context): Promise<void> {
  using interrupted = new Interruption()
  const rows: Row[] = []
  const started = nowMs()
  let plan: SweepPlan | null = null
  const progress = new Progress(terminal, values.json === true || values.quiet === true ? 'quiet' : 'shown', () => frameOf(plan, rows, nowMs() - started, terminal.colors))
  progress.start()
  try {
    await collectRows({ ...options, signal: interrupted.signal, onPlan: (told) => { plan = told } }, (row) => void rows.push(row))
  } catch (error) {
    progress.stop()
    const stop = interruption(interrupted.signal)
    if (values.json !== true && rows.length > 0) print(plan, rows, terminal)
    throw asCommandError(stop ?? error, 'connected', factsOf(plan, rows, nowMs() - started, values))
  } finally {
    progress.stop()
  }
  const facts = factsOf(plan, rows, nowMs() - started, values)
  if (values.html !== undefined && plan !== null) await writeFile(values.html, report(inOrder(plan, rows), { timelines: [await timeline({ module: options.module, ...chosen(plan, values.timeline ?? []) })] }))
  if (values.json !== true) print(plan, rows, terminal)
  if (facts.failed > 0) {
    const first = rows.find(({ ok }) => !ok)
    throw new CommandError('QB_RESULT_WRONG', Exit.INCOMPLETE, `${facts.failed} of ${rows.length} runs failed; the first: seed ${first?.seed}, ${JSON.stringify(first?.cell)}: ${first?.error?.message ?? ''}`, { facts })
  }
  if (values.json === true) terminal.json({ ok: true, ...facts })
  end(Exit.DONE)
}

/** The JSON fields besides `ok`. */
function factsOf(plan: SweepPlan | null, rows: readonly Row[], ms: number, values: LabValues): { experiment: string | null; rows: number; failed: number; seconds: number; summary: object[]; out: string | null; html: string | null } {
  return {
    experiment: plan?.experiment.name ?? null, rows: rows.length, failed: rows.filter(({ ok }) => !ok).length, seconds: rounded(ms / 1000),
    summary: summarize(rows), out: values.out ?? null, html: values.html ?? null,
  }
}

function inOrder(plan: SweepPlan | null, rows: readonly Row[]): readonly Row[] {
  return plan === null ? rows : ordered(rows, plan.axes, Object.keys(plan.axes))
}

function print(plan: SweepPlan | null, rows: readonly Row[], terminal: Terminal): void {
  if (plan !== null) for (const line of tableOf(plan, summarize(rows))) terminal.result(line)
}

function list(plan: SweepPlan, values: LabValues, terminal: Terminal): void {
  const { experiment, axes, seeds, runs } = plan
  if (values.json === true) terminal.json({ ok: true, experiment: experiment.name, axes, seeds, runs, columns: experiment.columns })
  else for (const line of listLines(plan)) terminal.result(line)
}

/** The cell with these values, of other axes the first. */
function chosen({ experiment, axes }: SweepPlan, wanted: readonly (readonly [name: string, value: string])[]): { cell: Cell; seed: number } {
  let seed = 1
  const cell = Object.fromEntries(Object.entries(axes).map(([name, values]) => [name, values[0] ?? null]))
  for (const [name, text] of wanted) {
    if (name === 'seed') {
      seed = parseCount(text, 1, 1_000_000)
      continue
    }
    const value = [...(axes[name] ?? []), ...(experiment.axes[name] ?? [])].find((one) => String(one) === text)
    if (value === undefined) throw usageError(`--timeline ${name}=${text}: ${experiment.axes[name] === undefined ? `no axis of ${experiment.name}: ${Object.keys(axes).join(', ')}, seed` : `not among ${experiment.axes[name].join(', ')}`}`)
    cell[name] = value
  }
  return { cell, seed }
}

/** `NAME=V,NAME=V`. */
function parseCell(text: string): readonly (readonly [name: string, value: string])[] {
  return text.split(',').map((part) => {
    const [name = '', value = '', extra] = part.split('=')
    if (name === '' || value === '' || extra !== undefined) throw usageError(`'${text}' is not a cell; write NAME=V,NAME=V, e.g. loss=5,seed=3`)
    return [name, value] as const
  })
}

/** `NAME=V,V`. */
function parseAxis(text: string): readonly [string, readonly string[]] {
  const [name = '', values = '', extra] = text.split('=')
  if (name === '' || values === '' || extra !== undefined) throw usageError(`'${text}' is not an axis; write NAME=V,V, e.g. loss=0,5`)
  return [name, values.split(',')]
}

function parseWorkers(text: string): number | `redis://${string}` {
  return isRedis(text) ? text : parseCount(text, 1, 1024)
}
