/**
 * Which addresses of ours a connection tells its peer (traversal T-70 to T-79): those of its sockets, those that servers, relays and the
 * peer see, and what stands before them. Gathers from the first moment, tells when traversal is on, tells again what changes.
 *
 *   bound sockets ─▶ host        servers ─▶ mapped, with a provisional kind of NAT, then the detected one        relays ─▶ relayed
 *                           the gateway ─▶ mapped, open to everybody
 */
import type { Cancel } from '../config/index.ts'
import { familyOf, formatAddress, isUnspecified, parseAddress, stunServers } from '../config/index.ts'
import type { Candidate, PunchBook, Refusal } from './address-book.ts'
import type { NatPart } from './part.ts'
import type { PortState } from './port-mappings.ts'
import { PortWatch } from './port-watch.ts'
import type { Lease } from './registration.ts'
import { SocketView } from './socket-view.ts'
import type { AddressSource, NatReport, TraversalEvent, TraversalOptions } from './types.ts'

const SOURCES: readonly AddressSource[] = ['host', 'stun', 'observed', 'relay']
/** Sockets that are looked at, and addresses of each. */
const MAX_SOCKETS = 4
const MAX_HOSTS = 8

/** What was told of a candidate. */
type Told = { candidate: Candidate; seq: number } | { candidate: Candidate; refused: Refusal }

export class Announcer {
  readonly #part: NatPart
  readonly #book: PunchBook
  readonly #options: TraversalOptions
  readonly #sources: ReadonlySet<AddressSource>
  readonly #emit: (event: TraversalEvent) => void
  readonly #onChange: () => void
  /** By bound address. */
  readonly #sockets = new Map<string, SocketView>()
  readonly #leases: Lease[] = []
  /** null: not asked for. */
  readonly #ports: PortWatch | null
  readonly #told = new Map<string, Told>()
  #servers: readonly string[] = []
  #stopListening: Cancel | null = null
  #on = false
  #ended = false
  /** Questions under way. */
  #open = 0

  /** `onChange`: a lease or the end of a question; `emit`: for people. */
  constructor(part: NatPart, options: TraversalOptions, book: PunchBook, emit: (event: TraversalEvent) => void, onChange: () => void) {
    this.#part = part
    this.#options = options
    this.#book = book
    this.#sources = new Set(options.sources ?? SOURCES)
    this.#emit = emit
    this.#onChange = onChange
    this.#ports = this.#sources.has('port-mapping') ? new PortWatch(part.agent.ports, (local, state) => this.#onPort(local, state)) : null
  }

  /** All that was asked has been answered, or will not be. */
  get isSettled(): boolean {
    return this.#open === 0 && this.#ports?.isSettled !== false && [...this.#sockets.values()].every((view) => view.isSettled)
  }

  /** A relay knows us. */
  get isRelayed(): boolean {
    return this.#leases.some(({ state }) => state === 'asked' || state === 'registered')
  }

  /** Begins to gather. */
  start(): void {
    this.#stopListening = this.#part.surroundings.interfaces.listen(() => this.#look())
    void this.#begin(this.#findServers())
    if (this.#sources.has('relay')) for (const name of this.#options.relays ?? []) void this.#begin(this.#enter(name))
  }

  /** The peer takes addresses. */
  onNegotiated(): void {
    this.#on = true
    this.#look()
  }

  /** The peer's addresses may show that it is of our site, so that what was refused may be told. */
  onRemote(): void {
    for (const [key, told] of this.#told) if ('refused' in told && told.refused === 'private') this.#told.delete(key)
    this.#sync()
  }

  /** An address of ours is told no more: one that was like it may be told now. */
  onWithdrawn(): void {
    for (const [key, told] of this.#told) if ('refused' in told && told.refused === 'duplicate') this.#told.delete(key)
    this.#sync()
  }

  /** The peer sees a path of ours so. */
  onObserved(local: string, address: string): void {
    if (!this.#sources.has('observed')) return
    const view = this.#viewOf(local)
    if (view?.observe(address) === true) this.#sync()
  }

  /** Of a bound socket or of an address of ours; null: not known. */
  report(address: string): NatReport | null {
    for (const view of this.#sockets.values()) if (view.has(address)) return view.report
    return null
  }

  end(): void {
    this.#ended = true
    this.#stopListening?.()
    for (const view of this.#sockets.values()) view.end()
    for (const lease of this.#leases) lease.release()
    this.#ports?.end()
  }

  async #begin(work: Promise<void>): Promise<void> {
    this.#open += 1
    try {
      await work
    } catch (error) {
      this.#part.logger.warn?.('an address of ours could not be found out', { error })
    } finally {
      this.#open -= 1
      if (!this.#ended) this.#onChange()
    }
  }

  async #findServers(): Promise<void> {
    if (!this.#sources.has('stun')) return this.#look()
    const found = await Promise.allSettled(stunServers(this.#options).map((name) => this.#part.agent.resolve(name, 'traversal.stun')))
    if (this.#ended) return
    this.#servers = found.flatMap((one) => (one.status === 'fulfilled' ? [one.value] : []))
    for (const one of found) if (one.status === 'rejected') this.#part.logger.warn?.('a server for addresses was not found', { error: one.reason as unknown })
    this.#look()
  }

  async #enter(name: string): Promise<void> {
    const { traversal, relayTls, agent, engine } = this.#part
    let last = ''
    const lease: Lease = await agent.lease(name, { token: traversal?.relayToken ?? null, tls: relayTls ?? {} }, (state) => {
      const shown = state === 'registered' || state === 'lost' || state === 'refused' ? state : null
      if (shown !== null && shown !== last) this.#emit({ atMs: engine.now(), type: 'relay', relay: name, state: shown })
      if (shown !== null) last = shown
      this.#sync()
      this.#onChange()
    })
    if (this.#ended) return lease.release()
    this.#leases.push(lease)
    if (lease.state === 'registered') this.#emit({ atMs: engine.now(), type: 'relay', relay: name, state: (last = 'registered') as 'registered' })
    // A relay that does not answer, or says no, is told of; it is no reason to wait.
    await lease.granted().catch(() => {})
    if (!this.#ended) this.#sync()
  }

  /** Sockets and interfaces as they are now. */
  #look(): void {
    if (this.#ended || this.#part.error() !== null) return
    const bound = this.#part.engine.local().slice(0, MAX_SOCKETS)
    for (const [local, view] of this.#sockets) {
      if (bound.includes(local)) continue
      view.end()
      this.#ports?.leave(local)
      this.#sockets.delete(local)
    }
    for (const local of bound) {
      const view = this.#sockets.get(local) ?? new SocketView(this.#part, local, { onChange: () => this.#onView(), onReport: (report) => this.#emit({ atMs: this.#part.engine.now(), type: 'nat', report }) })
      this.#sockets.set(local, view)
      const hosts = this.#hosts(local)
      view.ask(this.#servers, hosts)
      this.#ports?.watch(local, hosts)
    }
    this.#sync()
  }

  /** The gateway has answered, or could not. */
  #onPort(local: string, { state, external, reason }: PortState): void {
    if (this.#ended || this.#part.error() !== null) return
    this.#emit({ atMs: this.#part.engine.now(), type: 'port-mapping', local, state, external, reason })
    this.#onView()
  }

  #onView(): void {
    this.#sync()
    this.#onChange()
  }

  /** Addresses of this host at which a socket hears. Loopback is for peers on loopback, link-local is for nobody (it means another device everywhere). */
  #hosts(bound: string): string[] {
    const address = parseAddress(bound)
    if (address === null) return []
    const { interfaces } = this.#part.surroundings
    const all = isUnspecified(address.host) ? interfaces.current.filter(({ up, address: own }) => up && familyOf(own) === address.family).map((one) => one.address) : [address.host]
    const near = isLoopback(parseAddress(this.#part.local())?.host ?? '')
    return all.filter((host) => !isLinkLocal(host) && isLoopback(host) === near).slice(0, MAX_HOSTS).map((host) => formatAddress({ host, port: address.port, family: address.family }))
  }

  #viewOf(local: string): SocketView | undefined {
    return this.#sockets.get(local) ?? [...this.#sockets.values()].find((view) => view.has(local))
  }

  #candidates(): Candidate[] {
    const found = this.#ports?.candidates() ?? []
    const open = new Set(found.map(({ local, address }) => `${local} ${address}`))
    // An address counts once: as what the gateway opened.
    for (const view of this.#sockets.values()) found.push(...view.candidates(this.#sources).filter(({ local, address }) => !open.has(`${local} ${address}`)))
    for (const { state, relay, local, outer } of this.#leases) {
      if (state !== 'registered' || outer === null || local === null) continue
      const view = this.#viewOf(local)
      if (view !== undefined) found.push({ local: view.bound, address: outer, kind: 'relayed', relay, tier: 0, nat: view.kind ?? 'restricted-port', portStep: null })
    }
    return found
  }

  /** Tells what is new, withdraws what has gone; another kind of NAT is another address (traversal T-78). */
  #sync(): void {
    if (!this.#on || this.#ended || this.#part.error() !== null) return
    const wanted = new Map(this.#candidates().map((candidate) => [keyOf(candidate), candidate]))
    for (const [key, told] of this.#told) {
      const now = wanted.get(key)
      if (now !== undefined && isSame(now, told.candidate)) continue
      if ('seq' in told) this.#book.untell(told.seq)
      this.#told.delete(key)
    }
    for (const [key, candidate] of wanted) {
      if (this.#told.has(key)) continue
      const answer = this.#book.tell(candidate)
      this.#told.set(key, 'seq' in answer ? { candidate, seq: answer.seq } : { candidate, refused: answer.refused })
    }
  }
}

function keyOf({ local, address, kind, relay }: Candidate): string {
  return `${kind} ${local} ${address} ${relay ?? ''}`
}

function isSame(a: Candidate, b: Candidate): boolean {
  return a.nat === b.nat && a.portStep === b.portStep
}

function isLoopback(host: string): boolean {
  return host === '::1' || host.startsWith('127.')
}

function isLinkLocal(host: string): boolean {
  return host.startsWith('169.254.') || /^fe[89ab]/i.test(host)
}
