/** `quicbraid nat classify SERVER…`: what NAT stands before this machine, asked of STUN servers. */
import { Option } from 'commander'
import type { Command } from 'commander'
import { Endpoint } from '../../index.ts'
import { NatProbe } from '../../traversal/index.ts'
import type { NatObservation, NatProbeOptions, NatReport } from '../../traversal/index.ts'
import { nowMs } from '../clock.ts'
import { asCommandError, Exit, usageError } from '../exit.ts'
import { formatMs } from '../format.ts'
import { parsed } from '../options.ts'
import { parseTime } from '../parse.ts'
import { rounded } from '../paths.ts'
import type { Context } from '../program.ts'
import { Progress } from '../progress.ts'
import { interruption, Interruption } from '../signals.ts'
import { observationLines, reportLines } from './classify-view.ts'
import { withPort } from './server-name.ts'

export interface ClassifyValues {
  local?: string
  dialect: NonNullable<NatProbeOptions['dialect']>
  life?: true
  timeout: number
  quiet?: true
  json?: true
}

const TIMEOUT_MS = 300

export function addClassify(nat: Command, context: Context): void {
  nat.command('classify').description('what NAT stands before this machine, in the words of RFC 4787')
    .argument('[servers...]', 'STUN servers, HOST[:3478]; one that speaks RFC 5780 tells most (`nat stun-server --alternate` does, and relays)')
    .option('--local <addr>', 'address of ours to ask from, with or without a port (any)')
    .addOption(new Option('--dialect <name>', 'how the servers speak').choices(['rfc5780', 'dquic', 'dquic-0.5']).default('rfc5780'))
    .option('--life', 'also measure how long a silent mapping lives (minutes)')
    .addOption(new Option('--timeout <time>', 'patience with each question').argParser(parsed(parseTime)).default(TIMEOUT_MS, `${TIMEOUT_MS}ms`))
    .option('-q, --quiet', 'no progress')
    .option('--json', 'result as JSON on stdout')
    .action(async (servers: string[], values: ClassifyValues) => classify(servers, values, context))
}

async function classify(names: readonly string[], values: ClassifyValues, { terminal, end }: Context): Promise<void> {
  if (names.length === 0) throw usageError('name a STUN server, e.g. quicbraid nat classify stun.example.net:3478; one of your own: quicbraid nat stun-server')
  const servers = names.map((name) => withPort(name))
  using interrupted = new Interruption()
  const endpoint = await Endpoint.bind({ local: values.local ?? (servers[0]?.startsWith('[') === true ? '[::]:0' : '0.0.0.0:0') })
  const started = nowMs()
  const quiet = values.json === true || values.quiet === true ? 'quiet' : 'shown'
  const progress = new Progress(terminal, quiet, () => {
    const line = `asking ${servers.join(', ')} for ${formatMs(Math.round((nowMs() - started) / 100) * 100)}${values.life === true ? ' (the life of a mapping takes minutes)' : ''}`
    return { lines: [line], line }
  })
  progress.start()
  let report: NatReport
  try {
    const probe = new NatProbe(endpoint, { servers, dialect: values.dialect, timeoutMs: values.timeout, ...(values.life === true ? { life: true } : {}) })
    report = await probe.classify({ signal: interrupted.signal })
  } catch (error) {
    throw asCommandError(interruption(interrupted.signal) ?? error, 'connecting')
  } finally {
    progress.stop()
    await endpoint.close()
  }
  if (values.json === true) terminal.json({ ok: true, ...report, observations: report.observations.map(observationJson) })
  else for (const line of [...reportLines(report, terminal.colors), ...observationLines(report.observations, terminal.colors)]) terminal.result(line)
  end(Exit.DONE)
}

function observationJson({ atMs, rttMs, ...rest }: NatObservation): NatObservation {
  return { ...rest, atMs: rounded(atMs), rttMs: rttMs === null ? null : rounded(rttMs) }
}
