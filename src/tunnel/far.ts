/**
 * One tunnel connection at the server: who the client is, its first request, and its streams, so many at once, the others in order
 * (tunnel.md §3). The decision is made for the connection, and again for each stream.
 */
import { X509Certificate } from 'node:crypto'
import { dateUnixMs, deferHandled } from '../config/index.ts'
import type { Deferred, PeerIdentity, Timing } from '../config/index.ts'
import { bookOf } from '../connection/index.ts'
import type { Connection } from '../connection/index.ts'
import type { BidirectionalStream } from '../stream/index.ts'
import { writeAll } from './bridge.ts'
import { TunnelCode } from './codes.ts'
import type { BridgeReason } from './codes.ts'
import { FarBridge } from './far-bridge.ts'
import { FarFlow } from './far-flow.ts'
import type { FlowRequest } from './far-flow.ts'
import type { Ledger } from './ledger.ts'
import type { Policy, Target } from './policy.ts'
import type { Quota, Seat } from './quota.ts'
import { ACCEPT, RequestKind } from './request.ts'
import type { Request } from './request.ts'
import type { Tcp } from './tcp.ts'
import type { Udp } from './udp.ts'
import { Idle } from './udp-idle.ts'
import { UdpSwitch, flowOf } from './udp-switch.ts'

/** What connections at the server share. */
export interface FarOwner {
  readonly ledger: Ledger
  readonly timing: Timing
  readonly tcp: Tcp
  readonly udp: Udp
  readonly policy: Policy
  readonly quota: Quota
  readonly flowQuota: Quota
  readonly udpIdleMs: number
  readonly streams: number
  readonly dialTimeoutMs: number
  /** The client's address as people know it. */
  remoteOf(connection: Connection): string
  /** A bridge has ended. */
  onBridgeOver(): void
  onOver(connection: FarConnection): void
}

export class FarConnection {
  readonly connection: Connection
  readonly #owner: FarOwner
  readonly #remote: string
  /** Settles with the answer to the first request. */
  readonly #allowed: Deferred<boolean> = deferHandled()
  readonly #bridges = new Set<FarBridge>()
  readonly #flows = new Set<FarFlow>()
  readonly #switch: UdpSwitch
  #waiting: BidirectionalStream[] = []
  /** Clients' goodbyes, to be answered when no bridge is left. */
  #partings: (() => void)[] = []
  /** Joined or being joined, of this connection. */
  #places = 0
  #asked = false
  #stopping = false
  #peer: PeerIdentity | null = null
  /** When the client's certificate ends, Unix ms. */
  #validToMs = Infinity

  constructor(connection: Connection, owner: FarOwner) {
    this.connection = connection
    this.#owner = owner
    this.#remote = owner.remoteOf(connection)
    this.#switch = new UdpSwitch(connection, 'server', owner.ledger, owner.timing)
  }

  get bridges(): number {
    return [...this.#bridges].filter(({ joins }) => joins).length
  }

  /** Serves until the connection ends. Never rejects. */
  async serve(): Promise<void> {
    const { connection } = this
    void connection.closed.then(() => this.#onClosed())
    if (this.#owner.policy.size === 0) return this.refuse(TunnelCode.REFUSED)
    try {
      // What is sent before that may be a replay of somebody else's (attacks H2).
      await connection.opened
    } catch {
      return undefined
    }
    this.#identify()
    const { timing, dialTimeoutMs } = this.#owner
    const late = timing.after(dialTimeoutMs, () => {
      if (!this.#asked) this.refuse(TunnelCode.BAD_INIT)
    })
    void connection.closed.then(late)
    void this.#switch.serve()
    for await (const stream of connection.incomingBidirectional()) this.#onStream(stream)
    return undefined
  }

  /** Who asks from now on is refused; what is joined goes on, and a goodbye is answered. */
  stop(): void {
    this.#stopping = true
    const waiting = this.#waiting
    this.#waiting = []
    for (const stream of waiting) this.#serveStream(stream)
  }

  /** Ends every bridge by force. */
  abort(code: bigint, reason: BridgeReason): void {
    this.stop()
    for (const bridge of this.#bridges) bridge.abort(code, reason)
    for (const flow of this.#flows) flow.abort(code, reason)
  }

  refuse(code: bigint): void {
    this.#allowed.resolve(false)
    void this.connection.close({ code, reason: code === TunnelCode.REFUSED ? 'no handler allows this' : '' })
  }

  #identify(): void {
    const { peer } = this.connection
    if (peer === null || bookOf(this.connection)?.verifies !== true) return
    this.#peer = peer
    try {
      const leaf = peer.chain[0]
      if (leaf !== undefined) this.#validToMs = dateUnixMs(new X509Certificate(leaf).validTo)
    } catch {
      this.#peer = null
    }
  }

  #onStream(stream: BidirectionalStream): void {
    if (stream.early) return this.#refuse(stream, TunnelCode.REFUSED)
    this.#switch.expect(flowOf(stream))
    if (this.#stopping) return this.#serveStream(stream)
    this.#waiting.push(stream)
    return this.#serveNext()
  }

  #serveNext(): void {
    while (this.#places < this.#owner.streams) {
      const stream = this.#waiting.shift()
      if (stream === undefined) return
      this.#serveStream(stream)
    }
  }

  #serveStream(stream: BidirectionalStream): void {
    const { ledger, timing, tcp, dialTimeoutMs, quota } = this.#owner
    const key = this.#key()
    const seat = quota.seat(key)
    this.#places += 1
    let isFlow = false
    const bridge = new FarBridge({
      stream, ledger, timing, tcp, dialTimeoutMs, remote: this.#remote,
      decide: (request, asking) => this.#decide(request, asking, seat),
      onFlow: (flow) => {
        isFlow = this.#onFlow(flow, key)
        return isFlow
      },
      onOver: () => {
        if (!isFlow) this.#switch.forget(flowOf(stream))
        this.#places -= 1
        this.#bridges.delete(bridge)
        seat.leave()
        this.#serveNext()
        this.#part()
        this.#owner.onBridgeOver()
      },
    })
    this.#bridges.add(bridge)
    void bridge.start()
  }

  /** Whose bridges and flows are counted together. */
  #key(): string {
    return this.#peer?.fingerprint ?? this.#remote.replace(/:\d+$/, '')
  }

  #onFlow(request: FlowRequest, key: string): boolean {
    const { ledger, timing, udp, udpIdleMs, flowQuota } = this.#owner
    const limit = flowQuota.enter(key)
    if (limit !== null) {
      ledger.failed(limit)
      return false
    }
    const flow = new FarFlow({
      ...request, ledger, udp, flows: this.#switch, idle: (onIdle) => new Idle(timing, () => ledger.now(), udpIdleMs, onIdle),
      onOver: () => {
        this.#flows.delete(flow)
        flowQuota.leave(key)
      },
    })
    this.#flows.add(flow)
    void flow.start()
    return true
  }

  #part(): void {
    if (this.#partings.length === 0 || this.bridges > 0) return
    const partings = this.#partings
    this.#partings = []
    for (const part of partings) part()
  }

  /** `seat`: the place that a bridge takes. */
  async #decide({ kind, port, host }: Request, stream: BidirectionalStream, seat: Seat): Promise<Target | bigint | null> {
    if (kind === RequestKind.GOODBYE) {
      await new Promise<void>((resolve) => {
        this.#partings.push(resolve)
        this.#part()
      })
      return this.#answer(stream)
    }
    if (this.#stopping) return TunnelCode.SHUTDOWN
    const first = kind === RequestKind.HELLO || kind === RequestKind.HELLO_UDP
    const protocol = kind === RequestKind.UDP || kind === RequestKind.HELLO_UDP ? 'udp' : 'tcp'
    if (first && this.#asked) return TunnelCode.BAD_INIT
    this.#asked ||= first
    if (!first && !(await this.#allowed.promise)) return TunnelCode.REFUSED
    const { policy, timing, ledger } = this.#owner
    const limit = kind === RequestKind.CONNECT ? seat.take() : null
    if (limit !== null) {
      ledger.failed(limit)
      return TunnelCode.REFUSED
    }
    const peer = timing.unixMs() < this.#validToMs ? this.#peer : null
    // A certificate that was good and has ended is worse than none.
    const target = this.#peer !== null && peer === null ? null : await policy.decide({ peer, protocol, port, host, remote: this.#remote })
    if (!first) return target ?? TunnelCode.REFUSED
    if (target === null) {
      this.refuse(TunnelCode.REFUSED)
      return TunnelCode.REFUSED
    }
    this.#allowed.resolve(true)
    return this.#answer(stream)
  }

  /** Yes, to a request that is no bridge. */
  async #answer(stream: BidirectionalStream): Promise<null> {
    await writeAll(stream, Uint8Array.of(ACCEPT))
    stream.end()
    return null
  }

  #refuse(stream: BidirectionalStream, code: bigint): void {
    this.#switch.forget(flowOf(stream))
    refuse(stream, code)
  }

  #onClosed(): void {
    this.#allowed.resolve(false)
    this.#waiting = []
    // Whoever said goodbye hears nothing any more.
    const partings = this.#partings
    this.#partings = []
    for (const part of partings) part()
    for (const flow of this.#flows) flow.abort(TunnelCode.CONNECT, 'connection')
    this.#owner.onOver(this)
  }
}

function refuse(stream: BidirectionalStream, code: bigint): void {
  stream.reset(code)
  stream.stop(code)
}
