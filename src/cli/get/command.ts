/** `quicbraid get URL...`: downloads over one connection an origin and as many paths as given. */
import { mkdir } from 'node:fs/promises'
import { Option } from 'commander'
import type { Command } from 'commander'
import { Endpoint } from '../../index.ts'
import type { Connection, ConnectionOptions } from '../../index.ts'
import { sleep } from '../clock.ts'
import { asCommandError, CommandError } from '../exit.ts'
import { addObserve, addTransport, addTrust, observeOptions, openMetrics, parsed, transportOptions, trustOptions } from '../options.ts'
import type { ObserveValues, TransportValues, TrustValues } from '../options.ts'
import { parseCount } from '../parse.ts'
import { rounded } from '../paths.ts'
import type { Context } from '../program.ts'
import { Progress } from '../progress.ts'
import { interruption, Interruption } from '../signals.ts'
import type { Terminal } from '../terminal.ts'
import { planJobs } from './plan.ts'
import type { Job, OutputValues } from './plan.ts'
import { Fetching } from './run.ts'
import { frameOf, summaryOf } from './view.ts'

type GetValues = OutputValues & TrustValues & TransportValues & ObserveValues & { parallel: number }

/** Our last acknowledgement may wait so long (max_ack_delay); a close before it would leave the server in doubt. */
const LAST_ACK_MS = 30

/** Room for a fast path with a long way: the windows of the library grow only as far as this version grows them. */
const LIMITS = { streamWindowBytes: 4 * 1024 * 1024, connectionWindowBytes: 16 * 1024 * 1024 }

export function addGet(program: Command, { terminal }: Context): void {
  const command = program.command('get')
    .description('download files: https://host[:4433]/path (hq-interop)')
    .argument('<urls...>', 'what to fetch; URLs of one host share a connection')
    .option('-o, --output <file>', 'write to this file')
    .option('-O, --remote-name', 'write to the name in the URL')
    .option('-P, --directory <dir>', 'write to the name in the URL, into this folder')
    .option('--parallel <n>', 'files at a time', parsed((text) => parseCount(text, 1, 64)), 8)
    .option('--sha256 <hex>', 'fail unless the file has this hash')
    .addOption(new Option('--no-progress').hideHelp())
  addObserve(addTransport(addTrust(command)))
  command.action(async (urls: string[], values: GetValues) => get(planJobs(urls, values, terminal.resultIsScreen), values, terminal))
}

async function get(jobs: readonly Job[], values: GetValues, terminal: Terminal): Promise<void> {
  if (values.directory !== undefined) await mkdir(values.directory, { recursive: true })
  const trust = await trustOptions(values, terminal)
  const transport = await transportOptions(values)
  const options: ConnectionOptions = { ...trust, ...transport, limits: { ...LIMITS, ...transport.limits } }
  using interrupted = new Interruption()
  await using metrics = await openMetrics(values, terminal)
  const endpoint = await Endpoint.bind(observeOptions(values, terminal))
  metrics?.watch(endpoint)
  const fetching = new Fetching(jobs)
  const quiet = values.json === true || values.quiet === true ? 'quiet' : 'shown'
  const progress = new Progress(terminal, quiet, () => frameOf({ done: fetching.fetched.length, jobs: jobs.length, bytes: fetching.bytes, ms: fetching.elapsedMs }, fetching.paths(), terminal.colors))
  progress.start()
  try {
    // Standard output takes one file after the other.
    const parallel = jobs.some((job) => job.file === null) ? 1 : values.parallel
    await fetching.run(endpoint, options, parallel, interrupted.signal)
  } catch (error) {
    const stop = interruption(interrupted.signal)
    throw asCommandError(stop ?? error, 'connecting', await resultOf(fetching))
  } finally {
    progress.stop()
    if (quiet === 'shown') for (const line of summaryOf(fetching.fetched, totalOf(fetching), fetching.paths().map(({ report }) => report))) terminal.note(line)
    if (fetching.fetched.length > 0) await sleep(LAST_ACK_MS)
    await endpoint.close({ drainMs: 2000 })
  }
  const result = await resultOf(fetching)
  const [failure, ...others] = fetching.failures
  if (failure !== undefined) {
    for (const other of others) terminal.note(`error: ${other.message}`)
    throw new CommandError(failure.code, failure.exit, failure.message, { cause: failure.cause, facts: result })
  }
  if (values.json === true) terminal.json({ ok: true, ...result })
}

function totalOf(fetching: Fetching): { bytes: number; seconds: number; stallMs: number } {
  return { bytes: fetching.bytes, seconds: rounded(fetching.ms / 1000), stallMs: rounded(fetching.stall.longestMs) }
}

/** The JSON fields besides `ok`. */
async function resultOf(fetching: Fetching): Promise<object> {
  const { seconds, bytes, stallMs } = totalOf(fetching)
  const handshake = fetching.first === undefined ? null : await handshakeJson(fetching.first)
  return { seconds, bytes, files: fetching.fetched.map((one) => ({ ...one, ms: rounded(one.ms) })), stallMs, paths: fetching.paths().map(({ report }) => report), handshake }
}

/** `HS` of `--json`. */
async function handshakeJson(connection: Connection): Promise<object | null> {
  try {
    const info = await connection.opened
    return {
      ms: rounded(info.ms), datagrams: info.datagramsSent + info.datagramsReceived, coalesced: info.coalesced, mode: info.mode, multipath: info.multipath,
      resumed: info.resumed, earlyData: connection.early, cipher: info.cipher, version: info.version, winner: info.winner,
    }
  } catch {
    return null
  }
}
