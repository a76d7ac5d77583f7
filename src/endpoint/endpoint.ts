/**
 * UDP sockets shared by any number of client connections and one server side. Makes connections of keys, keeps count of them, and
 * decides when the process may end. What happens inside a connection is not its concern.
 */
import { rootCertificates } from 'node:tls'
import { Engine, fromNative, loadNative } from '../binding/index.ts'
import type { NativeError, NativeEvent, NativeModule } from '../binding/index.ts'
import { checkCall, checkClose, checkIdBytes, deferHandled, keptOptions, nativeConnect, nativeServer, prepareConnect, prepareEndpoint, prepareServer, unavailableOption, withinDatagram } from '../config/index.ts'
import type { AdmitVerdict, Bytes, CarrierOptions, CloseOptions, ConnectionOptions, Deferred, EndpointOptions, KeptOptions, Logger, Observable, PreparedEndpoint, ServerOptions, Waiting } from '../config/index.ts'
import { Connection } from '../connection/index.ts'
import type { ConnectionOwner } from '../connection/index.ts'
import { traceConnect } from '../diagnostics/index.ts'
import { ConnectionError, EndpointError } from '../errors/index.ts'
import { NatAgent } from '../nat/index.ts'
import { InterfaceWatch } from '../path/index.ts'
import { SessionKeepers } from '../session/index.ts'
import { Admission, BACKLOG } from './admission.ts'
import type { Attempt } from './admission.ts'
import { Blocking } from './blocking.ts'
import type { EndpointEvent, EndpointStatistics, RawDatagram } from './facts.ts'
import { openCarrier } from './carrier.ts'
import type { CarrierEndpoint } from './carrier.ts'
import { held, prepareDial, untilUsable } from './dial.ts'
import { PROCESS } from './habitat.ts'
import type { Habitat } from './habitat.ts'
import { EndpointLogs } from './logs.ts'
import { Newcomers, offerService, polariser } from './newcomers.ts'
import { EndpointNumbers } from './numbers.ts'
import { EndpointFeeds } from './observe.ts'
import { connectionId, randomRealm } from './random.ts'
import { sendRaw } from './raw.ts'
import type { RawOptions } from './raw.ts'
import { Vigil } from './vigil.ts'

/** The server side as it stands. */
type Listening = { options: ServerOptions; kept: KeptOptions; backlog: number }

/** `Endpoint.bind` with a given native module and habitat (what it does not say is the process's), for tests and simulated hosts. @throws as `Endpoint.bind` */
export let bindWith: (module: NativeModule, options?: EndpointOptions, habitat?: Partial<Habitat>) => Endpoint

export class Endpoint implements AsyncDisposable {
  readonly driver: 'native' | 'carrier' | 'sim'
  readonly #habitat: Habitat
  readonly #engine: Engine
  readonly #features: ReadonlySet<string>
  readonly #defaults: ConnectionOptions
  readonly #logger: Logger
  readonly #logs: EndpointLogs
  readonly #feeds: EndpointFeeds
  readonly #numbers: EndpointNumbers
  readonly #owner: ConnectionOwner
  readonly #connections = new Set<Connection>()
  readonly #keepers: SessionKeepers
  readonly #incoming = new Newcomers()
  readonly #admission: Admission
  readonly #blocking: Blocking | null
  readonly #idBytes: number
  readonly #vigil: Vigil
  /** Terms of attempts that were accepted on their own. */
  readonly #terms = new Map<number, KeptOptions>()
  readonly #closed: Deferred<void> = deferHandled()
  #listening: Listening | null = null
  #state: 'open' | 'closing' | 'closed' = 'open'
  #shut = false
  #lastLocal: readonly string[] = []

  static {
    bindWith = (module, options, habitat = {}) => {
      const features = new Set(habitat.portMapper === null ? module.features() : [...module.features(), 'traversal.portMapping'])
      return new Endpoint(module, features, prepareEndpoint(options, features), { ...PROCESS, ...habitat })
    }
  }

  private constructor(module: NativeModule, features: ReadonlySet<string>, prepared: PreparedEndpoint, habitat: Habitat) {
    this.driver = habitat.driver
    this.#habitat = habitat
    this.#keepers = new SessionKeepers(randomRealm(habitat), prepared.logger, habitat.timing)
    this.#features = features
    this.#defaults = prepared.connection
    this.#logger = prepared.logger
    this.#engine = new Engine(module, habitat.onQlog === null ? prepared.native : { ...prepared.native, qlog: true }, {
      onEvent: (key, event) => (key === 0 ? this.#onEvent(event) : this.#onNewcomer(key, event)),
      onKeylog: (line) => this.#logs.keys.write(line),
      onRaw: (remote, local, atMs, staging, start, end) => this.#feeds.raw.emit({ bytes: Uint8Array.from(staging.subarray(start, end)), remote, local, atMs }),
      onQlog: (key, piece, end) => {
        habitat.onQlog?.(piece)
        this.#logs.qlog.write(key, piece, end)
      },
    }, (run) => habitat.timing.soon(run))
    this.#vigil = new Vigil(this.#engine)
    this.#numbers = new EndpointNumbers(this.#engine)
    this.#logs = new EndpointLogs(prepared)
    const sampling = { intervalMs: prepared.metricsIntervalMs, timing: habitat.timing }
    this.#feeds = new EndpointFeeds(this, sampling, () => this.statistics(), (wanted) => this.#vigil.onRaw(wanted, !this.#shut && features.has('raw')))
    const surroundings = { clock: habitat.clock, interfaces: new InterfaceWatch(habitat.interfaces, habitat.clock) }
    const shared = { endpoint: this, engine: this.#engine, features, sampling, logger: prepared.logger }
    offerService(this, { habitat, sampling, logger: prepared.logger, newcomers: this.#incoming, polarise: polariser(this.#engine, features, () => this.#shut), checkOpen: () => this.#checkOpen() })
    this.#owner = {
      ...shared, surroundings, agent: new NatAgent({ ...shared, ...surroundings, habitat, work: () => this.#vigil.work() }),
      onOpened: (connection) => this.#onOpened(connection),
      onClosed: (connection) => this.#onClosed(connection),
    }
    this.#admission = new Admission({ engine: this.#engine, logger: prepared.logger, decide: (id, verdict, own) => this.#decide(id, verdict, own) })
    this.#idBytes = prepared.idBytes
    this.#blocking = prepared.blockList === null ? null : new Blocking(prepared.blockList, this.#engine, habitat.clock, prepared.logger)
    if (prepared.server === null) return
    try {
      this.#startListening(prepared.server)
    } catch (error) {
      // Nobody would hold the endpoint to close it.
      this.destroy()
      throw error
    }
  }

  /** @throws QB_OPTION_INVALID QB_OPTION_UNKNOWN QB_TLS_IDENTITY QB_BIND_FAILED QB_NATIVE_MISSING */
  static async bind(options: EndpointOptions = {}): Promise<Endpoint> {
    return bindWith(loadNative(), options)
  }

  /** The same core on the JavaScript thread, over any carrier of datagrams: `send` is given bursts, `receive` takes datagrams. @throws QB_OPTION_INVALID QB_OPTION_UNKNOWN QB_CARRIER_TOO_SMALL QB_TLS_IDENTITY QB_NATIVE_MISSING */
  static carrier(options: CarrierOptions): CarrierEndpoint {
    return openCarrier(loadNative(), options, bindWith)
  }

  /** Bound addresses with real ports. */
  get local(): readonly string[] {
    return this.#state === 'closed' ? this.#lastLocal : this.#engine.local()
  }

  get listening(): boolean {
    return this.#listening !== null
  }

  get connections(): ReadonlySet<Connection> {
    return this.#connections
  }

  /** Each connection when it is made, before its handshake. [H0] tick */
  get connections$(): Observable<Connection> {
    return this.#feeds.connections$
  }

  /** [H0] tick */
  get events$(): Observable<EndpointEvent> {
    return this.#feeds.events$
  }

  /** Datagrams that are not QUIC: those that begin with a byte below 0x40. While nobody is subscribed they are dropped (`drops.notQuic`); of more than 1,024 or 1 MiB that wait for a slow subscriber the oldest go (`eventsDropped`). [H0] tick, at most 256 a turn of the engine */
  get raw$(): Observable<RawDatagram> {
    return this.#feeds.raw.values$
  }

  /** [H1] sample */
  get metrics$(): Observable<EndpointStatistics> {
    return this.#feeds.metrics$
  }

  /** When sockets are closed and the thread has ended. */
  get closed(): Promise<void> {
    return this.#closed.promise
  }

  /** Resolves when the handshake is complete, or at once with `earlyData` and a stored ticket. `remote`: 'name:port', an address, or several addresses of one server. @throws QB_OPTION_INVALID QB_RESOLVE_FAILED QB_CONNECT_TIMEOUT QB_CONNECT_REFUSED QB_TLS_... QB_VERSION QB_NO_PATH QB_ENDPOINT_CLOSED */
  async connect(remote: string | readonly string[], options: ConnectionOptions & Waiting = {}): Promise<Connection> {
    return traceConnect(() => this.#connect(remote, options), () => ({ endpoint: this, remote }))
  }

  async #connect(remote: string | readonly string[], options: ConnectionOptions & Waiting): Promise<Connection> {
    const { signal, ...own } = options
    checkCall({ signal }, ['signal'])
    const prepared = prepareConnect(this.#defaults, own, this.#features)
    checkIdBytes(prepared, this.#idBytes, '')
    const { target, serverName, session, place, lease } = await prepareDial({ remote, options: prepared, signal, habitat: this.#habitat, keepers: this.#keepers, blocking: this.#blocking, agent: this.#owner.agent, check: () => this.#checkOpen() })
    const id = connectionId(this.#habitat)
    if (prepared.verify === 'none') this.#logger.warn?.('the server certificate is not verified (verify: none)', { connection: id, remote: target.remotes[0] })
    const key = held(lease, () => this.#engine.connect(this.#owner.agent.fitted(nativeConnect(id, target.remotes, serverName, withinDatagram(prepared, this.#habitat.maxDatagramBytes), session)), () => rootCertificates))
    const connection = this.#add(key, { id, role: 'client', remote: target.remotes[0] ?? '', remotes: target.remotes, local: prepared.paths?.[0]?.local ?? '', serverName, kept: keptOptions(prepared), sessions: place })
    try {
      await untilUsable(connection, lease, signal)
    } catch (error) {
      // Aborted, or failed by itself: then this does nothing.
      connection.destroy(error instanceof Error ? error : undefined)
      throw error
    }
    return connection
  }

  /** Starts the server side, or replaces its options for new connections (hot certificate change). @throws QB_OPTION_INVALID QB_TLS_IDENTITY QB_ENDPOINT_CLOSED */
  listen(server: ServerOptions): void {
    const prepared = prepareServer(this.#defaults, server, this.#features, '')
    checkIdBytes(prepared, this.#idBytes, '')
    this.#checkOpen()
    this.#blocking?.refresh()
    this.#startListening(prepared)
  }

  /** Refuses new connections; existing ones live. */
  unlisten(): void {
    if (this.#listening === null) return
    this.#listening = null
    if (!this.#shut) {
      this.#admission.drop()
      this.#admission.use(null)
      this.#engine.unlisten()
    }
    this.#keepAlive()
  }

  /** Accepted connections whose handshake is complete (0-RTT: usable earlier). Ends when the endpoint closes. Two loops share the supply. @throws QB_NOT_LISTENING QB_ENDPOINT_CLOSED */
  incoming(options: Waiting = {}): AsyncIterableIterator<Connection> {
    this.#checkListening()
    return this.#incoming.iterate(options)
  }

  /** Undecided attempts, for those who want each verdict in their hands; from this call until the loop is left nothing is accepted by itself, and an attempt without a verdict is refused after 5 s. Ends when the endpoint closes. @throws QB_NOT_LISTENING QB_ENDPOINT_CLOSED */
  attempts(options: Waiting = {}): AsyncIterableIterator<Attempt> {
    this.#checkListening()
    if (!this.#features.has('admit')) throw unavailableOption('attempts', undefined)
    return this.#admission.attempts(options)
  }

  /** One datagram that is not QUIC from a socket of this endpoint, at the end of the tick, at once or not at all. Copies. @throws QB_RAW_REFUSED (it looks like QUIC, or cannot be sent to this address) QB_ENDPOINT_CLOSED */
  sendRaw(remote: string, bytes: Bytes, options: RawOptions = {}): void {
    this.#checkOpen()
    sendRaw(this.#owner, this.#habitat.maxDatagramBytes, remote, bytes, options)
  }

  /** Of a closed endpoint: the last numbers. */
  statistics(): EndpointStatistics {
    return this.#numbers.statistics()
  }

  /** All counters of endpoint, connections and paths as Prometheus text, names `quicbraid_*`. Never waits; at most 64 connections have series of their own. */
  prometheus(): string {
    return this.#numbers.text(this)
  }

  /** Milliseconds on the endpoint's clock; zero = its creation. */
  now(): number {
    return this.#engine.now()
  }

  ref(): this {
    this.#vigil.referenced = true
    this.#keepAlive()
    return this
  }

  unref(): this {
    this.#vigil.referenced = false
    this.#keepAlive()
    return this
  }

  /** Refuses newcomers, closes every connection as `Connection.close`, then the sockets. @throws QB_OPTION_INVALID */
  close(options: CloseOptions = {}): Promise<void> {
    checkClose(options, '')
    if (this.#state === 'open') {
      this.#beginClosing()
      const ends = [...this.#connections].map((connection) => connection.close(options))
      void Promise.all(ends).then(() => this.#shutDown())
    }
    return this.closed
  }

  /** Closes every connection now, with `error` as the cause, then the sockets. */
  destroy(error?: Error): void {
    if (this.#state === 'closed') return
    this.#beginClosing()
    for (const connection of this.#connections) connection.destroy(error)
    this.#shutDown()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  #beginClosing(): void {
    this.#state = 'closing'
    this.unlisten()
    this.#incoming.close()
    this.#admission.end()
    this.#keepAlive()
  }

  #shutDown(): void {
    if (this.#shut) return
    this.#shut = true
    this.#blocking?.end()
    this.#lastLocal = this.#engine.local()
    this.#numbers.keep()
    this.#engine.close()
  }

  #checkOpen(): void {
    if (this.#state !== 'open') throw new EndpointError('QB_ENDPOINT_CLOSED', `the endpoint (${this.local.join(', ') || 'not bound'}) is closed; bind another`)
  }

  #checkListening(): void {
    this.#checkOpen()
    if (this.#listening === null) throw new EndpointError('QB_NOT_LISTENING', `the endpoint (${this.local.join(', ') || 'not bound'}) does not listen; call listen() or pass \`server\` to bind()`)
  }

  #startListening(server: ServerOptions): void {
    // Asked from the first newcomer on; and not at all if the options turn out to be bad.
    this.#admission.use(server.admit ?? null)
    try {
      const native = nativeServer(withinDatagram(server, this.#habitat.maxDatagramBytes))
      this.#engine.listen(this.#owner.agent.fitted(native, (later) => this.#listening?.options === server && this.#engine.listen(later, () => rootCertificates)), () => rootCertificates)
    } catch (error) {
      this.#admission.use(this.#listening?.options.admit ?? null)
      throw error
    }
    if (server.verify === 'none' && (server.clientAuth ?? 'none') !== 'none') this.#logger.warn?.('client certificates are not verified (verify: none)', {})
    this.#listening = { options: server, kept: keptOptions(server), backlog: server.backlog ?? BACKLOG }
    this.#keepAlive()
  }

  #add(key: number, origin: Omit<ConstructorParameters<typeof Connection>[1], 'key'>): Connection {
    const connection = new Connection(this.#owner, { key, ...origin })
    this.#connections.add(connection)
    this.#numbers.add(connection)
    this.#logs.qlog.add(key, connection)
    this.#keepAlive()
    this.#feeds.connection(connection)
    return connection
  }

  #onNewcomer(key: number, event: NativeEvent): void {
    // Anything else is a late record of a connection that was destroyed here.
    if (event.type !== 'connection') return
    if (this.#listening === null) {
      this.#engine.tell(key, { do: 'close', layer: 'transport', code: 0x2, reason: 'not listening', drainMs: 0 })
      this.#engine.forget(key)
      return
    }
    const { id, remote, local, serverName, attempt } = event
    const kept = this.#terms.get(attempt ?? -1) ?? this.#listening.kept
    const connection = this.#add(key, { id, role: 'server', remote, remotes: [], local, serverName, kept, sessions: null })
    if (attempt === null) return
    this.#terms.delete(attempt)
    this.#admission.onConnection(attempt, connection)
  }

  /** A verdict on an attempt; `own` goes over the options of `listen`. @throws QB_OPTION_INVALID QB_OPTION_UNKNOWN QB_TLS_IDENTITY QB_NOT_LISTENING QB_ENDPOINT_CLOSED */
  #decide(id: number, verdict: AdmitVerdict, own: Partial<ServerOptions> | null): void {
    if (this.#shut) return
    if (verdict === 'accept') this.#checkListening()
    const terms = own === null || this.#listening === null ? null : prepareServer(this.#listening.options as ConnectionOptions, own, this.#features, '')
    if (terms !== null) checkIdBytes(terms, this.#idBytes, '')
    this.#engine.admit(id, verdict, terms === null ? null : this.#owner.agent.fitted(nativeServer(withinDatagram(terms, this.#habitat.maxDatagramBytes))), () => rootCertificates)
    if (terms !== null) this.#terms.set(id, keptOptions(terms))
  }

  #onOpened(connection: Connection): void {
    if (connection.role === 'client' || this.#state !== 'open') return
    this.#incoming.onUsable(connection, this.#admission.onUsable(connection), this.#listening?.backlog ?? BACKLOG)
  }

  #onClosed(connection: Connection): void {
    this.#connections.delete(connection)
    this.#numbers.remove(connection)
    this.#keepAlive()
  }

  #onEvent(event: NativeEvent): void {
    switch (event.type) {
      case 'buffer-clamped':
        this.#logger.warn?.('the kernel gave a smaller socket buffer than asked for', { local: event.local, wantedBytes: event.wantedBytes, gotBytes: event.gotBytes })
        return this.#feeds.emit(event)
      case 'bound': case 'unbound': case 'refused': case 'retried': return this.#feeds.emit(event)
      case 'attempt': return this.#admission.onAttempt(event)
      case 'attempt-over':
        this.#terms.delete(event.attempt)
        return this.#admission.onOver(event.attempt)
      case 'endpoint-closed': return this.#onEngineClosed(event.error)
      default: return this.#owner.agent.onEvent(event)
    }
  }

  /** The last record: orderly after `close`, else the I/O thread broke. */
  #onEngineClosed(broken: NativeError | null): void {
    if (this.#state === 'open') this.#beginClosing()
    const cause = broken === null ? undefined : fromNative(broken)
    for (const connection of this.#connections) Connection.cut(connection, new ConnectionError('QB_INTERNAL', `the endpoint has ended: ${broken?.message ?? 'closed'}`, { errorCode: 1n, by: 'local', cause }))
    if (cause !== undefined) this.#logger.error?.('the endpoint has broken', { error: cause })
    this.#shutDown()
    this.#state = 'closed'
    this.#vigil.end()
    this.#owner.agent.end()
    this.#feeds.end(cause ?? null)
    this.#logs.close()
    this.#closed.resolve()
  }

  #keepAlive(): void {
    if (!this.#shut) this.#vigil.keep(this.#listening !== null || this.#connections.size > 0 || this.#state === 'closing')
  }
}
