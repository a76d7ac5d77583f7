/**
 * The option groups that commands share (api section 4: TRUST, TRANSPORT, OBSERVE) and what the library gets of them.
 * Values are checked by the library; what this version lacks it refuses by name.
 */
import { InvalidArgumentError, Option } from 'commander'
import type { Command } from 'commander'
import type { ConnectionOptions, EndpointOptions, PathSpec } from '../index.ts'
import { usageError } from './exit.ts'
import { parsePin, readCertificates, readIdentity } from './identity.ts'
import { createLogger } from './log.ts'
import type { LogValues } from './log.ts'
import { MetricsServer, parseMetricsAddress } from './metrics/index.ts'
import type { MetricsAddress } from './metrics/index.ts'
import { parsePath, parseTime } from './parse.ts'
import type { PathArgument } from './parse.ts'
import { SCHEDULER_HELP, SCHEDULER_OPTION, schedulerOption } from './scheduler.ts'
import type { Terminal } from './terminal.ts'

export interface TrustValues {
  ca?: string[]
  pin?: string[]
  insecure?: true
  servername?: string
  cert?: string
  key?: string
}

export interface TransportValues {
  path?: PathArgument[]
  scheduler?: string
  congestion?: string
  handshake?: string
  multipath?: string
  connectTimeout?: number
  idleTimeout?: number
  earlyData?: true
  session?: string
}

export interface ObserveValues extends LogValues {
  qlog?: string
  keylog?: string
  metrics?: MetricsAddress
  json?: true
}

export function addTrust(command: Command): Command {
  return command
    .option('--ca <file>', 'trust anchor in PEM; repeatable', collect)
    .option('--pin <pin>', 'trust this key (sha256//...) or certificate (64 hex digits); repeatable', collectParsed(parsePin))
    .option('-k, --insecure', 'do not verify the server')
    .option('--servername <name>', 'name to ask for and to check')
    .option('-E, --cert <file>', 'own certificate in PEM')
    .option('--key <file>', 'its key in PEM')
}

/** `limits`: what holds where these are left out. */
export function addTransport(command: Command, limits: { connect: string; idle: string } = { connect: '10s', idle: '30s' }): Command {
  return command
    .option('--path <path>', 'LOCAL[=REMOTE][,backup]: one more path, e.g. 192.0.2.7; repeatable', collectParsed(parsePath))
    .option(SCHEDULER_OPTION, SCHEDULER_HELP)
    .option('--congestion <name>', 'cubic, newreno, bbr3; coupled over the paths: lia, olia, balia')
    .option('--handshake <mode>', 'single, stagger, race, shared, independent')
    .option('--multipath <mode>', 'auto, off, require, shared-space')
    .option('--connect-timeout <time>', `limit of the handshake (${limits.connect})`, parsed(parseTime))
    .option('--idle-timeout <time>', `end of a silent connection (${limits.idle})`, parsed(parseTime))
    .addOption(new Option('--session <file>').hideHelp())
    .addOption(new Option('--early-data').hideHelp())
}

export function addObserve(command: Command): Command {
  return command
    .option('--qlog <dir>', 'write a qlog of each connection into a folder')
    .option('--metrics <addr>', '[HOST:]PORT: answer HTTP at /metrics (Prometheus), /events, /healthz', parsed(parseMetricsAddress))
    .option('--keylog <file>', 'write TLS keys for packet analysers (else SSLKEYLOGFILE)')
    .addOption(new Option('--log <form>', 'form of warnings and logs').choices(['plain', 'json']).default('plain'))
    .option('-v, --verbose', 'log what the library tells')
    .option('-q, --quiet', 'no progress, no warnings')
    .option('--json', 'results as JSON on stdout')
}

/** For commander: a parser of ours whose usage errors it can show. */
export function parsed<T>(parse: (text: string) => T): (text: string) => T {
  return (text) => {
    try {
      return parse(text)
    } catch (error) {
      throw new InvalidArgumentError(error instanceof Error ? error.message : String(error))
    }
  }
}

/** The same for options that may be given several times. */
export function collectParsed<T>(parse: (text: string) => T): (text: string, before: T[] | undefined) => T[] {
  const one = parsed(parse)
  return (text, before = []) => [...before, one(text)]
}

function collect(text: string, before: string[] = []): string[] {
  return [...before, text]
}

/** Reads the files. @throws CommandError for one that cannot be read or used; usage errors */
export async function trustOptions(values: TrustValues & LogValues, terminal: Terminal): Promise<ConnectionOptions> {
  if (values.insecure === true && (values.ca !== undefined || values.pin !== undefined)) throw usageError('--insecure verifies nothing: leave out --ca and --pin, or leave out --insecure')
  const own = await readIdentity(values.cert, values.key, ['--cert', '--key'])
  const ca = await Promise.all((values.ca ?? []).map((file) => readCertificates('--ca', file)))
  const logger = createLogger(values, terminal)
  if (values.insecure === true) logger.warn?.('server certificate is not verified', {})
  if (own !== null && own.over !== null) logger.warn?.(`--cert ${values.cert}: this certificate has ended on ${own.over}, servers may refuse it; \`quicbraid cert --days N\` makes another`, {})
  return {
    ...(values.ca === undefined ? {} : { ca }),
    ...(values.pin === undefined ? {} : { pins: values.pin }),
    ...(values.insecure === true ? { verify: 'none' as const } : {}),
    ...(values.servername === undefined ? {} : { serverName: values.servername }),
    ...(own === null ? {} : { cert: own.cert, key: own.key }),
  }
}

/** Names go through unchecked: the library knows them, and which it lacks. @throws usage errors */
export async function transportOptions(values: TransportValues): Promise<ConnectionOptions> {
  refuseOption('--session', values.session)
  const limits = {
    ...(values.connectTimeout === undefined ? {} : { handshakeTimeoutMs: values.connectTimeout }),
    ...(values.idleTimeout === undefined ? {} : { idleTimeoutMs: values.idleTimeout }),
  }
  const options = {
    ...(values.path === undefined ? {} : { paths: values.path as PathSpec[] }),
    ...(values.scheduler === undefined ? {} : { scheduler: await schedulerOption(values.scheduler) }),
    ...(values.congestion === undefined ? {} : { congestion: values.congestion }),
    ...(values.handshake === undefined ? {} : { handshake: values.handshake }),
    ...(values.multipath === undefined ? {} : { multipath: values.multipath }),
    ...(values.earlyData === undefined ? {} : { earlyData: true }),
    ...(Object.keys(limits).length === 0 ? {} : { limits }),
  }
  return options as ConnectionOptions
}

export function observeOptions(values: ObserveValues, terminal: Terminal): EndpointOptions {
  const keylog = values.keylog ?? ((process.env['SSLKEYLOGFILE'] ?? '') === '' ? undefined : 'env')
  return {
    ...(values.qlog === undefined ? {} : { qlog: values.qlog }),
    ...(keylog === undefined ? {} : { keylog }),
    logger: createLogger(values, terminal),
  }
}

/** The HTTP server of `--metrics`, before there is anything to tell; null without the option. @throws CommandError if it cannot be bound */
export async function openMetrics(values: ObserveValues, terminal: Terminal): Promise<MetricsServer | null> {
  const { metrics, quiet, json } = values
  if (metrics === undefined) return null
  const server = await MetricsServer.open(metrics)
  if (metrics.reach === 'network') createLogger(values, terminal).warn?.(`whoever reaches ${server.url} reads addresses and numbers of all connections`, {})
  if (quiet !== true && json !== true) terminal.note(`metrics on ${server.url}/metrics`)
  return server
}

/** @throws a usage error if an option is used that the command line does not have yet */
export function refuseOption(option: string, value: unknown): void {
  if (value !== undefined) throw usageError(`${option} is not available in this version; leave it out`)
}
