/** `quicbraid nat stun-server`: tells who asks how it sees them, until it is interrupted. */
import { Option } from 'commander'
import type { Command } from 'commander'
import { StunServer } from '../../traversal/index.ts'
import type { StunDialect, StunStatistics } from '../../traversal/index.ts'
import { every, nowMs } from '../clock.ts'
import { Exit } from '../exit.ts'
import type { ExitCode } from '../exit.ts'
import { formatCount } from '../format.ts'
import { rounded } from '../paths.ts'
import type { Context } from '../program.ts'
import { Progress } from '../progress.ts'
import { exitOfSignal, Interruption, untilAborted } from '../signals.ts'
import type { Terminal } from '../terminal.ts'
import { withPort } from './server-name.ts'

export interface StunServerValues {
  listen: string
  alternate?: string
  neighbour?: string[]
  dialect: 'all' | StunDialect
  quiet?: true
  json?: true
}

const LISTEN = '0.0.0.0:3478'
/** Statistics are told so often, if anybody asked. */
const TELL_MS = 5000

export function addStunServer(nat: Command, { terminal, end }: Context): void {
  nat.command('stun-server').description('tell others how the world sees them (RFC 8489, RFC 5780)')
    .addOption(new Option('-l, --listen <addr>', 'address and port').default(LISTEN, LISTEN))
    .option('--alternate <addr>', 'another IP and port of ours: then filters of NATs can be told, too; --listen names one IP then')
    .option('--neighbour <addr>', 'another server that answers from there in our place; repeatable', (text: string, before: string[] = []) => [...before, text])
    .addOption(new Option('--dialect <name>', 'answer this one only').choices(['all', 'rfc5780', 'dquic', 'dquic-0.5']).default('all'))
    .option('-q, --quiet', 'no progress')
    .option('--json', 'results as JSON on stdout')
    .action(async (values: StunServerValues) => end(await serve(values, terminal)))
}

async function serve(values: StunServerValues, terminal: Terminal): Promise<ExitCode> {
  const { alternate, neighbour = [], dialect, json } = values
  using interrupted = new Interruption()
  const started = nowMs()
  await using server = await StunServer.listen({
    listen: withPort(values.listen), neighbours: neighbour.map((name) => withPort(name)), ...(alternate === undefined ? {} : { alternate: withPort(alternate) }), ...(dialect === 'all' ? {} : { dialects: [dialect] }),
  })
  const tell = (event: string, facts: object): void => terminal.json({ event, atMs: rounded(nowMs() - started), ok: true, ...facts })
  if (json === true) tell('listening', { addresses: server.addresses })
  else for (const line of introduction(server.addresses)) terminal.result(line)
  const rate = new Rate(started)
  const progress = new Progress(terminal, json === true || values.quiet === true ? 'quiet' : 'shown', () => {
    const { requests, answered, ignored } = server.statistics()
    const line = `${formatCount(requests)} requests, ${rate.of(requests, nowMs())} a second, ${formatCount(answered)} answered${ignored === 0 ? '' : `, ${formatCount(ignored)} ignored`}`
    return { lines: [line], line }
  })
  progress.start()
  let told = 0
  const stop = every(TELL_MS, () => {
    const statistics = server.statistics()
    if (json === true && statistics.requests !== told) tell('statistics', factsOf(statistics, started))
    told = statistics.requests
  })
  await untilAborted(interrupted.signal)
  stop()
  progress.stop()
  const last = server.statistics()
  if (json === true) tell('statistics', factsOf(last, started))
  else terminal.result(`${formatCount(last.requests)} requests, ${formatCount(last.answered)} answered, ${formatCount(last.ignored)} ignored`)
  return exitOfSignal(interrupted.signal) ?? Exit.DONE
}

function factsOf(statistics: StunStatistics, started: number): object {
  return { ...statistics, requestsPerSec: rounded(statistics.requests / Math.max(0.001, (nowMs() - started) / 1000)) }
}

/** What people see first: where, and what that is good for. */
function introduction(addresses: readonly string[]): string[] {
  const [first = ''] = addresses
  const can = addresses.length > 1 ? 'mappings and filters of NATs can be told' : 'mappings can be told; filters need --alternate, another IP of ours'
  return [...addresses.map((address) => `listening on ${address}`), can, `quicbraid nat classify ${first.replace(/^0\.0\.0\.0:/, 'THIS-HOST:')}`]
}

/** A second's worth, between two looks. */
class Rate {
  #atMs: number
  #count = 0
  #last = 0

  constructor(startMs: number) {
    this.#atMs = startMs
  }

  of(count: number, now: number): number {
    if (now - this.#atMs < 1000) return this.#last
    this.#last = Math.round(((count - this.#count) * 1000) / (now - this.#atMs))
    this.#atMs = now
    this.#count = count
    return this.#last
  }
}
