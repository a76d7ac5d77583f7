/**
 * `TunnelManager`: TCP and UDP through QUIC, both sides on one endpoint. Puts the parts together and owns what they share; client tunnels are in
 * `near.ts`, connections of clients in `far.ts`. Denies by default: without a handler nobody gets anywhere.
 */
import { checkCall, invalidOption } from '../config/index.ts'
import type { ConnectionOptions, Observable, Waiting } from '../config/index.ts'
import type { Connection } from '../connection/index.ts'
import { serviceOf } from '../endpoint/index.ts'
import type { Endpoint, EndpointService } from '../endpoint/index.ts'
import { ServiceError } from '../errors/index.ts'
import { Backward } from './backward.ts'
import { demuxOf } from './carrier.ts'
import { TunnelCode } from './codes.ts'
import type { Demux, DemuxDrops } from './demux.ts'
import { FarConnection } from './far.ts'
import type { FarOwner } from './far.ts'
import { Ledger } from './ledger.ts'
import type { BridgeEvent, OpenBridge, TunnelEvent, TunnelStatistics } from './ledger.ts'
import { NearTunnel } from './near.ts'
import type { NearOwner, Tunnel, TunnelSession } from './near.ts'
import { NearUdp } from './near-udp.ts'
import type { NearUdpOwner } from './near-udp.ts'
import { TUNNEL_ALPN, checkConnect, checkManager, checkOpen, connectionOf, windowWarning } from './options.ts'
import type { CheckedConnect, CheckedManager, CheckedOpen, ConnectTunnel, ListenOptions, OpenTunnel, TunnelHandler, TunnelOptions } from './options.ts'
import { Policy } from './policy.ts'
import { PortBook } from './ports.ts'
import { exposition } from './prometheus.ts'
import { Quota } from './quota.ts'
import { NODE_TCP } from './tcp.ts'
import type { Tcp } from './tcp.ts'
import { NODE_UDP } from './udp.ts'
import type { Udp } from './udp.ts'

const GRACE_MS = 2000
const DRAIN_MS = 500
const NO_DROPS: Readonly<DemuxDrops> = { short: 0, type: 0, noListener: 0, noTunnel: 0 }

/** Of either protocol. */
type ClientTunnel = NearTunnel | NearUdp

/** A manager with another TCP and UDP than the process's, for tests. @throws as the constructor */
export let managerWith: (options: TunnelOptions, tcp: Tcp, udp?: Udp) => TunnelManager

/** Bridges over streams of other connections, counted and ended with the manager's own. @throws QB_TUNNEL_SHUTDOWN */
export let backwardOf: (manager: TunnelManager) => Pick<Backward, 'ask' | 'serve'>

export class TunnelManager implements AsyncDisposable {
  readonly endpoint: Endpoint
  readonly #choice: CheckedManager
  readonly #service: EndpointService
  readonly #demux: Demux | null
  #tcp: Tcp = NODE_TCP
  #udp: Udp = NODE_UDP
  readonly #ledger: Ledger
  readonly #policy: Policy
  readonly #quota: Quota
  readonly #flowQuota: Quota
  readonly #ports = new PortBook()
  readonly #tunnels = new Map<number, ClientTunnel>()
  readonly #clients = new Set<FarConnection>()
  readonly #unclaim: () => void
  readonly #near: NearOwner & NearUdpOwner
  readonly #far: FarOwner
  readonly #backward: Backward
  #lastId = 0
  #shutting: Promise<void> | null = null
  /** Told when a bridge, tunnel or connection has ended, while `shutdown` waits. */
  #onQuiet: () => void = () => {}

  static {
    managerWith = (options, tcp, udp = NODE_UDP) => {
      const manager = new TunnelManager(options)
      manager.#tcp = tcp
      manager.#udp = udp
      return manager
    }
    backwardOf = (manager) => {
      manager.#checkOpen()
      return manager.#backward
    }
  }

  /** @throws QB_OPTION_INVALID QB_OPTION_UNKNOWN */
  constructor(options: TunnelOptions) {
    this.#choice = checkManager(options)
    const { endpoint } = options
    const service = serviceOf(endpoint)
    if (service === undefined) throw invalidOption('endpoint', endpoint, 'an Endpoint of this copy of the package')
    this.endpoint = endpoint
    this.#service = service
    this.#demux = this.#choice.carrier === 'header' ? (demuxOf(endpoint) ?? null) : null
    if ((this.#choice.carrier === 'header') !== (demuxOf(endpoint) !== undefined)) throw invalidOption('carrier', this.#choice.carrier, "'header' with an endpoint of headerCarrier(), 'udp' with any other")
    const { habitat, sampling, logger, newcomers } = service
    const { limits } = this.#choice
    this.#ledger = new Ledger(() => endpoint.now(), sampling, () => this.#demux?.drops ?? NO_DROPS)
    this.#policy = new Policy(habitat.timing, limits.dialTimeoutMs, logger)
    this.#quota = new Quota(limits.maxBridges, limits.maxBridgesPerPeer, { total: 'maxBridges', each: 'maxBridgesPerPeer' })
    this.#flowQuota = new Quota(limits.maxFlows, limits.maxFlowsPerPeer, { total: 'maxFlows', each: 'maxFlowsPerPeer' })
    this.#near = this.#nearOwner()
    this.#far = this.#farOwner()
    this.#backward = new Backward({ ...this.#far, onBridgeOver: () => this.#onBridgeOver() })
    const unclaim = newcomers.claim(TUNNEL_ALPN, (connection) => this.#onConnection(connection))
    if (unclaim === null) throw invalidOption('endpoint', endpoint, 'an endpoint without another TunnelManager; one serves any number of tunnels')
    this.#unclaim = unclaim
    if (this.#demux !== null) {
      this.#demux.owner = {
        serves: () => endpoint.listening && (this.#clients.size > 0 || (this.#policy.size > 0 && this.#shutting === null)),
        owns: (port) => this.#ports.owns(port),
      }
    }
    void endpoint.closed.then(() => this.shutdown({ graceMs: 0 }))
  }

  /** What becomes of TCP connections. [H0] tick */
  get bridges$(): Observable<BridgeEvent> {
    return this.#ledger.bridges$
  }

  /** What becomes of client tunnels. [H0] tick */
  get tunnels$(): Observable<TunnelEvent> {
    return this.#ledger.tunnels$
  }

  /** [H1] sample */
  get metrics$(): Observable<TunnelStatistics> {
    return this.#ledger.metrics$
  }

  /** Binds first and returns; the handshake goes on (`opened`). @throws QB_BIND_FAILED QB_TUNNEL_TOO_MANY QB_TUNNEL_SHUTDOWN QB_OPTION_INVALID QB_OPTION_UNKNOWN, the abort reason */
  async open(options: OpenTunnel & Waiting): Promise<Tunnel> {
    const checked = checkOpen(options)
    const tunnel = this.#enter(checked, (id, port) => new NearTunnel(id, port, checked, this.#near))
    await this.#start(tunnel, checked, () => this.#tcp.listen(checked.bind, (socket) => tunnel.onSocket(socket)), (listener) => tunnel.start(listener))
    return tunnel
  }

  /** As `open`, for UDP: each address that sends to `local` is a flow of its own. Closing it ends its flows. @throws as `open` */
  async openUdp(options: OpenTunnel & Waiting): Promise<Tunnel> {
    const checked = checkOpen(options)
    const tunnel = this.#enter(checked, (id, port) => new NearUdp(id, port, checked, this.#near))
    await this.#start(tunnel, checked, () => this.#udp.bind(checked.bind, tunnel), (socket) => tunnel.start(socket))
    return tunnel
  }

  /** A connection for sockets of yours, each to a target of its own; resolves when the server has agreed. @throws QB_TUNNEL_TOO_MANY QB_TUNNEL_SHUTDOWN QB_TUNNEL_TIMEOUT QB_TUNNEL_REFUSED QB_OPTION_INVALID QB_OPTION_UNKNOWN, or as `Endpoint.connect` */
  async connect(options: ConnectTunnel & Waiting): Promise<TunnelSession> {
    const checked = checkConnect(options)
    const { signal } = checked
    const tunnel = this.#enter(checked, (id, port) => new NearTunnel(id, port, checked, this.#near))
    tunnel.start(null)
    const onAbort = (): void => void tunnel.close('by-force', signal?.reason as Error)
    signal?.addEventListener('abort', onAbort, { once: true })
    try {
      await tunnel.opened
    } finally {
      signal?.removeEventListener('abort', onAbort)
    }
    return tunnel
  }

  /** Stops accepting; bridges go on, the connection closes after the last; `force` ends them at once. Resolves when the tunnel is gone. Unknown id: false. @throws QB_OPTION_INVALID QB_OPTION_UNKNOWN */
  async close(id: number, options: { force?: boolean } = {}): Promise<boolean> {
    checkCall(options, ['force'])
    const tunnel = this.#tunnels.get(id)
    if (tunnel === undefined) return false
    await tunnel.close(options.force === true ? 'by-force' : 'gently')
    return true
  }

  /** A number is short for "this port to 127.0.0.1:port, for verified peers only". About UDP only those are asked who say so. Answers an id for `forget`. @throws QB_OPTION_INVALID QB_OPTION_UNKNOWN QB_TUNNEL_SHUTDOWN */
  listen(handler: TunnelHandler | number, options: ListenOptions = {}): number {
    this.#checkOpen()
    return this.#policy.listen(handler, options)
  }

  /** In force for streams that come from now on; what is joined goes on. Unknown id: false. */
  forget(id: number): boolean {
    return this.#policy.forget(id)
  }

  /** TCP connections that are joined now, the oldest first. */
  openBridges(): OpenBridge[] {
    return this.#ledger.openBridges()
  }

  statistics(): TunnelStatistics {
    return this.#ledger.statistics()
  }

  /** The same numbers as Prometheus text, names `quicbraid_tunnel_*`. Those of connections and paths are the endpoint's. */
  prometheus(): string {
    return exposition(this.statistics())
  }

  /** Accepts nothing any more, waits for the bridges, then ends what is left, then the connections; the endpoint stays. Again: the same promise. @throws QB_OPTION_INVALID QB_OPTION_UNKNOWN */
  shutdown(options: { graceMs?: number } = {}): Promise<void> {
    checkCall(options, ['graceMs'])
    const { graceMs = GRACE_MS } = options
    if (typeof graceMs !== 'number' || !(graceMs >= 0)) throw invalidOption('graceMs', graceMs, 'a number of milliseconds')
    this.#shutting ??= this.#shutDown(graceMs)
    return this.#shutting
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.shutdown()
  }

  async #shutDown(graceMs: number): Promise<void> {
    // The promise of this call must stand before anything is told.
    await Promise.resolve()
    const ends = [...this.#tunnels.values()].map((tunnel) => tunnel.close('gently'))
    for (const client of this.#clients) client.stop()
    const quiet = await this.#quiet(graceMs)
    if (!quiet) {
      for (const tunnel of this.#tunnels.values()) void tunnel.close('by-force')
      for (const client of this.#clients) client.abort(TunnelCode.SHUTDOWN, 'shutdown')
      this.#backward.abort(TunnelCode.SHUTDOWN, 'shutdown')
    }
    const code = quiet ? TunnelCode.NONE : TunnelCode.SHUTDOWN
    await Promise.all([...ends, ...[...this.#clients].map(({ connection }) => connection.close({ code, drainMs: DRAIN_MS }))])
    this.#unclaim()
    this.#ledger.end()
  }

  /** Whether every bridge has ended within the time. */
  #quiet(ms: number): Promise<boolean> {
    const busy = (): boolean => this.#tunnels.size > 0 || this.#backward.size > 0 || [...this.#clients].some(({ bridges }) => bridges > 0)
    if (!busy() || ms === 0) return Promise.resolve(!busy())
    return new Promise((resolve) => {
      const stop = this.#service.habitat.timing.after(ms, () => resolve(false))
      this.#onQuiet = () => {
        if (busy()) return
        stop()
        resolve(true)
      }
    })
  }

  /** @throws what `open` and `connect` throw at once */
  #enter<T extends ClientTunnel>({ remote, connection, signal }: CheckedConnect, make: (id: number, port: number) => T): T {
    const { limits, streams } = this.#choice
    this.#checkOpen()
    signal?.throwIfAborted()
    if (this.#demux !== null && this.#demux.names.server(remote) === null) throw invalidOption('remote', remote, 'an address of the carrier with a port; names are not resolved on a carrier')
    if (this.#demux !== null && connection.paths !== undefined) throw invalidOption('connection.paths', connection.paths, 'nothing on a header carrier: its one path is its carrier')
    const warning = windowWarning({ limits: { ...connectionOf(connection, limits.pauseAtBytes).limits } }, streams)
    if (warning !== null) this.#service.logger.warn?.(warning, { remote })
    const port = this.#tunnels.size >= limits.maxTunnels ? null : this.#ports.take(this.endpoint.now())
    if (port === null) {
      this.#ledger.failed('maxTunnels')
      throw new ServiceError('QB_TUNNEL_TOO_MANY', `there are ${this.#tunnels.size} tunnels (limits.maxTunnels: ${limits.maxTunnels}); close one, or wait until a closed one's pseudo-port has rested`)
    }
    this.#lastId += 1
    const tunnel = make(this.#lastId, port)
    this.#tunnels.set(tunnel.id, tunnel)
    this.#ledger.tunnels += 1
    return tunnel
  }

  async #start<L extends { close(): void }>(tunnel: ClientTunnel, { signal }: CheckedOpen, bind: () => Promise<L>, start: (local: L) => boolean): Promise<void> {
    let local: L
    try {
      local = await bind()
    } catch (error) {
      void tunnel.close('by-force')
      throw error
    }
    if (signal?.aborted === true) {
      local.close()
      void tunnel.close('by-force')
      throw signal.reason
    }
    if (!start(local)) this.#checkOpen()
  }

  #checkOpen(): void {
    if (this.#shutting !== null) throw new ServiceError('QB_TUNNEL_SHUTDOWN', 'this TunnelManager has been shut down; make another', { by: 'local' })
  }

  #onConnection(connection: Connection): void {
    const client = new FarConnection(connection, this.#far)
    this.#clients.add(client)
    if (this.#shutting === null) void client.serve()
    else {
      void connection.closed.then(() => this.#far.onOver(client))
      client.refuse(TunnelCode.SHUTDOWN)
    }
  }

  /** A place has come free: somebody may wait for it. */
  #onBridgeOver(): void {
    for (const tunnel of this.#tunnels.values()) tunnel.pump()
    this.#onQuiet()
  }

  #nearOwner(): NearOwner & NearUdpOwner {
    const { habitat: { timing, random } } = this.#service
    const { streams, limits: { pendingMax, pendingTimeoutMs, udpIdleMs, pauseAtBytes } } = this.#choice
    return {
      ledger: this.#ledger, timing, quota: this.#quota, flowQuota: this.#flowQuota, streams, pendingMax, pendingTimeoutMs, udpIdleMs,
      connect: (remote, port, options, signal) => this.#connect(remote, port, connectionOf(options, pauseAtBytes), signal),
      random: () => Buffer.from(random(4)).readUInt32BE() / 2 ** 32,
      onBridgeOver: () => this.#onBridgeOver(),
      onOver: (tunnel) => {
        this.#tunnels.delete(tunnel.id)
        this.#ports.giveBack(tunnel.pseudoPort, this.endpoint.now())
        this.#ledger.tunnels -= 1
        this.#onQuiet()
      },
    }
  }

  #farOwner(): FarOwner {
    const { habitat: { timing } } = this.#service
    const { streams, limits: { dialTimeoutMs, udpIdleMs } } = this.#choice
    return {
      ledger: this.#ledger, timing, policy: this.#policy, quota: this.#quota, flowQuota: this.#flowQuota, streams, dialTimeoutMs, udpIdleMs,
      tcp: { listen: (...all) => this.#tcp.listen(...all), dial: (...all) => this.#tcp.dial(...all) },
      udp: { bind: (...all) => this.#udp.bind(...all), dial: (...all) => this.#udp.dial(...all) },
      remoteOf: ({ remote }) => this.#demux?.names.peer(remote)?.address ?? remote,
      onBridgeOver: () => this.#onBridgeOver(),
      onOver: (client) => {
        this.#clients.delete(client)
        this.#onQuiet()
      },
    }
  }

  #connect(remote: string, pseudoPort: number, options: ConnectionOptions, signal: AbortSignal): Promise<Connection> {
    if (this.#demux === null) return this.endpoint.connect(remote, { ...options, signal })
    const { names } = this.#demux
    const serverName = options.serverName ?? remote.replace(/:\d+$/, '').replaceAll(/[[\]]/g, '')
    return this.endpoint.connect(names.server(remote) ?? remote, { ...options, serverName, paths: [{ local: names.client(pseudoPort) }], signal })
  }
}
