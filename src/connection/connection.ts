/**
 * One QUIC connection as people hold it. Puts the parts together (life, streams, paths, bursts, spaces, numbers) and routes
 * the engine's records to them; each part does its own work. Made by the endpoint, for `connect` or for a newcomer.
 */
import type { NativeEvent, NativeExplanation } from '../binding/index.ts'
import { Bursts } from '../burst/index.ts'
import { createDatagrams } from '../datagram/index.ts'
import type { DatagramSink, Datagrams } from '../datagram/index.ts'
import { checkClose } from '../config/index.ts'
import type { CloseOptions, Observable, PeerIdentity, Waiting } from '../config/index.ts'
import type { Endpoint } from '../endpoint/index.ts'
import { codeToJson } from '../errors/index.ts'
import type { ConnectionError } from '../errors/index.ts'
import { createTraversal } from '../nat/index.ts'
import type { ConnectionTraversal, Traversal } from '../nat/index.ts'
import { PathSet } from '../path/index.ts'
import { Spaces } from '../space/index.ts'
import { openingOf } from '../stream/index.ts'
import type { BidirectionalStream, ReceiveStream, SendStream, StreamOptions } from '../stream/index.ts'
import { endedExplanation, explanation } from './explain.ts'
import type { BufferFacts, CloseInfo, ConnectionEvent, ConnectionStatistics, Explanation, HandshakeEvent, HandshakeInfo, MultipathMode, Pong } from './facts.ts'
import { HandshakeSteps } from './handshake.ts'
import { keepSession } from './keeping.ts'
import { Judge } from './judge.ts'
import { Known } from './known.ts'
import { Lifecycle, closeInfo, destroyedInfo } from './lifecycle.ts'
import type { ConnectionState } from './lifecycle.ts'
import { Mishaps } from './mishaps.ts'
import { ConnectionNumbers } from './numbers.ts'
import { ConnectionFeeds } from './observe.ts'
import type { ConnectionOrigin, ConnectionOwner, DistributiveOmit, PartOwner, SessionPlace } from './origin.ts'
import { Pings } from './ping.ts'
import { connectionSink } from './sink.ts'
import { StreamTable } from './streams.ts'

const DRAIN_MS = 2000

export class Connection implements AsyncDisposable {
  /** Hex; stable name in logs and qlog. */
  readonly id: string
  readonly endpoint: Endpoint
  readonly role: 'client' | 'server'
  readonly paths: PathSet
  readonly bursts: Bursts
  readonly spaces: Spaces
  /** Messages (RFC 9221). */
  readonly datagrams: Datagrams
  readonly #owner: ConnectionOwner
  readonly #key: number
  readonly #known: Known
  readonly #life = new Lifecycle()
  readonly #streams: StreamTable
  readonly #messages: DatagramSink
  readonly #numbers: ConnectionNumbers
  readonly #feeds: ConnectionFeeds
  readonly #handshake = new HandshakeSteps((step) => this.#feeds.step(step))
  readonly #sessions: SessionPlace | null
  readonly #judge: Judge
  readonly #pings: Pings
  readonly #part: PartOwner
  #traversal: ConnectionTraversal | null = null
  #announced = false
  #traceMask = 0

  /** @internal */
  constructor(owner: ConnectionOwner, origin: ConnectionOrigin) {
    this.#owner = owner
    this.#key = origin.key
    this.#known = new Known(owner.engine, origin)
    this.#judge = new Judge(origin, owner.logger, owner.sampling.timing)
    this.#pings = new Pings(owner.engine, origin.key)
    this.#sessions = origin.sessions
    this.id = origin.id
    this.endpoint = owner.endpoint
    this.role = origin.role
    this.#numbers = new ConnectionNumbers(owner.engine, origin.key)
    this.#feeds = new ConnectionFeeds(this, owner.sampling, () => this.statistics(), () => this.#numbers.buffers(), () => this.#handshake.all)
    const mishaps = new Mishaps(origin.id, owner.logger, (event) => this.#emit(event))
    const part = (this.#part = this.#partOwner(origin, mishaps))
    this.paths = new PathSet(part)
    this.bursts = new Bursts(part)
    this.spaces = new Spaces(part)
    const { datagrams, sink } = createDatagrams(part)
    this.datagrams = datagrams
    this.#messages = sink
    if (part.traversal !== null) this.#traversal = createTraversal(part, this.paths)
    this.#streams = new StreamTable(this, owner.engine, origin.key, origin.role, origin.kept, owner.features, {
      onStream: (id, direction, initiated) => this.#feeds.watched && this.#emit({ type: 'stream', id, direction, initiated }),
      check: () => this.#known.polarity.check(),
      onDropped: (id, code) => mishaps.onDropped(id, code),
      callbackFailed: (callback, error) => mishaps.callbackFailed(callback, error),
    })
    owner.engine.inbox.sinks.set(origin.key, connectionSink({ streams: this.#streams, bursts: this.bursts, datagrams: sink, spaces: this.spaces, onEvent: (event) => this.#onEvent(event) }))
  }

  /** Ways through NATs; off unless both ends ask for it. */
  get traversal(): Traversal {
    return (this.#traversal ??= createTraversal(this.#part, this.paths))
  }

  /** Who may open request streams. */
  get requester(): 'local' | 'peer' {
    return this.#known.polarity.requester
  }

  get state(): ConnectionState {
    return this.#life.state
  }

  /** Of the path last used. */
  get remote(): string {
    return this.#known.remote
  }

  get local(): string {
    return this.#known.local
  }

  get alpn(): string | null {
    return this.#known.alpn
  }

  get serverName(): string | null {
    return this.#known.serverName
  }

  get peer(): PeerIdentity | null {
    return this.#known.peer
  }

  /** 'none': one active path, others are only probed, failover by migration. */
  get multipath(): MultipathMode {
    return this.#known.multipath
  }

  /** 0-RTT: what a client sends before the handshake is complete can be replayed by others. */
  get early(): 'none' | 'sent' | 'accepted' | 'rejected' {
    return this.#known.early
  }

  /** The handshake is complete. @throws (reject) as `connect` */
  get opened(): Promise<HandshakeInfo> {
    return this.#life.opened.promise
  }

  /** Handshake confirmed (RFC 9001 §4.1.2). */
  get confirmed(): Promise<void> {
    return this.#life.confirmed.promise
  }

  /** Never rejects. */
  get closed(): Promise<CloseInfo> {
    return this.#life.closed.promise
  }

  /** [H0] tick. */
  get events$(): Observable<ConnectionEvent> {
    return this.#feeds.events$
  }

  /** [H1] sample. */
  get metrics$(): Observable<ConnectionStatistics> {
    return this.#feeds.metrics$
  }

  /** Pool use and block reasons. [H1] at most 10 a second */
  get buffers$(): Observable<BufferFacts> {
    return this.#feeds.buffers$
  }

  /** What the handshake did with each address pair, and when each path became usable. [H256] tick. */
  get handshake$(): Observable<HandshakeEvent> {
    return this.#feeds.handshake$
  }

  /** Waits for MAX_STREAMS credit. @throws QB_CONNECTION_CLOSED or the connection's error, QB_STREAM_WRONG_WAY, QB_PATH_UNKNOWN */
  async openBidirectional(options: StreamOptions & Waiting = {}): Promise<BidirectionalStream> {
    const opening = openingOf(options, this.#owner.features, this.paths)
    this.#checkUsable()
    return this.#streams.openBidirectional(opening, options.signal)
  }

  /** As `openBidirectional`. */
  async openUnidirectional(options: StreamOptions & Waiting = {}): Promise<SendStream> {
    const opening = openingOf(options, this.#owner.features, this.paths)
    this.#checkUsable()
    return this.#streams.openUnidirectional(opening, options.signal)
  }

  /** Peer-opened streams in order of id, each with its first bytes; ends with the connection. Two loops share the supply. */
  incomingBidirectional(options: Waiting = {}): AsyncIterableIterator<BidirectionalStream> {
    return this.#streams.incomingBidirectional.iterate(options)
  }

  /** As `incomingBidirectional`. */
  incomingUnidirectional(options: Waiting = {}): AsyncIterableIterator<ReceiveStream> {
    return this.#streams.incomingUnidirectional.iterate(options)
  }

  /** PING on one path or all; resolves with the round-trip time of the first answer. Before the handshake is complete it waits. @throws QB_CONNECTION_CLOSED or the connection's error, QB_PATH_UNKNOWN QB_PATH_ABANDONED QB_PATH_LIMIT (64 under way) */
  async ping(options: Waiting & { path?: number } = {}): Promise<Pong> {
    this.#checkUsable()
    return this.#pings.ask(options, (id) => this.paths.get(id))
  }

  /** Begins a key update; false if one is under way, or keys are not there yet or no more. */
  updateKey(): boolean {
    return this.#life.state === 'open' && this.#owner.engine.ask(this.#key, { ask: 'update-key' }) === true
  }

  /** Of an ended connection: the last numbers. */
  statistics(): ConnectionStatistics {
    return this.#numbers.statistics()
  }

  /** Why nothing (or this) happens now: multipath, paths, streams, timers; `String(x)` is readable prose. */
  explain(): Explanation {
    return this.#explain('connection')
  }

  /** Sends what writes had accepted, then closes. @throws QB_OPTION_INVALID */
  close(options: CloseOptions = {}): Promise<CloseInfo> {
    const { code = 0, reason = '', drainMs = DRAIN_MS } = checkClose(options, '')
    if (this.#life.state === 'handshaking' || this.#life.state === 'open') {
      this.#life.state = 'closing'
      this.#owner.engine.tell(this.#key, { do: 'close', layer: 'application', code: codeToJson(BigInt(code)) ?? 0, reason, drainMs })
    }
    return this.closed
  }

  /** Closes now; `error` is the cause of what streams and callers get. @throws QB_OPTION_INVALID */
  destroy(error?: Error, options: { code?: number | bigint; reason?: string } = {}): void {
    const { code = 0, reason = '' } = checkClose({ code: options.code, reason: options.reason }, '')
    if (this.#life.state === 'closed') return
    this.#owner.engine.tell(this.#key, { do: 'close', layer: 'application', code: codeToJson(BigInt(code)) ?? 0, reason, drainMs: 0 })
    this.#end(destroyedInfo(BigInt(code), reason, error))
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  /** For `connect`: when streams may be opened. @internal */
  static usable(connection: Connection): Promise<void> {
    return connection.#life.usable.promise
  }

  /** Refused by the endpoint after its handshake: nobody takes it. @internal */
  static refuse(connection: Connection): void {
    connection.#owner.engine.tell(connection.#key, { do: 'close', layer: 'transport', code: 0x2, reason: 'backlog is full', drainMs: 0 })
  }

  /** In the order of `CONNECTION_NUMBERS`, until the next call for any connection. @internal */
  static cells(connection: Connection): ArrayLike<number> | null {
    return connection.#numbers.cells()
  }

  /** The endpoint itself has broken: no record comes any more. @internal */
  static cut(connection: Connection, error: ConnectionError): void {
    connection.#end({ by: 'local', layer: 'transport', errorCode: error.errorCode ?? 1n, codeName: error.codeName ?? 'INTERNAL_ERROR', reason: error.message, path: null, error })
  }

  /** The ends change parts, once (reverse V2): from now on the server opens streams, and what a client opens is refused. @internal */
  static reverse(connection: Connection): void {
    connection.#known.polarity.reverse(connection.#streams)
  }

  /** Streams of the peer come out of the gate that a polarised client begins with, in order of id (reverse V23). @internal */
  static openGate(connection: Connection): void {
    connection.#known.polarity.openGate()
  }

  /** The peer may have `count` bidirectional streams open at once from now on; fewer than before change nothing (reverse V22). @internal */
  static grantStreams(connection: Connection, count: number): void {
    connection.#known.polarity.grant(count)
  }

  /** New streams need a connection that is neither ending nor ended. */
  #checkUsable(): void {
    if (this.#life.error !== null) throw this.#life.error
    if (this.#life.state === 'closing') throw this.#life.closingError()
  }

  #explain(about: 'connection' | 'paths'): Explanation {
    if (this.#life.error !== null) return endedExplanation(this.#life.error.message)
    return explanation(this.#owner.engine.ask(this.#key, { ask: 'explain', about }) as NativeExplanation)
  }

  #emit(event: DistributiveOmit<ConnectionEvent, 'atMs'>, atMs?: number): void {
    this.#feeds.emit({ ...event, atMs: atMs ?? this.#owner.engine.now() } as ConnectionEvent)
  }

  #trace(bit: number, on: boolean): void {
    this.#traceMask = on ? this.#traceMask | bit : this.#traceMask & ~bit
    if (this.#life.error === null) this.#owner.engine.tell(this.#key, { do: 'trace', mask: this.#traceMask })
  }

  /** What paths, bursts and spaces see of us. */
  #partOwner({ remotes, kept: { wantedPaths, maxPaths, pathPolicy, scheduler, traversal, relayTls } }: ConnectionOrigin, mishaps: Mishaps): PartOwner {
    const { engine, features, sampling, logger, surroundings, agent } = this.#owner
    return {
      connection: this, engine, features, sampling, logger, surroundings, agent, remotes, wantedPaths, maxPaths, traversal, relayTls, key: this.#key, role: this.role, policy: pathPolicy, scheduler,
      local: () => this.#known.local,
      callbackFailed: (callback, error) => mishaps.callbackFailed(callback, error),
      remote: () => this.#known.remote,
      hasPath: (path) => this.paths.get(path) !== undefined,
      confirmed: () => this.confirmed,
      error: () => this.#life.error,
      row: () => this.#numbers.row(),
      explain: (about) => this.#explain(about),
      trace: (bit, on) => this.#trace(bit, on),
    }
  }

  #onEvent(event: NativeEvent): void {
    switch (event.type) {
      case 'handshake': return this.#handshake.onSteps(event)
      case 'opened': return this.#onOpened(event)
      case 'verify': return this.#judge.ask(event, (order) => this.#owner.engine.tell(this.#key, order))
      case 'confirmed':
        this.#handshake.add({ type: 'confirmed', detail: 'the peer knows that it is complete' }, event.atMs)
        this.#life.confirmed.resolve()
        this.paths.onConfirmed()
        return this.#emit({ type: 'confirmed' }, event.atMs)
      case 'key-update': return this.#emit({ type: 'key-update' }, event.atMs)
      case 'early': return this.#onEarly(event)
      case 'half-rtt': return this.#onUsable(event)
      case 'pong': case 'ping-failed': return this.#pings.onEvent(event)
      case 'token': case 'tickets': return keepSession(this.#sessions, event, (type) => this.#emit({ type }))
      case 'blocked': return this.#emit({ type: 'blocked', by: event.by }, event.atMs)
      case 'multipath':
        this.#known.multipath = event.mode
        return this.#emit({ type: 'multipath', mode: event.mode, reason: event.reason }, event.atMs)
      case 'path':
        if (event.facts.state === 'open' && !event.facts.suspect) this.#known.usePath(event)
        if (event.change?.type === 'validated' && event.path !== 0) this.#handshake.add({ type: 'path-usable', path: event.path }, event.atMs)
        this.paths.onPath(event)
        return this.#traversal?.onPath()
      case 'plan': case 'path-waiting': case 'path-failed': case 'path-migrated': return this.paths.onEvent(event)
      case 'closed': return this.#end(closeInfo(event.info, this.#judge.cause, this.#life.state === 'handshaking' ? this.#handshake.all : []), event.atMs)
      case 'observed-address':
        this.#emit({ type: 'peer-address-observed', path: event.path, address: event.address }, event.atMs)
        return this.#traversal?.onEvent(event)
      default: return this.#traversal?.onEvent(event)
    }
  }

  #onOpened(event: Extract<NativeEvent, { type: 'opened' }>): void {
    this.#known.onOpened(event)
    this.#handshake.onComplete(event.info as HandshakeInfo, event.atMs)
    if (!this.#life.open(event.info as HandshakeInfo)) return
    this.#emit({ type: 'opened' }, event.atMs)
    if (this.#life.state === 'open') this.#announce()
  }

  #onEarly(event: Extract<NativeEvent, { type: 'early' }>): void {
    this.#known.early = event.status
    if (event.status !== 'sent') this.#handshake.add({ type: `early-${event.status}`, detail: 'early data' }, event.atMs)
    if (event.status === 'rejected') return this.#emit({ type: 'early-rejected' }, event.atMs)
    if (event.status === 'sent') this.#owner.engine.begin(this.#key)
    this.#onUsable(event)
  }

  /** Data can be sent, or comes, before the handshake is complete. */
  #onUsable(event: Parameters<Known['onUsable']>[0]): void {
    this.#known.onUsable(event)
    if (this.role === 'client') this.#life.usable.resolve()
    else if (this.#life.state === 'handshaking') this.#announce()
  }

  /** The endpoint hears of us once. */
  #announce(): void {
    if (this.#announced) return
    this.#announced = true
    this.#owner.onOpened(this)
  }

  /** Every part ends, once. */
  #end(info: CloseInfo, atMs?: number): void {
    const { engine } = this.#owner
    this.#numbers.keep()
    const error = this.#life.end(info)
    if (error === null) return
    this.#judge.stop()
    // Before the paths end, which would say that they were abandoned.
    this.#pings.end(error)
    this.#emit({ type: 'closing', info }, atMs)
    this.#streams.end(error)
    this.paths.end(error)
    this.bursts.end()
    this.#messages.end(error)
    this.spaces.end()
    this.#traversal?.end()
    this.#feeds.end(info)
    engine.forget(this.#key)
    this.#owner.onClosed(this)
    if (info.error !== null) this.#owner.logger.debug?.('connection ended', { connection: this.id, error: info.error })
  }
}

