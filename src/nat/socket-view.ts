/**
 * One bound socket of ours as it is seen: from its host, by servers, by the peer; and what NAT must then stand before it. A provisional kind
 * comes from the first answers (one mapping everywhere: port-restricted, which is right towards every cone; else symmetric), the
 * detected one later (traversal T-50 to T-53, T-78).
 */
import type { Cancel } from '../config/index.ts'
import { familyOf } from '../config/index.ts'
import type { Candidate } from './address-book.ts'
import type { NatPart } from './part.ts'
import type { AddressSource, NatKind, NatReport } from './types.ts'

/** Two servers tell whether a mapping depends on them. */
const ASKED = 2

export interface ViewWatcher {
  onChange: () => void
  onReport: (report: NatReport) => void
}

export class SocketView {
  readonly bound: string
  readonly #part: NatPart
  readonly #watcher: ViewWatcher
  /** What each server sees; null: it is silent. Without an entry it has not answered yet. */
  readonly #mapped = new Map<string, string | null>()
  readonly #watching = new Map<string, Cancel>()
  #hosts: readonly string[] = []
  #observed: string | null = null
  #report: NatReport | null = null
  #detecting: string | null = null
  #detected = false
  #ended = false

  constructor(part: NatPart, bound: string, watcher: ViewWatcher) {
    this.#part = part
    this.bound = bound
    this.#watcher = watcher
  }

  get report(): NatReport | null {
    return this.#report
  }

  /** Nothing is asked any more. */
  get isSettled(): boolean {
    return this.#isHeard && (this.#detecting === null || this.#detected)
  }

  /** Servers that have spoken, or were silent. */
  get #isHeard(): boolean {
    return this.#mapped.size >= this.#watching.size
  }

  /** null: nobody has seen it. */
  get kind(): NatKind | null {
    // Of one vantage point alone a detection says nothing about the mapping, and then the worst.
    if (this.#report !== null && this.#report.mapping !== 'unknown') return this.#report.kind
    const seen = this.#seen
    if (seen.length === 0 || !this.#isHeard) return null
    if (seen.some((address) => address !== seen[0])) return 'symmetric'
    return this.#hosts.includes(seen[0] ?? '') ? 'full-cone' : 'restricted-port'
  }

  /** The socket under this name: as it is bound, at this host, or from outside. */
  has(address: string): boolean {
    return this.bound === address || this.#hosts.includes(address) || this.#seen.includes(address)
  }

  /** These servers, as many as are needed; those from before are let go. */
  ask(servers: readonly string[], hosts: readonly string[]): void {
    const moved = this.#hosts.join(' ') !== hosts.join(' ')
    this.#hosts = hosts
    const family = familyOf(this.bound)
    const fitting = servers.filter((server) => familyOf(server) === family)
    const asked = fitting.slice(0, ASKED)
    for (const [server, stop] of this.#watching) {
      if (asked.includes(server)) continue
      stop()
      this.#watching.delete(server)
      this.#mapped.delete(server)
    }
    for (const server of asked) {
      if (this.#watching.has(server)) continue
      this.#watching.set(server, () => {})
      this.#watching.set(server, this.#part.agent.mappings.watch(this.bound, server, 'rfc5780', (mapped) => this.#onMapped(server, mapped)))
    }
    const key = fitting.join(' ')
    if (fitting.length > 0 && (this.#detecting !== key || moved)) void this.#detect(key, fitting)
  }

  /** True: that is news. */
  observe(address: string): boolean {
    if (this.#observed === address) return false
    this.#observed = address
    return true
  }

  candidates(sources: ReadonlySet<AddressSource>): Candidate[] {
    const { bound: local, kind } = this
    const ports = this.#report?.ports
    const portStep = kind === 'symmetric' && ports?.allocation === 'sequential' ? ports.step : null
    const found: Candidate[] = []
    // At the host itself nothing is translated.
    if (sources.has('host')) for (const address of this.#hosts) found.push({ local, address, kind: 'host', relay: null, tier: 0, nat: 'full-cone', portStep: null })
    const outer = this.#seen[0]
    if (outer !== undefined && kind !== null && kind !== 'blocked' && !this.#hosts.includes(outer)) found.push({ local, address: outer, kind: 'mapped', relay: null, tier: 0, nat: kind, portStep })
    return found
  }

  end(): void {
    this.#ended = true
    for (const stop of this.#watching.values()) stop()
    this.#watching.clear()
  }

  /** From outside: by servers first, then by the peer. */
  get #seen(): string[] {
    const told = [...this.#mapped.values()].filter((address) => address !== null)
    return this.#observed === null ? told : [...told, this.#observed]
  }

  #onMapped(server: string, mapped: string | null): void {
    if (this.#ended) return
    this.#mapped.set(server, mapped)
    this.#watcher.onChange()
  }

  /** In the background; once for an endpoint and a network. */
  async #detect(key: string, servers: readonly string[]): Promise<void> {
    this.#detecting = key
    this.#detected = false
    const report = await this.#part.agent.mappings.report(this.bound, servers, 'rfc5780').catch(() => null)
    if (this.#ended || this.#detecting !== key) return
    this.#detected = true
    // A server that answers nothing more says nothing about the NAT.
    this.#report = report
    if (report !== null) this.#watcher.onReport(report)
    this.#watcher.onChange()
  }
}
