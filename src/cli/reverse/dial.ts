/** `quicbraid reverse dial`: offers a service behind a NAT to a public end, which it dials and goes on dialling. Each request is joined to a connection to the target. */
import { Option } from 'commander'
import type { Command } from 'commander'
import { splitPort } from '../../config/index.ts'
import type { ConnectionOptions } from '../../index.ts'
import { asCommandError, Exit, exitOf, usageError } from '../exit.ts'
import type { CommandError, ExitCode } from '../exit.ts'
import { addObserve, addTransport, addTrust, openMetrics, parsed, transportOptions, trustOptions } from '../options.ts'
import type { ObserveValues, TransportValues, TrustValues } from '../options.ts'
import { parseCount, parseTime, withPort } from '../parse.ts'
import type { Context } from '../program.ts'
import { addRelayTrust } from '../relay/index.ts'
import type { RelayTrustValues } from '../relay/index.ts'
import { exitOfSignal, Interruption, untilAborted } from '../signals.ts'
import type { Terminal } from '../terminal.ts'
import { DialLog } from './dial-log.ts'
import { parseRetry, parseService, parseTarget } from './parse.ts'
import type { RetryChoice, TargetAddress } from './parse.ts'
import { openHaproxy } from './private-end-haproxy.ts'
import { openQuic, relayOf } from './private-end.ts'
import type { StateChanges } from './private-end.ts'
import { lackingOfHaproxy, lacks, PLAIN_HELP, PROTO_HELP, PROTOS } from './proto.ts'
import type { Proto } from './proto.ts'

export interface DialValues extends TrustValues, TransportValues, RelayTrustValues, ObserveValues {
  to: string
  service: string
  target: TargetAddress
  pool: number
  retry: RetryChoice
  ping: number
  proto: Proto
  proxyProtocol?: 'v2'
  once?: true
  plain?: true
}

const PORT = 4433
const MAX_POOL = 256
const PING_MS = 15_000
/** What requests get after the first signal. */
const DRAIN_MS = 2000

export function addDial(reverse: Command, { terminal, end }: Context): void {
  const command = reverse.command('dial').description('offer a service from behind a NAT: dial a public end and let its requests in')
    .requiredOption('--to <host:port>', `the public end (\`quicbraid reverse listen\`), port ${PORT} if none is given; or its address at a relay, RELAY-OUTER`)
    .addOption(new Option('--service <name>', 'name of the service; among the names of our certificate').argParser(parsed(parseService)).makeOptionMandatory())
    .addOption(new Option('--target <host:port>', 'where requests go: HOST:PORT or unix:/path').argParser(parsed(parseTarget)).makeOptionMandatory())
    .addOption(new Option('--pool <n>', 'connections to keep').argParser(parsed((text) => parseCount(text, 1, MAX_POOL))).default(1))
    .addOption(new Option('--retry <wait>', 'between attempts: MIN..MAX, doubling, or fixed (1s)').argParser(parsed(parseRetry)).default({ minMs: 1000, maxMs: 30_000 }, '1s..30s'))
    .addOption(new Option('--ping <time>', 'between signs of life, so that the NAT does not forget us').argParser(parsed(parseTime)).default(PING_MS, '15s'))
    .addOption(new Option('--proto <name>', PROTO_HELP).choices(PROTOS).default('quic'))
    .option('--plain', PLAIN_HELP)
    .addOption(new Option('--proxy-protocol <version>', 'tell the target the address of the public end in a PROXY header').choices(['v2']))
    .option('--once', 'an attempt that fails ends the command (3: refused, 4: no connection) instead of being repeated')
  addRelayTrust(command, 'as the public end')
  addObserve(addTransport(addTrust(command), { connect: '5s, from dial to accepted', idle: 'three times --ping' }))
  command.action(async (values: DialValues) => end(await dial(values, terminal)))
}

async function dial(values: DialValues, terminal: Terminal): Promise<ExitCode> {
  const to = publicEnd(values.to)
  const trust = { ...await trustOptions(values, terminal), ...await transportOptions({ ...values, connectTimeout: undefined }) }
  check(values, trust)
  using interrupted = new Interruption()
  await using metrics = await openMetrics(values, terminal)
  const end = await (values.proto === 'quic' ? openQuic : openHaproxy)(to, values, trust, terminal)
  const log = new DialLog(terminal, end, { ...values, to })
  end.expose(metrics)
  log.dialling(metrics?.url)
  try {
    const error = await Promise.race([untilAborted(interrupted.signal), watch(end.dial(log), log, values)])
    await end.stop({ drainMs: error === undefined ? DRAIN_MS : 0 })
    if (error !== undefined) throw error
  } catch (error) {
    log.end('failed')
    throw error
  } finally {
    await end.close()
  }
  log.end('in-order')
  return exitOfSignal(interrupted.signal) ?? Exit.DONE
}

/** Tells what changes; resolves with an error that ends the command. */
function watch(state$: StateChanges, log: DialLog, { once }: DialValues): Promise<CommandError> {
  return new Promise((resolve) => {
    state$.subscribe((change) => {
      log.state(change)
      if (change.state !== 'ERR') return
      // What is wrong here does not become right by trying again.
      if (once === true || exitOf(change.error, 'connecting') === Exit.USAGE) resolve(asCommandError(change.error, 'connecting'))
    })
  })
}

/** `HOST`, `HOST:PORT`, HAProxy's `rev@HOST:PORT`, `RELAY-OUTER`. */
function publicEnd(text: string): string {
  if (relayOf(text) !== null) return text
  const name = text.replace(/^(?:rev|rhttp)@/, '')
  const whole = withPort(name, PORT)
  const { host, port } = splitPort(whole) ?? { host: '', port: 0 }
  if (!/^[^\s/@]+$/.test(host) || port === 0) throw usageError(`--to '${text}' is not a public end; write HOST[:PORT], e.g. public.example, 192.0.2.7:${PORT} or [2001:db8::1]:${PORT}`)
  return whole
}

/** @throws usage errors */
function check(values: DialValues, { cert }: ConnectionOptions): void {
  const { plain, proto, to, token, relayPin, relayCa } = values
  if (proto === 'quic') {
    const [ofRelay] = Object.entries({ '--token': token, '--relay-pin': relayPin, '--relay-ca': relayCa }).find(([, value]) => value !== undefined) ?? []
    if (ofRelay !== undefined && relayOf(to) === null) throw usageError(`${ofRelay} is about a relay, and --to ${to} is no address at one (RELAY-OUTER, as \`reverse listen --relay\` prints it)`)
    if (values.earlyData === true) throw usageError('--early-data: a reverse connection takes no requests before its handshake is complete; leave it out')
    if (plain === true) throw usageError('--plain is about --proto h2-haproxy; QUIC has no connections without TLS')
    if (cert === undefined) throw usageError("show who you are with --cert and --key; `quicbraid cert NAME` makes both, NAME being the service's, and prints the pin that the public end wants")
    return
  }
  const lacking = { '--pin': values.pin, '--path': values.path, '--scheduler': values.scheduler, '--congestion': values.congestion, '--handshake': values.handshake, '--multipath': values.multipath, '--idle-timeout': values.idleTimeout, '--proxy-protocol': values.proxyProtocol }
  lacks(proto, { ...lacking, ...lackingOfHaproxy(values), 'way over a relay': relayOf(to) ?? undefined })
}
