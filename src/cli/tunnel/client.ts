/**
 * `quicbraid tunnel -L|-D|-R … HOST`: binds all listeners first, then waits for the server's word, then runs until it is interrupted or a connection
 * is lost for good. Each -L has a connection of its own, so does all of -D; the paths are the same for all.
 */
import { Endpoint } from '../../index.ts'
import type { Connection, ConnectionOptions, PathSpec, Waiting } from '../../index.ts'
import { TunnelManager } from '../../tunnel/index.ts'
import type { OpenTunnel, TunnelSession } from '../../tunnel/index.ts'
import { asCommandError, Exit, usageError } from '../exit.ts'
import type { ExitCode } from '../exit.ts'
import { observeOptions, openMetrics, transportOptions, trustOptions } from '../options.ts'
import { Progress } from '../progress.ts'
import { exitOfSignal, interruption, Interruption, untilAborted } from '../signals.ts'
import type { Terminal } from '../terminal.ts'
import type { TunnelValues } from './command.ts'
import { TunnelLog } from './log.ts'
import type { Credentials } from './socks.ts'
import { SocksServer } from './socks-server.ts'
import { RemoteForward } from './remote-forward.ts'
import { join, parseServer } from './specs.ts'
import type { Bind, Forward } from './specs.ts'
import { PathTrace } from './trace.ts'
import { frameOf } from './view.ts'

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
  closed: Promise<{ error: Error | null }>
}

export async function runClient(server: string, values: TunnelValues, terminal: Terminal): Promise<ExitCode> {
  const remote = parseServer(server, PORT)
  const credentials = credentialsOf(values.socksUser)
  warnOfOpenProxy(values.dynamic ?? [], credentials, terminal)
  const asking = await askingOf(remote, values, terminal)
  using interrupted = new Interruption()
  await using metrics = await openMetrics(values, terminal)
  const endpoint = await Endpoint.bind(observeOptions(values, terminal))
  const manager = new TunnelManager({ endpoint })
  metrics?.watch(endpoint)
  metrics?.also({ prometheus: () => manager.prometheus() })
  const log = new TunnelLog(terminal, () => endpoint.now(), values)
  const run = new ClientRun(manager, log, asking, interrupted.signal)
  metrics?.also({ prometheus: () => run.prometheus() })
  const progress = new Progress(terminal, values.json === true || values.quiet === true ? 'quiet' : 'shown', () => run.frame(terminal))
  log.watchedBy(progress)
  log.follow(manager)
  let ended: { error: Error | null } | null = null
  try {
    await run.begin(values, credentials)
    progress.start()
    ended = await Promise.race([run.over(), untilAborted(interrupted.signal).then(() => null)])
  } catch (error) {
    if (!interrupted.signal.aborted) ended = { error: asCommandError(error, 'connecting') }
  }
  await run.stop()
  progress.stop()
  await endpoint.close({ drainMs: DRAIN_MS })
  const error = ended === null || orderly(ended.error) ? null : ended.error
  if (error !== null && interruption(interrupted.signal) === null) throw asCommandError(error, 'connecting', values.json === true ? { event: 'end', ...manager.statistics() } : {})
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
  #session: TunnelSession | null = null

  constructor(manager: TunnelManager, log: TunnelLog, asking: Asking, signal: AbortSignal) {
    this.#manager = manager
    this.#log = log
    this.#asking = asking
    this.#signal = signal
  }

  /** Listens everywhere, then connects. @throws what stops it */
  async begin(values: TunnelValues, credentials: Credentials | null): Promise<void> {
    const opening: Promise<void>[] = []
    const told: (() => void)[] = []
    for (const { kind, bind, target } of values.local ?? []) {
      const options: OpenTunnel & Waiting = { ...this.#asking, port: target.port, host: target.host, bind: join(bind), signal: this.#signal }
      const tunnel = await (kind === 'udp' ? this.#manager.openUdp(options) : this.#manager.open(options))
      this.#carried.push({ name: portOf(tunnel.local), connection: () => tunnel.connection, closed: tunnel.closed })
      opening.push(tunnel.opened)
      told.push(() => this.#listening('L', `${kind === 'udp' ? 'udp:' : ''}${tunnel.local}`, join(target)))
    }
    for (const bind of values.dynamic ?? []) {
      const socks = await SocksServer.listen(bind, credentials, () => this.#session)
      this.#socks.push(socks)
      told.push(() => this.#listening('D', socks.local, null))
    }
    for (const forward of values.remote ?? []) {
      const remote = this.#backward(forward, values)
      opening.push(remote.opened)
      told.push(() => this.#listening('R', join(forward.bind), join(forward.target)))
    }
    if (this.#socks.length > 0) opening.push(this.#connect())
    await Promise.all(opening)
    for (const tell of told) tell()
  }

  /** When the first of all has ended. */
  async over(): Promise<{ error: Error | null }> {
    return Promise.race(this.#carried.map(({ closed }) => closed))
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
    const one = new RemoteForward({ endpoint: this.#manager.endpoint, manager: this.#manager, remote, connection, identity, timeoutMs, keepAliveMs: values.keepalive, attempts: values.reconnect, forward })
    this.#remotes.push(one)
    this.#carried.push({ name: one.name, connection: () => one.connection, closed: one.closed })
    return one
  }

  /** More of `--metrics`. */
  prometheus(): string {
    return this.#remotes.map((remote) => remote.prometheus()).join('')
  }

  async #connect(): Promise<void> {
    const session = await this.#manager.connect({ ...this.#asking, signal: this.#signal })
    this.#session = session
    this.#carried.push({ name: 'socks', connection: () => session.connection, closed: session.closed })
  }

  #listening(kind: 'L' | 'D' | 'R', local: string, target: string | null): void {
    const { remote } = this.#asking
    const words = { L: `listening on ${local}, to ${target} by ${remote}`, D: `SOCKS5 proxy on ${local}, by ${remote}`, R: `${remote} listens on ${local}, to ${target} from here` }
    this.#log.tell('listening', { kind, local, target, server: remote }, words[kind])
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

function warnOfOpenProxy(binds: readonly Bind[], credentials: Credentials | null, terminal: Terminal): void {
  const open = binds.find(({ host }) => !host.startsWith('127.') && host !== '::1')
  if (open !== undefined && credentials === null) terminal.note(`warning: whoever reaches ${join(open)} uses this SOCKS proxy; --socks-user asks for a password`)
}

/** The server ended the connection itself, with nothing under way. */
function orderly(error: Error | null): boolean {
  const { code, errorCode, by } = (error ?? {}) as { code?: unknown; errorCode?: unknown; by?: unknown }
  return error === null || (code === 'QB_TUNNEL_SHUTDOWN' && by === 'peer' && (errorCode === undefined || errorCode === null))
}

function portOf(local: string): string {
  return local.slice(local.lastIndexOf(':') + 1)
}
