/** Counts and tells: the events of bridges and tunnels and the numbers of a manager (tunnel.md §9). Never decides. */
import { hot, sampled } from '../config/index.ts'
import type { Feed, Observable, Sampling } from '../config/index.ts'
import type { BridgeReason } from './codes.ts'
import type { DemuxDrops } from './demux.ts'

export interface BridgeEvent {
  atMs: number
  /** Null at the server. */
  tunnel: number | null
  bridge: number
  /** A bridge of UDP is a flow: what one local address sends, and the answers. */
  protocol: 'tcp' | 'udp'
  /** `too-large`: a datagram was dropped that does not fit on the connection; told once of each flow, counted each time. */
  type: 'pending' | 'opened' | 'half-closed' | 'too-large' | 'closed' | 'failed'
  reason: BridgeReason | null
  /** Address of the TCP or UDP peer at the client, of the client at the server; null: not known. */
  peer: string | null
  /** What the client asks for, 'host:port' or a port alone; null while the server has not read it. */
  target: string | null
  /** Of the client's TCP peer, or of its UDP. */
  bytesUp: number
  /** Of the target. */
  bytesDown: number
}

/** A TCP connection that is joined, and what it has carried so far. */
export type OpenBridge = Omit<BridgeEvent, 'type' | 'reason'>

/** What becomes of client tunnels. */
export interface TunnelEvent {
  atMs: number
  tunnel: number
  /** 'lost' is told again when an attempt to connect again fails for another reason. */
  type: 'connecting' | 'opened' | 'lost' | 'closed'
  /** For people. */
  reason: string
}

/** How often something was measured, and the sum. */
export interface Duration {
  count: number
  totalMs: number
  maxMs: number
}

/** What takes time on the way to a bridge. */
export type Step = 'handshake' | 'pending' | 'accept' | 'dial'

export interface TunnelStatistics {
  tunnels: number
  bridgesOpen: number
  bridgesTotal: number
  /** Of UDP. */
  flowsOpen: number
  flowsTotal: number
  pending: number
  reconnects: number
  bytesUp: number
  bytesDown: number
  /** Of UDP, from clients to targets. */
  datagramsUp: number
  datagramsDown: number
  udpDrops: Readonly<UdpDrops>
  /** Bridges that failed, by reason, and what was refused by a limit, by its name. */
  failed: Readonly<Record<string, number>>
  demuxDrops: Readonly<DemuxDrops>
  /** `pending`: wait for a stream; `accept`: from the stream to the accept byte, at the client; `dial`: of the target, at the server. */
  durations: Readonly<Record<Step, Readonly<Duration>>>
}

/** Datagrams of UDP that were dropped. */
export interface UdpDrops {
  /** More than the connection carries in one DATAGRAM frame, or more than the target's network takes. */
  tooLarge: number
  /** Of no flow that is known, or not in time. */
  unknownFlow: number
  /** With a context that is none of UDP payloads (RFC 9298 §4). */
  unknownContext: number
  /** Not readable at all. */
  malformed: number
  /** Something had no room for them: a flow that waits for its stream, or a socket. */
  queue: number
  /** There was no place for another flow. */
  flows: number
}

/** One bridge as it is told of. */
export interface Entry {
  readonly tunnel: number | null
  /** @default 'tcp' */
  readonly protocol?: 'tcp' | 'udp'
  readonly id: number
  readonly peer?: string | null
  target?: string | null
  bytesUp: number
  bytesDown: number
  /** Brings both up to date, where somebody else counts. */
  count?: (() => void) | null
}

const STEPS: readonly Step[] = ['handshake', 'pending', 'accept', 'dial']

export class Ledger {
  readonly #now: () => number
  readonly #bridges: Feed<BridgeEvent> & { readonly watched: boolean } = hot(0)
  readonly #tunnels: Feed<TunnelEvent> = hot(0)
  readonly #metrics: Omit<Feed<TunnelStatistics>, 'emit'>
  readonly #failed: Record<string, number> = Object.create(null) as Record<string, number>
  readonly #durations = Object.fromEntries(STEPS.map((step) => [step, { count: 0, totalMs: 0, maxMs: 0 }])) as Record<Step, Duration>
  readonly #drops: () => Readonly<DemuxDrops>
  readonly #open = new Set<Entry>()
  #last = 0
  #total = 0
  #flows = 0
  #flowsOpen = 0
  #bytesUp = 0
  #bytesDown = 0
  tunnels = 0
  pending = 0
  reconnects = 0
  datagramsUp = 0
  datagramsDown = 0
  readonly udpDrops: UdpDrops = { tooLarge: 0, unknownFlow: 0, unknownContext: 0, malformed: 0, queue: 0, flows: 0 }

  constructor(now: () => number, sampling: Sampling, drops: () => Readonly<DemuxDrops>) {
    this.#now = now
    this.#drops = drops
    this.#metrics = sampled(sampling, () => this.statistics())
  }

  get bridges$(): Observable<BridgeEvent> {
    return this.#bridges.values$
  }

  get tunnels$(): Observable<TunnelEvent> {
    return this.#tunnels.values$
  }

  get metrics$(): Observable<TunnelStatistics> {
    return this.#metrics.values$
  }

  now(): number {
    return this.#now()
  }

  /** A TCP connection or a flow, or a stream that asks for one, has come. */
  enter(tunnel: number | null, protocol: 'tcp' | 'udp', peer: string | null, target: string | null): Entry {
    this.#last += 1
    if (protocol === 'tcp') this.#total += 1
    else this.#flows += 1
    return { tunnel, protocol, id: this.#last, peer, target, bytesUp: 0, bytesDown: 0 }
  }

  /** Both sides are joined. */
  opened(entry: Entry): void {
    this.#open.add(entry)
    if (entry.protocol === 'udp') this.#flowsOpen += 1
    this.tell(entry, 'opened', null)
  }

  /** The last word of an entry. */
  ended(entry: Entry, reason: BridgeReason): void {
    if (this.#open.delete(entry)) {
      if (entry.protocol === 'udp') this.#flowsOpen -= 1
      this.#bytesUp += entry.bytesUp
      this.#bytesDown += entry.bytesDown
    }
    const orderly = reason === 'end' || reason === 'idle'
    if (!orderly) this.failed(reason)
    this.tell(entry, orderly ? 'closed' : 'failed', reason)
  }

  /** Something was refused or broken. */
  failed(name: string): void {
    this.#failed[name] = (this.#failed[name] ?? 0) + 1
  }

  took(step: Step, ms: number): void {
    const duration = this.#durations[step]
    duration.count += 1
    duration.totalMs += ms
    duration.maxMs = Math.max(duration.maxMs, ms)
  }

  tell(entry: Entry, type: BridgeEvent['type'], reason: BridgeReason | null): void {
    if (!this.#bridges.watched) return
    this.#bridges.emit({ ...this.#facts(entry), type, reason })
  }

  /** The oldest first. */
  openBridges(): OpenBridge[] {
    return Array.from(this.#open, (entry) => this.#facts(entry))
  }

  #facts(entry: Entry): OpenBridge {
    entry.count?.()
    const { tunnel, id, protocol = 'tcp', peer = null, target = null, bytesUp, bytesDown } = entry
    return { atMs: this.#now(), tunnel, bridge: id, protocol, peer, target, bytesUp, bytesDown }
  }

  tellTunnel(tunnel: number, type: TunnelEvent['type'], reason: string): void {
    this.#tunnels.emit({ atMs: this.#now(), tunnel, type, reason })
  }

  statistics(): TunnelStatistics {
    let [bytesUp, bytesDown] = [this.#bytesUp, this.#bytesDown]
    for (const entry of this.#open) {
      entry.count?.()
      bytesUp += entry.bytesUp
      bytesDown += entry.bytesDown
    }
    return {
      tunnels: this.tunnels, bridgesOpen: this.#open.size - this.#flowsOpen, bridgesTotal: this.#total, flowsOpen: this.#flowsOpen, flowsTotal: this.#flows, pending: this.pending, reconnects: this.reconnects, bytesUp, bytesDown,
      datagramsUp: this.datagramsUp, datagramsDown: this.datagramsDown, udpDrops: { ...this.udpDrops },
      failed: { ...this.#failed }, demuxDrops: { ...this.#drops() },
      durations: Object.fromEntries(STEPS.map((step) => [step, { ...this.#durations[step] }])) as Record<Step, Duration>,
    }
  }

  end(): void {
    this.#bridges.end()
    this.#tunnels.end()
    this.#metrics.end()
  }
}
