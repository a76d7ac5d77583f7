/**
 * One client tunnel for UDP: a socket, the connection of its link, and a flow for each local address that sends (tunnel.md §10). Flows wait while
 * there is no connection or no stream. There are so many at most: a newcomer then takes the place of the one that was silent for longest, as in
 * a NAT, since nothing tells the end of a conversation.
 */
import { formatAddress } from '../config/index.ts'
import type { Cancel } from '../config/index.ts'
import type { Connection } from '../connection/index.ts'
import { StreamError } from '../errors/index.ts'
import type { BidirectionalStream } from '../stream/index.ts'
import { TunnelCode } from './codes.ts'
import type { BridgeReason } from './codes.ts'
import type { Tunnel } from './near.ts'
import { NearFlow } from './near-flow.ts'
import { NearLink } from './near-link.ts'
import type { LinkOwner, LinkWork } from './near-link.ts'
import type { CheckedConnect } from './options.ts'
import type { Quota } from './quota.ts'
import { RequestKind, targetName } from './request.ts'
import type { UdpEvents, UdpPeer, UdpSocket } from './udp.ts'
import { Idle } from './udp-idle.ts'
import { UdpSwitch } from './udp-switch.ts'

/** How long a flow waits for a stream before another one has to give way. */
const RELIEVE_MS = 100
/** A flow that was heard of so recently does not have to, unless there are too many. */
const QUIET_MS = 1000

/** What client tunnels for UDP share. */
export interface NearUdpOwner extends LinkOwner {
  readonly flowQuota: Quota
  readonly pendingTimeoutMs: number
  readonly udpIdleMs: number
  onOver(tunnel: Tunnel): void
}

export class NearUdp implements Tunnel, LinkWork, UdpEvents {
  readonly id: number
  readonly protocol = 'udp'
  readonly pseudoPort: number
  readonly hello: RequestKind = RequestKind.HELLO_UDP
  readonly #owner: NearUdpOwner
  readonly #options: CheckedConnect
  readonly #link: NearLink
  /** By local address. */
  readonly #flows = new Map<string, NearFlow>()
  #socket: UdpSocket | null = null
  /** Of the connection there is. */
  #switch: UdpSwitch | null = null
  #opening: AbortController | null = null
  #stopRelief: Cancel = () => {}

  constructor(id: number, pseudoPort: number, options: CheckedConnect, owner: NearUdpOwner) {
    this.id = id
    this.pseudoPort = pseudoPort
    this.#options = options
    this.#owner = owner
    this.#link = new NearLink(id, pseudoPort, options, owner, this)
  }

  get local(): string {
    return this.#socket?.local ?? ''
  }

  get opened(): Promise<void> {
    return this.#link.opened
  }

  get closed(): Promise<{ error: Error | null }> {
    return this.#link.closed
  }

  get bridges(): number {
    return this.#flows.size
  }

  get connection(): Connection | null {
    return this.#link.connection
  }

  /** The socket is there: begins to dial. False: the tunnel was closed meanwhile. */
  start(socket: UdpSocket): boolean {
    this.#socket = socket
    if (this.#link.start()) return true
    socket.close()
    return false
  }

  close(how: 'gently' | 'by-force', error: Error | null = null): Promise<{ error: Error | null }> {
    return this.#link.close(how, error)
  }

  // --- of its socket ---

  onMessage(bytes: Uint8Array, from: UdpPeer): void {
    if (!this.#link.lives) return
    const key = `${from.host} ${from.port}`
    const flow = this.#flows.get(key) ?? this.#enter(key, from)
    if (flow === null) {
      this.#owner.ledger.udpDrops.flows += 1
      return
    }
    flow.send(bytes)
    if (flow.waits) this.pump()
  }

  onTooLarge(): void {
    this.#owner.ledger.udpDrops.tooLarge += 1
  }

  /** The socket is of no use any more. */
  onError(error: Error): void {
    void this.#link.close('gently', error)
  }

  // --- as work of its link ---

  /** Flows do not hold up the end of a tunnel: they end with it. */
  get size(): number {
    return this.#flows.size
  }

  /** Opens a stream for the flow that waits for longest. */
  pump(): void {
    const { connection } = this.#link
    if (connection === null) return
    if (this.#switch === null) {
      this.#switch = new UdpSwitch(connection, 'client', this.#owner.ledger, this.#owner.timing)
      void this.#switch.serve()
    }
    if (this.#opening === null && this.#link.joins && this.#next() !== null) void this.#openStream(connection, this.#switch)
  }

  agreed({ datagrams }: Connection): void {
    if (datagrams.maxDatagramSizeBytes === 0) throw new StreamError('QB_DATAGRAM_REFUSED', 'the server takes no datagrams, and UDP needs them; let its maxDatagramFrameBytes be')
  }

  stop(reason: BridgeReason): void {
    this.#socket?.close()
    // Whatever the reason: those that are open end in order.
    for (const flow of this.#flows.values()) flow.end(flow.waits ? reason : 'end')
  }

  cut(code: bigint, reason: BridgeReason): void {
    for (const flow of this.#flows.values()) if (!flow.waits) flow.abort(code, reason)
  }

  lost(): void {
    this.cut(TunnelCode.CONNECT, 'connection')
    this.#switch = null
    this.#opening = null
    this.#stopRelief()
  }

  /** Nothing of UDP can be waited for. */
  parting(): null {
    return null
  }

  over(): void {
    this.#owner.onOver(this)
  }

  #enter(key: string, from: UdpPeer): NearFlow | null {
    const { ledger, timing, udpIdleMs, pendingTimeoutMs, flowQuota } = this.#owner
    const mine = `tunnel ${this.id}`
    if (flowQuota.enter(mine) !== null) {
      this.#giveWay('any', ledger.now())
      const limit = flowQuota.enter(mine)
      if (limit !== null) {
        ledger.failed(limit)
        return null
      }
    }
    const flow = new NearFlow({
      entry: ledger.enter(this.id, 'udp', formatAddress({ ...from, family: from.host.includes(':') ? 6 : 4 }), targetName(this.#options)), ledger,
      idle: (onIdle) => new Idle(timing, () => ledger.now(), udpIdleMs, onIdle),
      patience: (onLate) => timing.after(pendingTimeoutMs, onLate),
      deliver: (payload) => this.#socket?.send(payload, from) === true,
      onOver: () => {
        this.#flows.delete(key)
        flowQuota.leave(mine)
        if (this.#next() === null) this.#opening?.abort()
        this.pump()
        this.#link.check()
      },
    })
    this.#flows.set(key, flow)
    return flow
  }

  /** Ends the flow that was silent for longest, if that was before `beforeMs`; 'open': of those that have a stream. */
  #giveWay(among: 'any' | 'open', beforeMs: number): void {
    let oldest: NearFlow | null = null
    for (const flow of this.#flows.values()) if ((among === 'any' || !flow.waits) && flow.lastMs <= (oldest?.lastMs ?? beforeMs)) oldest = flow
    oldest?.end('replaced')
  }

  #next(): NearFlow | null {
    for (const flow of this.#flows.values()) if (flow.waits) return flow
    return null
  }

  async #openStream(connection: Connection, flows: UdpSwitch): Promise<void> {
    const opening = new AbortController()
    this.#opening = opening
    this.#relieve()
    let stream: BidirectionalStream | null = null
    try {
      stream = await connection.openBidirectional({ signal: opening.signal })
    } catch {
      // Nobody waits any more, or the connection has ended: that is told elsewhere.
    }
    if (this.#opening !== opening) return
    this.#opening = null
    this.#stopRelief()
    const flow = this.#next()
    if (stream === null) return
    if (flow === null) {
      // Whoever wanted it is gone.
      stream.reset(TunnelCode.NONE)
      stream.stop(TunnelCode.NONE)
    } else void flow.start(stream, flows, this.#link.request(RequestKind.UDP))
    this.pump()
  }

  /** The server gives no stream: another flow gives way. */
  #relieve(): void {
    const { ledger, timing } = this.#owner
    this.#stopRelief = timing.after(RELIEVE_MS, () => {
      this.#giveWay('open', ledger.now() - QUIET_MS)
      if (this.#opening !== null) this.#relieve()
    })
  }
}
