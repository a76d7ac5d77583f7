/**
 * One client tunnel for TCP: the connection of its link, and the bridges to it of a listener, or of sockets that somebody joins (tunnel.md §2).
 * TCP connections wait while there is no connection or no stream.
 */
import type { Duplex } from 'node:stream'
import type { Connection } from '../connection/index.ts'
import type { BidirectionalStream } from '../stream/index.ts'
import type { BridgeReason } from './codes.ts'
import { NearBridge } from './near-bridge.ts'
import { NearLink } from './near-link.ts'
import type { LinkOwner, LinkWork } from './near-link.ts'
import { checkJoin } from './options.ts'
import type { CheckedConnect, JoinTarget } from './options.ts'
import { Pending, dismiss } from './pending.ts'
import type { Errand } from './pending.ts'
import type { Quota } from './quota.ts'
import { RequestKind, encodeRequest, targetName } from './request.ts'
import { cutSocket, peerOf, tcpSocketOf } from './tcp.ts'
import type { TcpListener, TcpSocket } from './tcp.ts'

/** A tunnel as people hold it. */
export interface Tunnel {
  readonly id: number
  readonly protocol: 'tcp' | 'udp'
  /** Real bound address. */
  readonly local: string
  readonly pseudoPort: number
  /** The server has agreed. @throws (reject) QB_TUNNEL_TIMEOUT QB_TUNNEL_REFUSED, or as `Endpoint.connect` */
  readonly opened: Promise<void>
  /** The listener is closed and everything has ended; never rejects. */
  readonly closed: Promise<{ error: Error | null }>
  /** That are joined or being joined; of UDP its flows. */
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
export interface NearOwner extends LinkOwner {
  readonly quota: Quota
  readonly streams: number
  readonly pendingMax: number
  readonly pendingTimeoutMs: number
  /** A bridge has ended. */
  onBridgeOver(): void
  onOver(tunnel: Tunnel): void
}

export class NearTunnel implements Tunnel, TunnelSession, LinkWork {
  readonly id: number
  readonly protocol = 'tcp'
  readonly pseudoPort: number
  readonly hello: RequestKind = RequestKind.HELLO
  readonly #owner: NearOwner
  readonly #options: CheckedConnect
  readonly #link: NearLink
  readonly #bridges = new Set<NearBridge>()
  readonly #pending: Pending
  #listener: TcpListener | null = null
  #local = ''
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
    this.#link = new NearLink(id, pseudoPort, options, owner, this)
  }

  get local(): string {
    return this.#local
  }

  get opened(): Promise<void> {
    return this.#link.opened
  }

  get closed(): Promise<{ error: Error | null }> {
    return this.#link.closed
  }

  get bridges(): number {
    return this.#bridges.size
  }

  get connection(): Connection | null {
    return this.#link.connection
  }

  /** The listener is there, if there is to be one: begins to dial. False: the tunnel was closed meanwhile. */
  start(listener: TcpListener | null): boolean {
    this.#listener = listener
    this.#local = listener?.local ?? ''
    if (this.#link.start()) return true
    listener?.close()
    return false
  }

  onSocket(socket: TcpSocket): void {
    if (!this.#link.lives) return cutSocket(socket)
    return this.#enter(socket, null, null)
  }

  join(socket: Duplex, target: JoinTarget): void {
    const { port, host = null, answer = null } = checkJoin(target)
    this.#enter(tcpSocketOf(socket), { port, host }, answer)
  }

  close(how: 'gently' | 'by-force', error: Error | null = null): Promise<{ error: Error | null }> {
    return this.#link.close(how, error)
  }

  // --- as work of its link ---

  get size(): number {
    return this.#bridges.size
  }

  /** Joins what waits, as far as there are streams and places. */
  pump(): void {
    const { connection } = this.#link
    if (connection === null) return
    while (this.#spare !== null && this.#mayJoin()) {
      const spare = this.#spare
      this.#spare = null
      this.#join(spare)
    }
    if (this.#opening === null && this.#mayJoin()) void this.#openStream(connection)
  }

  agreed(): void {}

  stop(reason: BridgeReason): void {
    this.#listener?.close()
    this.#pending.clear(reason)
  }

  cut(code: bigint, reason: BridgeReason): void {
    for (const bridge of this.#bridges) bridge.abort(code, reason)
  }

  lost(): void {
    this.#spare = null
  }

  parting(connection: Connection, signal: AbortSignal): Promise<BidirectionalStream> {
    return this.#spare === null ? connection.openBidirectional({ signal }) : Promise.resolve(this.#spare)
  }

  over(): void {
    this.#owner.onOver(this)
  }

  #enter(socket: TcpSocket, target: Errand['target'], answer: Errand['answer']): void {
    const { ledger } = this.#owner
    const errand: Errand = { socket, entry: ledger.enter(this.id, 'tcp', peerOf(socket), targetName(target ?? this.#options)), target, answer }
    if (!this.#link.lives) {
      dismiss(errand, 'shutdown')
      ledger.ended(errand.entry, 'shutdown')
    } else if (this.#pending.add(errand)) this.pump()
  }

  #mayJoin(): boolean {
    const { quota, streams } = this.#owner
    return this.#pending.size > 0 && this.#bridges.size < streams && !quota.full && this.#link.joins
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
    if (connection !== this.#link.connection) return
    if (stream === null) {
      // Somebody may have come in the moment when nobody waited.
      if (opening.signal.aborted) this.pump()
      return
    }
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
      waiter, stream, ledger, request: waiter.target === null ? this.#link.request(RequestKind.CONNECT) : encodeRequest({ kind: RequestKind.CONNECT, ...waiter.target }),
      onOver: () => {
        this.#bridges.delete(bridge)
        quota.leave(null)
        this.#owner.onBridgeOver()
        this.#link.check()
      },
    })
    this.#bridges.add(bridge)
    void bridge.start()
  }
}
