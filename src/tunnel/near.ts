/**
 * One client tunnel: one connection to the server, and the bridges to it of a TCP listener, or of sockets that somebody joins (tunnel.md §2).
 * TCP connections wait while there is no connection or no stream.
 *
 *   opening ──first answer──▶ open ──connection lost──▶ away ──dialled again──▶ open
 *      │ failed                 │ close()                │ gave up, or no `reconnect`
 *      └──────────────────────▶ closing ──last bridge──▶ closed
 */
import type { Duplex } from 'node:stream'
import { Backoff, deferHandled } from '../config/index.ts'
import type { Cancel, ConnectionOptions, Deferred, Timing } from '../config/index.ts'
import type { CloseInfo, Connection } from '../connection/index.ts'
import { ServiceError } from '../errors/index.ts'
import type { BidirectionalStream } from '../stream/index.ts'
import { writeAll } from './bridge.ts'
import { TunnelCode, tunnelError } from './codes.ts'
import type { Ledger } from './ledger.ts'
import { NearBridge } from './near-bridge.ts'
import { checkJoin } from './options.ts'
import type { CheckedConnect, JoinTarget } from './options.ts'
import { Pending, dismiss } from './pending.ts'
import type { Errand } from './pending.ts'
import type { Quota } from './quota.ts'
import { ACCEPT, RequestKind, encodeRequest, targetName } from './request.ts'
import { cutSocket, peerOf, tcpSocketOf } from './tcp.ts'
import type { TcpListener, TcpSocket } from './tcp.ts'

/** How long a connection that is closed in order may take. */
const DRAIN_MS = 500

/** A tunnel as people hold it. */
export interface Tunnel {
  readonly id: number
  /** Real bound address. */
  readonly local: string
  readonly pseudoPort: number
  /** The server has agreed. @throws (reject) QB_TUNNEL_TIMEOUT QB_TUNNEL_REFUSED, or as `Endpoint.connect` */
  readonly opened: Promise<void>
  /** The listener is closed and everything has ended; never rejects. */
  readonly closed: Promise<{ error: Error | null }>
  /** That are joined or being joined. */
  readonly bridges: number
  /** To the server; null while there is none. */
  readonly connection: Connection | null
}

/** A connection to a server for sockets of the user's, each to a target of its own. */
export interface TunnelSession extends Pick<Tunnel, 'id' | 'pseudoPort' | 'closed' | 'bridges' | 'connection'> {
  /** Takes the socket over, from the bytes on that nobody has read yet; it waits for a stream as one of a listener does. What becomes of it is told by `bridges$`, and by `answer`. @throws QB_OPTION_INVALID QB_OPTION_UNKNOWN */
  join(socket: Duplex, target: JoinTarget): void
}

/** What client tunnels share. */
export interface NearOwner {
  readonly ledger: Ledger
  readonly timing: Timing
  readonly quota: Quota
  readonly streams: number
  readonly pendingMax: number
  readonly pendingTimeoutMs: number
  connect(remote: string, pseudoPort: number, options: ConnectionOptions, signal: AbortSignal): Promise<Connection>
  random(): number
  /** A bridge has ended. */
  onBridgeOver(): void
  onOver(tunnel: NearTunnel): void
}

export class NearTunnel implements Tunnel, TunnelSession {
  readonly id: number
  readonly pseudoPort: number
  readonly #owner: NearOwner
  readonly #options: CheckedConnect
  readonly #opened: Deferred<void> = deferHandled()
  readonly #closed: Deferred<{ error: Error | null }> = deferHandled()
  readonly #bridges = new Set<NearBridge>()
  readonly #pending: Pending
  readonly #backoff: Backoff | null
  #listener: TcpListener | null = null
  #local = ''
  #state: 'opening' | 'open' | 'away' | 'closing' | 'closed' = 'opening'
  #connection: Connection | null = null
  /** Ends the attempt to connect that is under way. */
  #attempt: AbortController | null = null
  #stopPause: Cancel = () => {}
  /** Ends the wait for a stream. */
  #opening: AbortController | null = null
  /** A stream that nobody waited for any more when it came. */
  #spare: BidirectionalStream | null = null

  constructor(id: number, pseudoPort: number, options: CheckedConnect, owner: NearOwner) {
    this.id = id
    this.pseudoPort = pseudoPort
    this.#options = options
    this.#owner = owner
    const { ledger, timing, pendingMax, pendingTimeoutMs } = owner
    this.#pending = new Pending({ ledger, max: pendingMax, timeoutMs: pendingTimeoutMs, after: (ms, run) => timing.after(ms, run), onEmpty: () => this.#opening?.abort() })
    this.#backoff = options.reconnect === null ? null : new Backoff(options.reconnect, () => owner.random())
  }

  get local(): string {
    return this.#local
  }

  get opened(): Promise<void> {
    return this.#opened.promise
  }

  get closed(): Promise<{ error: Error | null }> {
    return this.#closed.promise
  }

  get bridges(): number {
    return this.#bridges.size
  }

  get connection(): Connection | null {
    return this.#connection
  }

  /** The listener is there, if there is to be one: begins to dial. False: the tunnel was closed meanwhile. */
  start(listener: TcpListener | null): boolean {
    if (this.#state !== 'opening') {
      listener?.close()
      return false
    }
    this.#listener = listener
    this.#local = listener?.local ?? ''
    void this.#dial()
    return true
  }

  onSocket(socket: TcpSocket): void {
    if (this.#state === 'closing' || this.#state === 'closed') return cutSocket(socket)
    return this.#enter(socket, null, null)
  }

  join(socket: Duplex, target: JoinTarget): void {
    const { port, host = null, answer = null } = checkJoin(target)
    this.#enter(tcpSocketOf(socket), { port, host }, answer)
  }

  #enter(socket: TcpSocket, target: Errand['target'], answer: Errand['answer']): void {
    const { ledger } = this.#owner
    const errand: Errand = { socket, entry: ledger.enter(this.id, peerOf(socket), targetName(target ?? this.#target)), target, answer }
    if (this.#state === 'closing' || this.#state === 'closed') {
      dismiss(errand, 'shutdown')
      ledger.ended(errand.entry, 'shutdown')
    } else if (this.#pending.add(errand)) this.pump()
  }

  /** Joins what waits, as far as there are streams and places. */
  pump(): void {
    if (this.#connection === null) return
    while (this.#spare !== null && this.#mayJoin()) {
      const spare = this.#spare
      this.#spare = null
      this.#join(spare)
    }
    if (this.#opening === null && this.#mayJoin()) void this.#openStream(this.#connection)
  }

  /** Accepts nobody any more; what is joined goes on, or not. */
  close(how: 'gently' | 'by-force', error: Error | null = null): Promise<{ error: Error | null }> {
    if (this.#state === 'closed') return this.closed
    const first = this.#state !== 'closing'
    this.#state = 'closing'
    if (first) {
      this.#listener?.close()
      this.#stopPause()
      const why = error ?? new ServiceError('QB_TUNNEL_SHUTDOWN', `tunnel ${this.id} was closed before it was open`, { by: 'local' })
      this.#opened.reject(why)
      this.#attempt?.abort(why)
      this.#pending.clear(error === null ? 'shutdown' : 'connection')
      this.#endWith = error
    }
    if (how === 'by-force') {
      for (const bridge of this.#bridges) bridge.abort(TunnelCode.SHUTDOWN, 'shutdown')
      this.#forced = true
      this.#parting?.abort()
    }
    this.#checkOver()
    return this.closed
  }

  /** Why the tunnel ends. */
  #endWith: Error | null = null
  #forced = false
  /** The server has said yes, so that a goodbye makes sense. */
  #agreed = false
  #parting: AbortController | null = null
  #parted = false

  #checkOver(): void {
    if (this.#state !== 'closing' || this.#bridges.size > 0) return
    if (this.#connection !== null && this.#agreed && !this.#forced && !this.#parted) {
      if (this.#parting === null) void this.#part(this.#connection)
      return
    }
    this.#state = 'closed'
    const connection = this.#connection
    const over = (): void => {
      this.#owner.ledger.tellTunnel(this.id, 'closed', this.#endWith?.message ?? '')
      this.#owner.onOver(this)
      this.#closed.resolve({ error: this.#endWith })
    }
    if (connection === null) return over()
    void connection.close({ code: this.#forced ? TunnelCode.SHUTDOWN : TunnelCode.NONE, drainMs: DRAIN_MS }).then(over)
  }

  /** The last bridge has ended here; the server says when it has handed everything on. Then the connection may end without loss. */
  async #part(connection: Connection): Promise<void> {
    const parting = new AbortController()
    this.#parting = parting
    try {
      const stream = this.#spare ?? await connection.openBidirectional({ signal: parting.signal })
      await writeAll(stream, this.#request(RequestKind.GOODBYE))
      stream.end()
      await stream.bytes({ signal: parting.signal, maxBytes: 1 })
    } catch {
      // By force, or the connection has ended: there is nothing more to wait for.
    }
    this.#parted = true
    this.#checkOver()
  }

  #mayJoin(): boolean {
    const { quota, streams } = this.#owner
    return this.#pending.size > 0 && this.#bridges.size < streams && !quota.full && (this.#state === 'open' || this.#state === 'opening')
  }

  async #openStream(connection: Connection): Promise<void> {
    const opening = new AbortController()
    this.#opening = opening
    let stream: BidirectionalStream | null = null
    try {
      stream = await connection.openBidirectional({ signal: opening.signal })
    } catch {
      // Nobody waits any more, or the connection has ended: that is told elsewhere.
    }
    if (this.#opening === opening) this.#opening = null
    if (stream === null || connection !== this.#connection) return
    if (this.#mayJoin()) this.#join(stream)
    else this.#spare = stream
    this.pump()
  }

  #join(stream: BidirectionalStream): void {
    const waiter = this.#pending.take()
    if (waiter === null) {
      this.#spare = stream
      return
    }
    const { ledger, quota } = this.#owner
    quota.enter(null)
    const bridge = new NearBridge({
      waiter, stream, ledger, request: encodeRequest({ kind: RequestKind.CONNECT, ...(waiter.target ?? this.#target) }),
      onOver: () => {
        this.#bridges.delete(bridge)
        quota.leave(null)
        this.#owner.onBridgeOver()
        this.#checkOver()
      },
    })
    this.#bridges.add(bridge)
    void bridge.start()
  }

  /** Of all, unless a socket has its own. */
  get #target(): { port: number; host: string | null } {
    const { port, host } = this.#options
    return { port, host }
  }

  #request(kind: RequestKind): Uint8Array {
    return encodeRequest({ kind, ...this.#target })
  }

  /** One attempt; what it becomes is told to `#onConnection` or `#onFailed`. */
  async #dial(): Promise<void> {
    const { ledger, timing } = this.#owner
    const { remote, timeoutMs, port } = this.#options
    const attempt = new AbortController()
    this.#attempt = attempt
    const since = ledger.now()
    let step = 'finding and reaching the server'
    const stop = timing.after(timeoutMs, () => attempt.abort(new ServiceError('QB_TUNNEL_TIMEOUT', `the tunnel to ${port === 0 ? '' : `port ${port} at `}${remote} was not open after ${timeoutMs} ms (timeoutMs); it got to: ${step}`)))
    ledger.tellTunnel(this.id, 'connecting', remote)
    let connection: Connection | null = null
    try {
      connection = await this.#owner.connect(remote, this.pseudoPort, this.#options.connection, attempt.signal)
      attempt.signal.throwIfAborted()
      step = 'asking the server'
      ledger.took('handshake', ledger.now() - since)
      await this.#ask(connection, attempt.signal)
      stop()
      this.#attempt = null
      this.#onOpen()
    } catch (error) {
      stop()
      this.#attempt = null
      await this.#onFailed(connection, error)
    }
  }

  /** The first request. Streams of bridges do not wait for its answer: the server does. */
  async #ask(connection: Connection, signal: AbortSignal): Promise<void> {
    const stream = await connection.openBidirectional({ signal })
    await writeAll(stream, this.#request(RequestKind.HELLO))
    stream.end()
    this.#connection = connection
    void connection.closed.then((info) => this.#onLost(connection, info))
    this.pump()
    const answer = await stream.bytes({ signal, maxBytes: 1 })
    if (answer[0] !== ACCEPT) throw new ServiceError('QB_TUNNEL_BAD_INIT', `the server at ${this.#options.remote} answers something else than a tunnel's server`, { by: 'peer', errorCode: TunnelCode.BAD_INIT })
  }

  #onOpen(): void {
    if (this.#state !== 'opening' && this.#state !== 'away') return
    this.#state = 'open'
    this.#agreed = true
    this.#backoff?.reset()
    this.#opened.resolve()
    this.#owner.ledger.tellTunnel(this.id, 'opened', this.#connection?.remote ?? '')
    this.pump()
  }

  async #onFailed(connection: Connection | null, error: unknown): Promise<void> {
    if (connection !== null && this.#connection !== connection) connection.destroy()
    const info = connection !== null && connection.state !== 'open' ? await connection.closed : null
    const words = asError(info === null ? error : this.#why(info) ?? error)
    if (this.#state === 'closing' || this.#state === 'closed') return
    if (connection !== null && this.#connection === connection) {
      this.#connection = null
      connection.destroy()
    }
    this.#cutAll()
    if (this.#state === 'opening') return void this.close('gently', words)
    this.#retry(words)
  }

  #onLost(connection: Connection, info: CloseInfo): void {
    if (this.#connection !== connection) return
    this.#connection = null
    this.#spare = null
    // While the first answer is awaited, that wait fails by itself.
    if (this.#state !== 'open') return
    this.#cutAll()
    this.#state = 'away'
    const error = asError(this.#why(info) ?? info.error ?? new ServiceError('QB_TUNNEL_SHUTDOWN', `the server has closed tunnel ${this.id}`, { by: info.by }))
    this.#owner.ledger.tellTunnel(this.id, 'lost', error.message)
    if (this.#backoff === null || (error as { code?: unknown }).code === 'QB_TUNNEL_REFUSED') return void this.close('gently', error)
    this.#retry(error)
  }

  /** Bridges on a connection that has ended have ended themselves, or do so now. */
  #cutAll(): void {
    for (const bridge of this.#bridges) bridge.abort(TunnelCode.TCP, 'connection')
  }

  #retry(error: Error): void {
    const ms = (error as { code?: unknown }).code === 'QB_TUNNEL_REFUSED' ? null : (this.#backoff?.next() ?? null)
    if (ms === null) return void this.close('gently', error)
    this.#stopPause = this.#owner.timing.after(ms, () => {
      this.#owner.ledger.reconnects += 1
      void this.#dial()
    })
  }

  #why(info: CloseInfo): Error | null {
    return info.layer === 'application' && info.by === 'peer' ? tunnelError(info.errorCode, this.#options.port, info.error ?? undefined) : info.error
  }
}

function asError(error: unknown): Error {
  return error instanceof Error ? error : new ServiceError('QB_TUNNEL_SHUTDOWN', String(error))
}
