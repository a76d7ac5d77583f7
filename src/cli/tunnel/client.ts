/**
 * `quicbraid tunnel -L|-D|-R … HOST`: binds all listeners first, then waits for the server's word, then runs until it is interrupted or a connection
 * is lost for good. Each -L has a connection of its own, so does all of -D; the paths are the same for all.
 */
import { Endpoint } from '../../index.ts'
import type { Connection, ConnectionOptions, PathSpec, Waiting } from '../../index.ts'
import { TunnelManager } from '../../tunnel/index.ts'
import type { OpenTunnel, TunnelSession } from '../../tunnel/index.ts'
import { asCommandError, Exit, usageError } from '../exit.ts'
import type { CommandError, ExitCode } from '../exit.ts'
import { printable } from '../format.ts'
import { createLogger } from '../log.ts'
import { observeOptions, openMetrics, transportOptions, trustOptions } from '../options.ts'
import { Progress } from '../progress.ts'
import { exitOfSignal, interruption, Interruption, untilAborted } from '../signals.ts'
import type { Terminal } from '../terminal.ts'
import type { TunnelValues } from './command.ts'
import { TunnelLog } from './log.ts'
import type { Credentials } from './socks.ts'
import { SocksServer } from './socks-server.ts'
import { RemoteForward } from './remote-forward.ts'
import type { RemoteChange } from './remote-forward.ts'
import { join, parseServer } from './specs.ts'
import type { Forward } from './specs.ts'
import { PathTrace } from './trace.ts'
import { frameOf } from './view.ts'
import { tunnelFailure } from './words.ts'

const PORT = 4433
const CONNECT_MS = 10_000
/** What is joined gets so long after the first signal. */
const DRAIN_MS = 2000
/** The idle timeout in keep-alives: so many may get lost. */
const KEEPALIVES_PER_IDLE = 3

/** One thing that is carried: for the status lines, and for the end. */
interface Carried {
  name: string
  connection(): Connection | null
  /** With the words for it. */
  closed: Promise<{ error: CommandError | null }>
}

export async function runClient(server: string, values: TunnelValues, terminal: Terminal): Promise<ExitCode> {
  const remote = parseServer(server, PORT)
  const credentials = credentialsOf(values.socksUser)
  warnOfOpenProxy(values, credentials, terminal)
  const asking = await askingOf(remote, values, terminal)
  using interrupted = new Interruption()
  await using metrics = await openMetrics(values, terminal)
  const endpoint = await Endpoint.bind(observeOptions(values, terminal))
  const manager = new TunnelManager({ endpoint })
  metrics?.watch(endpoint)
  metrics?.also({ prometheus: () => manager.prometheus() })
  const log = new TunnelLog(terminal, () => endpoint.now(), values)
  const run = new ClientRun(manager, log, asking, interrupted.signal, metrics?.url)
  metrics?.also({ prometheus: () => run.prometheus() })
  const progress = new Progress(terminal, values.json === true || values.quiet === true || values.log === 'json' ? 'quiet' : 'shown', () => run.frame(terminal))
  log.watchedBy(progress)
  log.follow(manager)
  let error: CommandError | null = null
  try {
    const stopped = untilAborted(interrupted.signal)
    await Promise.race([run.begin(values, credentials), stopped])
    if (!interrupted.signal.aborted) progress.start()
    error = await Promise.race([run.over(), stopped.then(() => null)])
  } catch (thrown) {
    if (!interrupted.signal.aborted) error = asCommandError(thrown, 'connecting')
  }
  await run.stop()
  progress.stop()
  await endpoint.close({ drainMs: DRAIN_MS })
  if (error !== null && interruption(interrupted.signal) === null) throw asCommandError(error, 'connecting', values.json === true ? log.last(manager) : {})
  log.end(manager)
  return exitOfSignal(interrupted.signal) ?? Exit.DONE
}

class ClientRun {
  readonly #manager: TunnelManager
  readonly #log: TunnelLog
  readonly #asking: Asking
  readonly #signal: AbortSignal
  readonly #carried: Carried[] = []
  readonly #socks: SocksServer[] = []
  readonly #remotes: RemoteForward[] = []
  readonly #trace = new PathTrace()
  readonly #metrics: string | undefined
  #session: TunnelSession | null = null

  /** `metrics`: where they are. */
  constructor(manager: TunnelManager, log: TunnelLog, asking: Asking, signal: AbortSignal, metrics: string | undefined) {
    this.#metrics = metrics
    this.#manager = manager
    this.#log = log
    this.#asking = asking
    this.#signal = signal
  }

  /** Listens everywhere, then connects. @throws what stops it */
  async begin(values: TunnelValues, credentials: Credentials | null): Promise<void> {
    const { remote } = this.#asking
    const opening: Promise<unknown>[] = []
    const told: (() => void)[] = []
    for (const { spec, kind, bind, target } of values.local ?? []) {
      const failed = (error: unknown): CommandError => tunnelFailure(error, { spec: `-L ${spec}`, remote, target: `${kind === 'udp' ? 'udp:' : ''}${join(target)}` })
      const options: OpenTunnel & Waiting = { ...this.#asking, port: target.port, host: target.host, bind: join(bind), signal: this.#signal }
      const tunnel = await renamed(kind === 'udp' ? this.#manager.openUdp(options) : this.#manager.open(options), failed)
      this.#carry({ name: portOf(tunnel.local), connection: () => tunnel.connection, closed: tunnel.closed }, failed)
      opening.push(renamed(tunnel.opened, failed))
      told.push(() => this.#listening('L', `${kind === 'udp' ? 'udp:' : ''}${tunnel.local}`, join(target)))
    }
    for (const bind of values.dynamic ?? []) {
      const socks = await SocksServer.listen(bind, credentials, () => this.#session)
      this.#socks.push(socks)
      told.push(() => this.#listening('D', socks.local, null))
    }
    for (const forward of values.remote ?? []) {
      const remotePort = this.#backward(forward, values)
      opening.push(remotePort.opened)
      told.push(() => this.#listening('R', join(forward.bind), join(forward.target)))
    }
    const [socks] = this.#socks
    if (socks !== undefined) opening.push(this.#connect(`-D ${socks.local}`))
    await Promise.all(opening)
    for (const tell of told) tell()
  }

  /** When the first of all has ended: with an error, or in order. */
  async over(): Promise<CommandError | null> {
    return (await Promise.race(this.#carried.map(({ closed }) => closed))).error
  }

  /** Nobody comes any more; what is joined has a little time. */
  async stop(): Promise<void> {
    for (const socks of this.#socks) socks.close()
    await Promise.all([this.#manager.shutdown({ graceMs: DRAIN_MS }), ...this.#remotes.map((remote) => remote.stop(DRAIN_MS))])
  }

  frame({ colors }: Terminal): ReturnType<typeof frameOf> {
    const groups = this.#trace.groups(this.#carried.map(({ name, connection }) => ({ name, connection: connection() })))
    return frameOf(this.#manager.statistics(), groups, this.#manager.openBridges(), colors)
  }

  #backward(forward: Forward, values: TunnelValues): RemoteForward {
    const { remote, connection = {}, timeoutMs = CONNECT_MS } = this.#asking
    const identity = { cert: connection.cert as string, key: connection.key as string }
    const local = join(forward.bind)
    const onChange = ({ open, reason }: RemoteChange): void => {
      if (!open) this.#log.tell('unlistened', { kind: 'R', local, remote, reason }, `..  -R ${forward.spec}: not open: ${printable(reason)}`)
      else this.#listening('R', local, join(forward.target))
    }
    const one = new RemoteForward({ endpoint: this.#manager.endpoint, manager: this.#manager, remote, connection, identity, timeoutMs, keepAliveMs: values.keepalive, attempts: values.reconnect, forward, onChange })
    this.#remotes.push(one)
    this.#carry({ name: one.name, connection: () => one.connection, closed: one.closed }, (error) => error as CommandError)
    return one
  }

  #carry({ closed, ...one }: Omit<Carried, 'closed'> & { closed: Promise<{ error: Error | null }> }, failed: (error: unknown) => CommandError): void {
    this.#carried.push({ ...one, closed: closed.then(({ error }) => ({ error: error === null || orderly(error) ? null : failed(error) })) })
  }

  /** More of `--metrics`. */
  prometheus(): string {
    return this.#remotes.map((remote) => remote.prometheus()).join('')
  }

  async #connect(spec: string): Promise<void> {
    const failed = (error: unknown): CommandError => tunnelFailure(error, { spec, remote: this.#asking.remote, target: null })
    const session = await renamed(this.#manager.connect({ ...this.#asking, signal: this.#signal }), failed)
    this.#session = session
    this.#carry({ name: 'socks', connection: () => session.connection, closed: session.closed }, failed)
  }

  #listening(kind: 'L' | 'D' | 'R', local: string, target: string | null): void {
    const { remote } = this.#asking
    const words = { L: `listening on ${local}, to ${target} by ${remote}`, D: `SOCKS5 proxy on ${local}, by ${remote}`, R: `${remote} listens on ${local}, to ${target} from here` }
    this.#log.tell('listening', { kind, local, target, server: remote, ...(this.#metrics === undefined ? {} : { metrics: this.#metrics }) }, words[kind])
  }
}

type Asking = Pick<OpenTunnel, 'remote' | 'timeoutMs' | 'connection' | 'reconnect'>

/** What all connections to the server have in common. */
async function askingOf(remote: string, values: TunnelValues, terminal: Terminal): Promise<Asking & { remote: string }> {
  const trust = await trustOptions(values, terminal)
  const { limits, ...transport } = await transportOptions(values)
  const connection: ConnectionOptions = {
    ...trust, ...transport, ...pathsOf(values.paths),
    limits: { keepAliveMs: values.keepalive, idleTimeoutMs: values.keepalive * KEEPALIVES_PER_IDLE, ...limits },
  }
  return { remote, timeoutMs: values.connectTimeout ?? CONNECT_MS, connection, reconnect: values.reconnect === 0 ? false : { attempts: values.reconnect } }
}

function pathsOf(paths: TunnelValues['paths']): ConnectionOptions {
  if (paths === undefined) return {}
  return paths === 'auto' ? { pathPolicy: 'all-interfaces' } : { paths: paths as PathSpec[] }
}

/** `USER:PASSWORD`. @throws a usage error */
function credentialsOf(text: string | undefined): Credentials | null {
  if (text === undefined) return null
  const at = text.indexOf(':')
  const [user, password] = [text.slice(0, at), text.slice(at + 1)]
  if (at < 1 || password === '' || Buffer.byteLength(user) > 255 || Buffer.byteLength(password) > 255) throw usageError('--socks-user: write USER:PASSWORD, each of 1 to 255 bytes')
  return { user, password }
}

function warnOfOpenProxy(values: TunnelValues, credentials: Credentials | null, terminal: Terminal): void {
  const open = values.dynamic?.find(({ host }) => !host.startsWith('127.') && host !== '::1')
  if (open !== undefined && credentials === null) createLogger(values, terminal).warn?.(`whoever reaches ${join(open)} uses this SOCKS proxy; --socks-user asks for a password`, {})
}

/** The same, with other words if it fails; whoever does not wait for it hears nothing. */
function renamed<T>(work: Promise<T>, failed: (error: unknown) => CommandError): Promise<T> {
  const told = work.catch((error: unknown) => {
    throw failed(error)
  })
  told.catch(() => undefined)
  return told
}

/** The server ended the connection itself, with nothing under way. */
function orderly(error: Error): boolean {
  const { code, errorCode, by } = error as { code?: unknown; errorCode?: unknown; by?: unknown }
  return code === 'QB_TUNNEL_SHUTDOWN' && by === 'peer' && (errorCode === undefined || errorCode === null)
}

function portOf(local: string): string {
  return local.slice(local.lastIndexOf(':') + 1)
}
