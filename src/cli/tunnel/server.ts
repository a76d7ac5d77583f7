/** `quicbraid tunnel --server`: lets clients it knows go to the targets it was told, and to nothing else, until it is interrupted. */
import { lookup } from 'node:dns/promises'
import { Endpoint } from '../../index.ts'
import type { ServerOptions } from '../../index.ts'
import { REVERSE_ALPN } from '../../reverse/index.ts'
import { TUNNEL_ALPN, TUNNEL_LIMITS, TunnelManager } from '../../tunnel/index.ts'
import type { TunnelHandler } from '../../tunnel/index.ts'
import { bound, Exit, usageError } from '../exit.ts'
import type { ExitCode } from '../exit.ts'
import { ownIdentity, readCertificates } from '../identity.ts'
import type { Identity } from '../identity.ts'
import { createLogger } from '../log.ts'
import { observeOptions, openMetrics, transportOptions } from '../options.ts'
import { Progress } from '../progress.ts'
import { exitOfSignal, Interruption, untilAborted } from '../signals.ts'
import type { Terminal } from '../terminal.ts'
import { AllowList, askedName } from './allow.ts'
import type { Lookup } from './allow.ts'
import type { TunnelValues } from './command.ts'
import { RemotePorts } from './listeners.ts'
import { TunnelLog } from './log.ts'
import { PathTrace } from './trace.ts'
import { frameOf, introduction } from './view.ts'

const LISTEN = '0.0.0.0:4433'
/** What is joined gets so long after the first signal. */
const DRAIN_MS = 2000
/** Where a connection that names its targets later is sent, which is nowhere: the answer only lets it in. */
const LET_IN = '0.0.0.0:1'

export async function runServer(values: TunnelValues, terminal: Terminal): Promise<ExitCode> {
  checkClients(values)
  const own = await ownIdentity(values.cert, values.key, ['--cert', '--key'])
  const options = await serverOptions(values, own)
  const allow = await AllowList.of(values.allow ?? [], systemLookup)
  const logger = createLogger(values, terminal)
  if (values.insecureAnyone === true) logger.warn?.('anybody may use this server (--insecure-anyone); --client-ca or --client-pin says who', {})
  if (allow.specs.length === 0 && values.allowListen === undefined) logger.warn?.('without --allow and --allow-listen clients get nowhere', {})
  using interrupted = new Interruption()
  await using metrics = await openMetrics(values, terminal)
  const endpoint = await bound('-l', Endpoint.bind({ ...observeOptions(values, terminal), local: values.listen ?? LISTEN, server: options }))
  const manager = new TunnelManager({
    endpoint, limits: { ...(values.maxBridges === undefined ? {} : { maxBridges: values.maxBridges }), ...(values.maxBridgesPerPeer === undefined ? {} : { maxBridgesPerPeer: values.maxBridgesPerPeer }) },
  })
  metrics?.watch(endpoint)
  metrics?.also({ prometheus: () => manager.prometheus() })
  const log = new TunnelLog(terminal, () => endpoint.now(), values)
  log.follow(manager)
  const ports = values.allowListen === undefined ? null : await RemotePorts.listen(endpoint, manager, values.allowListen, log)
  if (ports !== null) metrics?.also(ports)
  manager.listen(handlerOf(allow, values, log), { protocol: 'both' })
  announce(endpoint, own, allow, values, log, metrics?.url)
  const trace = new PathTrace()
  const progress = new Progress(terminal, values.json === true || values.quiet === true || values.log === 'json' ? 'quiet' : 'shown', () =>
    frameOf(manager.statistics(), trace.groups([...endpoint.connections].map((connection) => ({ name: connection.remote, connection }))), manager.openBridges(), terminal.colors))
  log.watchedBy(progress)
  progress.start()
  await untilAborted(interrupted.signal)
  endpoint.unlisten()
  ports?.stop()
  await manager.shutdown({ graceMs: DRAIN_MS })
  await ports?.[Symbol.asyncDispose]()
  progress.stop()
  log.end(manager)
  await endpoint.close({ drainMs: DRAIN_MS })
  return exitOfSignal(interrupted.signal) ?? Exit.DONE
}

/** Somebody must be named, or everybody in so many words. */
function checkClients({ clientCa, clientPin, insecureAnyone }: TunnelValues): void {
  const named = clientCa !== undefined || clientPin !== undefined
  if (!named && insecureAnyone !== true) throw usageError('a tunnel is never open: say who may use it with --client-ca FILE or --client-pin PIN, or let anybody in with --insecure-anyone')
  if (named && insecureAnyone === true) throw usageError('--insecure-anyone lets everybody in: leave out --client-ca and --client-pin, or leave out --insecure-anyone')
}

async function serverOptions(values: TunnelValues, { cert, key }: Identity): Promise<ServerOptions> {
  const { limits, ...transport } = await transportOptions(values)
  return {
    ...transport as ServerOptions, cert, key, alpn: values.allowListen === undefined ? TUNNEL_ALPN : [TUNNEL_ALPN, REVERSE_ALPN],
    ...(values.insecureAnyone === true ? {} : { clientAuth: 'require' as const }),
    ...(values.clientCa === undefined ? {} : { ca: await readCertificates('--client-ca', values.clientCa) }),
    ...(values.clientPin === undefined ? {} : { pins: values.clientPin }),
    limits: { ...TUNNEL_LIMITS, keepAliveMs: values.keepalive, ...limits },
  }
}

/** Compares what is asked for with the list; says what it refuses. */
export function handlerOf(allow: AllowList, { insecureAnyone, proxyProtocol }: Pick<TunnelValues, 'insecureAnyone' | 'proxyProtocol'>, log: Pick<TunnelLog, 'refused'>): TunnelHandler {
  return async ({ peer, protocol, host, port, remote }) => {
    const wanted = port === 0 ? 'a connection' : `${protocol === 'udp' ? 'udp:' : ''}${askedName({ host, port })}`
    if (peer === null && insecureAnyone !== true) return void log.refused(remote, wanted, 'no certificate that is known')
    if (port === 0) return allow.specs.length === 0 ? void log.refused(remote, wanted, 'nothing is allowed') : LET_IN
    const found = await allow.target({ protocol, host, port })
    if (typeof found === 'string') return void log.refused(remote, wanted, found)
    return proxyProtocol === undefined ? found.address : { target: found.address, proxyProtocol }
  }
}

function announce(endpoint: Endpoint, { pin, made }: Identity, allow: AllowList, values: TunnelValues, log: TunnelLog, metrics: string | undefined): void {
  const listen = (values.allowListen ?? []).map(({ spec }) => spec)
  const { local } = endpoint
  if (values.json === true) return log.event('listening', { local, pin, allow: allow.specs, allowListen: listen, ...(metrics === undefined ? {} : { metrics }) })
  const clients = values.insecureAnyone === true ? 'anybody' : values.clientCa === undefined ? 'clients whose keys are pinned' : `clients with certificates of ${values.clientCa}`
  for (const line of introduction({ local, pin, allow: allow.specs, listen, clients, certificate: values.insecureAnyone !== true })) log.terminal.result(line)
  if (made && values.quiet !== true && values.log !== 'json') log.terminal.note('note: the pin is of a certificate for this run, so no client comes back to another one; keep one with `quicbraid cert` and give it as --cert and --key')
  return undefined
}

const systemLookup: Lookup = async (name) => (await lookup(name, { all: true, verbatim: true })).map(({ address }) => address)
