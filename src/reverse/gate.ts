/**
 * Connections at a public end that are not accepted yet (reverse.md V50): how many there may be, in all and from one network, and when newcomers
 * must prove their address first. Counts; never looks into them.
 */
import { isIPv6 } from 'node:net'
import { parseRelayed, splitPort } from '../config/index.ts'
import type { AdmitVerdict, AttemptFacts } from '../config/index.ts'
import type { Connection } from '../connection/index.ts'
import type { ReverseLimits } from './options.ts'

/** A verdict that has become no connection after so long never will. */
const FORGET_MS = 1000

export class Gate {
  readonly #limits: ReverseLimits
  readonly #now: () => number
  /** By network. */
  readonly #counts = new Map<string, number>()
  /** With the network that it counts for. */
  readonly #pending = new Map<Connection, string>()
  /** Addresses that were let in, and when, until their connection is there. */
  readonly #expected = new Map<string, number>()

  constructor(limits: ReverseLimits, now: () => number) {
    this.#limits = limits
    this.#now = now
  }

  /** Not accepted yet. */
  get pending(): number {
    return this.#pending.size
  }

  /** Those that are not accepted yet. */
  [Symbol.iterator](): Iterator<Connection> {
    return this.#pending.keys()
  }

  /** Of a client's first datagram. */
  admit({ remote, validated }: AttemptFacts): AdmitVerdict {
    this.#forget()
    const { maxPending, maxPendingPerPeer } = this.#limits
    const [size, own] = [this.#pending.size + this.#expected.size, this.#of(remote)]
    if (size >= maxPending || own >= maxPendingPerPeer) return 'refuse'
    // Who only writes another's address into its datagrams must not take all of that one's places.
    if (!validated && (size >= maxPending / 2 || own >= maxPendingPerPeer / 2)) return 'retry'
    this.#expect(remote)
    return 'accept'
  }

  /** A connection has begun. False: there are too many. */
  enter(connection: Connection): boolean {
    const { remote } = connection
    if (this.#expected.delete(remote)) this.#count(remote, -1)
    if (this.#pending.has(connection)) return true
    if (this.#pending.size >= this.#limits.maxPending || this.#of(remote) >= this.#limits.maxPendingPerPeer) return false
    this.#pending.set(connection, networkOf(remote))
    this.#count(remote, 1)
    void connection.closed.then(() => this.accepted(connection))
    return true
  }

  /** It is accepted, or has ended. */
  accepted(connection: Connection): void {
    const network = this.#pending.get(connection)
    if (this.#pending.delete(connection) && network !== undefined) this.#add(network, -1)
  }

  #expect(remote: string): void {
    if (this.#expected.has(remote)) return
    this.#expected.set(remote, this.#now())
    this.#count(remote, 1)
  }

  /** The oldest first, as they came. */
  #forget(): void {
    const before = this.#now() - FORGET_MS
    for (const [remote, atMs] of this.#expected) {
      if (atMs > before) return
      this.#expected.delete(remote)
      this.#count(remote, -1)
    }
  }

  #of(remote: string): number {
    return this.#counts.get(networkOf(remote)) ?? 0
  }

  #count(remote: string, by: 1 | -1): void {
    this.#add(networkOf(remote), by)
  }

  #add(network: string, by: 1 | -1): void {
    const count = (this.#counts.get(network) ?? 0) + by
    if (count <= 0) this.#counts.delete(network)
    else this.#counts.set(network, count)
  }
}

/** The IPv4 address, or the first 64 bits of the IPv6 address, of a connection's remote. */
export function networkOf(remote: string): string {
  const host = (parseRelayed(remote)?.outer ?? splitPort(remote))?.host.replace(/%.*$/, '').replace(/^::ffff:(?=\d+\.)/i, '') ?? remote
  return isIPv6(host) ? prefixOf(host) : host
}

function prefixOf(address: string): string {
  const [head = '', tail] = address.split('::')
  const groups = (text: string): string[] => (text === '' ? [] : text.split(':').flatMap((group) => (group.includes('.') ? ['0', '0'] : [group])))
  const [front, back] = [groups(head), groups(tail ?? '')]
  const all = tail === undefined ? front : [...front, ...Array.from({ length: Math.max(0, 8 - front.length - back.length) }, () => '0'), ...back]
  return all.slice(0, 4).map((group) => Number.parseInt(group, 16).toString(16)).join(':')
}
