/** `quicbraid reverse listen`: takes the connections of private ends, and hands on to them what comes by HTTP, HTTPS and TCP, until it is interrupted. */
import { Option } from 'commander'
import type { Command } from 'commander'
import { HttpFront } from '../../reverse/index.ts'
import { upTo } from '../clock.ts'
import { Exit, usageError } from '../exit.ts'
import type { ExitCode } from '../exit.ts'
import { ownIdentity, parsePin } from '../identity.ts'
import { addObserve, collectParsed, openMetrics, parsed } from '../options.ts'
import type { ObserveValues } from '../options.ts'
import { parseLocal, parseTime } from '../parse.ts'
import type { Context } from '../program.ts'
import { addRelayTrust } from '../relay/index.ts'
import type { RelayTrustValues } from '../relay/index.ts'
import { SCHEDULER_HELP, SCHEDULER_OPTION } from '../scheduler.ts'
import { exitOfSignal, Interruption, untilAborted } from '../signals.ts'
import type { Terminal } from '../terminal.ts'
import { ListenLog } from './listen-log.ts'
import { addressText, parseListen, parseNameMapping, parsePortMapping, parseService } from './parse.ts'
import type { ListenAddress, NameMapping, PortMapping } from './parse.ts'
import { lackingOfHaproxy, lacks, PLAIN_HELP, PROTO_HELP, PROTOS } from './proto.ts'
import type { Proto } from './proto.ts'
import { openHaproxyPublicEnd } from './public-end-haproxy.ts'
import { openQuicPublicEnd } from './public-end.ts'
import type { PublicEnd } from './public-end.ts'
import { Routes } from './routes.ts'
import { Visitors } from './visitors.ts'

export interface ListenValues extends RelayTrustValues, ObserveValues {
  listen: string[]
  http?: ListenAddress[]
  https?: ListenAddress[]
  frontCert?: string
  frontKey?: string
  tcp?: PortMapping[]
  sniMap?: NameMapping[]
  clientCa?: string[]
  pin?: string[]
  allowService?: string[]
  cert?: string
  key?: string
  wait: number
  relay?: string
  proto: Proto
  plain?: true
  proxyProtocol?: 'v2'
  scheduler?: string
  congestion?: string
  multipath?: string
}

const PORT = 4433
const LISTEN = [`0.0.0.0:${PORT}`]
const localOf = parsed((text) => parseLocal(text, PORT))
const WAIT_MS = 2000
/** What requests get after the first signal. */
const DRAIN_MS = 2000

export function addListen(reverse: Command, { terminal, end }: Context): void {
  const command = reverse.command('listen').description('take connections of private ends, and hand HTTP and TCP on to their services')
    .option('-l, --listen <addr>', `IP[:PORT]; repeatable (${LISTEN.join(', ')})`, (text: string, before: string[] | undefined) => [...(before === LISTEN ? [] : (before ?? [])), localOf(text)], LISTEN)
    .option('--http <addr>', 'serve HTTP at [IP:]PORT; repeatable', collectParsed(parseListen))
    .option('--https <addr>', 'serve HTTPS at [IP:]PORT; repeatable', collectParsed(parseListen))
    .option('--front-cert <file>', 'certificate of --https in PEM (a development certificate)')
    .option('--front-key <file>', 'its key in PEM')
    .option('--tcp <addr=service>', 'hand TCP at [IP:]PORT on to a service; repeatable', collectParsed(parsePortMapping))
    .option('--sni-map <name=service>', 'HTTP: which service a host name means, *.example.net and * included; repeatable (the service of that name, or of its first label, or the only one; none that has a --tcp port)', collectParsed(parseNameMapping))
    .option('--client-ca <file>', 'private ends show a certificate that this authority signed; repeatable', (text: string, before: string[] = []) => [...before, text])
    .option('--pin <pin>', 'private ends show this key (sha256//...) or certificate (64 hex digits); repeatable', collectParsed(parsePin))
    .option('--allow-service <name>', 'services that may come; repeatable (all that certificates name)', collectParsed(parseService))
    .option('--cert <file>', 'certificate in PEM (a development certificate, its pin printed)')
    .option('--key <file>', 'its key in PEM')
    .addOption(new Option('--wait <time>', 'how long a request waits for a private end').argParser(parsed(parseTime)).default(WAIT_MS, '2s'))
    .addOption(new Option('--proxy-protocol <version>', 'what --tcp hands on begins with the address of the visitor in a PROXY header').choices(['v2']))
    .option('--relay <host:port>', 'also be reached through this relay (`quicbraid relay`)')
    .addOption(new Option('--proto <name>', PROTO_HELP).choices(PROTOS).default('quic'))
    .option('--plain', `${PLAIN_HELP}; whoever comes is the one service of --allow-service`)
    .option(SCHEDULER_OPTION, SCHEDULER_HELP)
    .option('--congestion <name>', 'cubic, newreno, bbr3; coupled over the paths: lia, olia, balia')
    .option('--multipath <mode>', 'auto, off, require, shared-space')
  addRelayTrust(command, 'there is no other trust here')
  addObserve(command)
  command.action(async (values: ListenValues) => end(await listen(values, terminal)))
}

async function listen(values: ListenValues, terminal: Terminal): Promise<ExitCode> {
  check(values)
  const own = await ownIdentity(values.cert, values.key, ['--cert', '--key'])
  const face = values.https === undefined ? null : await ownIdentity(values.frontCert, values.frontKey, ['--front-cert', '--front-key'])
  using interrupted = new Interruption()
  await using metrics = await openMetrics(values, terminal)
  const routes = new Routes(values.sniMap ?? [], values.allowService ?? [], (values.tcp ?? []).map(({ service }) => service))
  const end = await (values.proto === 'quic' ? openQuicPublicEnd : openHaproxyPublicEnd)(values, own, terminal)
  const log = new ListenLog(terminal, end, values)
  const visitors = new Visitors({ open: (service, visitor) => end.request(service, visitor), onRequest: (service, remote, report) => log.tcp(service, remote, report) })
  let front: HttpFront | null = null
  try {
    end.watch((event) => {
      if (event.type === 'accepted' && event.key !== null) routes.knows(event.key)
      log.pool(event)
    })
    end.expose(metrics)
    front = await openFront(values, end, routes, face)
    front?.requests$.subscribe((request) => log.http(request))
    if (front !== null) metrics?.also(front)
    for (const port of values.tcp ?? []) await visitors.listen(port)
    const where = { local: end.local, relay: await end.register(interrupted.signal), pin: own.pin, http: front?.http ?? [], https: front?.https ?? [], tcp: visitors.ports, metrics: metrics?.url ?? null }
    const relay = values.relay === undefined ? null : { pin: values.relayPin ?? null, token: values.token !== undefined }
    log.listening(where, { service: values.allowService?.[0] ?? null, trust: values.plain === true ? 'plain' : values.proto, relay })
    if (own.made && values.quiet !== true && values.json !== true && values.log !== 'json') terminal.note('note: the pin is of a certificate for this run; keep one with `quicbraid cert` and give it as --cert and --key')
    await untilAborted(interrupted.signal)
  } finally {
    await close(end, visitors, front)
  }
  log.end(end.summary())
  return exitOfSignal(interrupted.signal) ?? Exit.DONE
}

/** Newcomers are refused at once; what is under way has its time. */
async function close(end: PublicEnd, visitors: Visitors, front: HttpFront | null): Promise<void> {
  let drainMs = 0
  const gone = visitors.close().then(() => { drainMs = DRAIN_MS })
  await Promise.all([upTo(DRAIN_MS, gone), front?.close({ drainMs: DRAIN_MS })])
  visitors.cut()
  // Whoever is still there has had the time that there is.
  await end.close({ drainMs })
}

async function openFront({ http, https, wait }: ListenValues, end: PublicEnd, routes: Routes, face: { cert: string; key: string } | null): Promise<HttpFront | null> {
  if (http === undefined && https === undefined) return null
  const service = (name: string): string | undefined => routes.serviceOf(name)
  return HttpFront.listen({
    ...end.ways, keyFromSni: service, keyFromHost: service, service: () => routes.serviceOf(null),
    ...(http === undefined ? {} : { http: http.map(addressText) }), ...(https === undefined || face === null ? {} : { https: https.map(addressText), tls: { cert: face.cert, key: face.key } }),
    limits: { openTimeoutMs: Math.max(MIN_OPEN_MS, wait + MIN_OPEN_MS) },
  })
}

/** Beyond the wait for a private end. */
const MIN_OPEN_MS = 5000

/** @throws usage errors */
function check(values: ListenValues): void {
  const { clientCa, pin, http, https, tcp, frontCert, frontKey, proto, plain, relay, sniMap, proxyProtocol, allowService, scheduler, congestion, multipath } = values
  if (plain === true && (proto === 'quic' || clientCa !== undefined || allowService?.length !== 1)) throw usageError('--plain goes with --proto h2-haproxy, one --allow-service, and no --client-ca')
  if (clientCa === undefined && pin === undefined && plain !== true) throw usageError('a public end is never open: say who may come with --client-ca or --pin (`quicbraid cert NAME` makes a certificate and prints its pin)')
  if (http === undefined && https === undefined && tcp === undefined) throw usageError('say what to hand on: --http ADDR, --https ADDR or --tcp ADDR=SERVICE')
  if (https === undefined && (frontCert !== undefined || frontKey !== undefined)) throw usageError('--front-cert and --front-key are the identity of --https')
  if (sniMap !== undefined && http === undefined && https === undefined) throw usageError('--sni-map is about the names of --http and --https')
  const [ofRelay] = Object.entries({ '--token': values.token, '--relay-pin': values.relayPin, '--relay-ca': values.relayCa }).find(([, value]) => value !== undefined) ?? []
  if (ofRelay !== undefined && relay === undefined && proto === 'quic') throw usageError(`${ofRelay} is about a relay: --relay HOST[:PORT] says which`)
  const twice = sniMap?.find(({ name }, index) => sniMap.findIndex((other) => other.name === name) !== index)
  if (twice !== undefined) throw usageError(`--sni-map: ${twice.name} means two services; keep one of them`)
  if (proxyProtocol !== undefined && tcp === undefined) throw usageError('--proxy-protocol is about --tcp; HTTP has headers that say it')
  if (proto !== 'quic') lacks(proto, { '--tcp': tcp, '--relay': relay, '--pin': pin, '--scheduler': scheduler, '--congestion': congestion, '--multipath': multipath, ...lackingOfHaproxy(values) })
}
