/**
 * The addresses that the core has on a header carrier. A path of the core is a pair of addresses, and a peer there is a carrier address and a
 * pseudo-port (tunnel.md T5): both are written into one IPv6 address of a private range and its port.
 *
 *   ours      [fd71:6270::1]:1                         the server side
 *             [fd71:6270::2]:PSEUDO                    a client tunnel
 *   theirs    [fd71:6271:AABB:CCDD::PORT]:PSEUDO       carrier address a.b.c.d:port
 *             [fd71:6272:NNNN:NNNN::PORT]:PSEUDO       the n-th IPv6 host, from a table
 *
 * The upper 64 bits are the peer's host, so that limits by network hold for hosts.
 */
import { formatAddress, parseAddress } from '../config/index.ts'

export const SERVER_LOCAL = '[fd71:6270::1]:1'
const CLIENT_HOST = 'fd71:6270::2'
/** The port of a server, seen from a client. */
const SERVER_PORT = 1
/** IPv6 hosts of carriers that have a number; the one that was neither heard nor spoken to for longest goes. */
const MAX_HOSTS = 4096
/** Names that were worked out, of either kind. */
const MAX_KNOWN = 4096

export interface Peer {
  /** Of the carrier. */
  address: string
  port: number
}

/** What was worked out, and the IPv6 host it is about. */
interface Known<T> {
  value: T
  host: string | null
}

export class CarrierNames {
  readonly #hosts = new Map<string, number>()
  readonly #byNumber = new Map<number, string>()
  #count = 0
  /** Of the hosts the last. */
  #newest: string | null = null
  readonly #peers = new Map<string, Known<Peer | null>>()
  readonly #names = new Map<string, Known<string>>()

  /** A client tunnel's own address. */
  client(port: number): string {
    return `[${CLIENT_HOST}]:${port}`
  }

  /** The pseudo-port of one of our own addresses; null: the server side's. */
  tunnelOf(local: string): number | null {
    return local.startsWith(`[${CLIENT_HOST}]`) ? Number(local.slice(CLIENT_HOST.length + 3)) : null
  }

  server(address: string): string | null {
    return this.name(address, SERVER_PORT)
  }

  /** The core's name of a peer; null: `address` is none. */
  name(address: string, port: number): string | null {
    const key = `${address} ${port}`
    const known = this.#names.get(key)
    if (known !== undefined) return this.#use(known)
    const parsed = parseAddress(address)
    if (parsed === null || parsed.port === 0) return null
    const [kind, number] = parsed.family === 4 ? ['fd71:6271', number4(parsed.host)] : ['fd71:6272', this.#number6(parsed.host)]
    const name = `[${kind}:${hex(number >>> 16)}:${hex(number & 0xffff)}::${hex(parsed.port)}]:${port}`
    remember(this.#names, key, { value: name, host: parsed.family === 6 ? parsed.host : null })
    return name
  }

  /** Whom the core means; null: nobody that this carrier reaches. */
  peer(remote: string): Peer | null {
    const known = this.#peers.get(remote)
    if (known !== undefined) return this.#use(known)
    const peer = this.#read(remote)
    remember(this.#peers, remote, peer)
    return this.#use(peer)
  }

  /** It was heard, or spoken to. */
  #use<T>({ value, host }: Known<T>): T {
    if (host !== null && host !== this.#newest) this.#number6(host)
    return value
  }

  #read(remote: string): Known<Peer | null> {
    const parsed = parseAddress(remote)
    const groups = parsed === null ? null : expand(parsed.host)
    if (parsed === null || groups === null || groups[0] !== 0xfd71) return { value: null, host: null }
    const [, kind = 0, high = 0, low = 0, , , , port = 0] = groups
    if (kind === 0x6271) return { value: { address: formatAddress({ host: `${high >> 8}.${high & 0xff}.${low >> 8}.${low & 0xff}`, port, family: 4 }), port: parsed.port }, host: null }
    const host = kind === 0x6272 ? this.#byNumber.get(high * 65_536 + low) : undefined
    return host === undefined ? { value: null, host: null } : { value: { address: formatAddress({ host, port, family: 6 }), port: parsed.port }, host }
  }

  #number6(host: string): number {
    this.#newest = host
    const known = this.#hosts.get(host)
    if (known !== undefined) {
      this.#hosts.delete(host)
      this.#hosts.set(host, known)
      return known
    }
    this.#count = (this.#count + 1) >>> 0
    for (const [oldest, number] of this.#hosts) {
      if (this.#hosts.size < MAX_HOSTS) break
      this.#hosts.delete(oldest)
      this.#byNumber.delete(number)
      this.#names.clear()
      this.#peers.clear()
    }
    this.#hosts.set(host, this.#count)
    this.#byNumber.set(this.#count, host)
    return this.#count
  }
}

/** Keeps so many; then begins anew. */
function remember<T>(known: Map<string, T>, key: string, value: T): void {
  if (known.size >= MAX_KNOWN) known.clear()
  known.set(key, value)
}

function number4(host: string): number {
  return host.split('.').reduce((number, byte) => number * 256 + Number(byte), 0)
}

/** The eight groups of an IPv6 address without an embedded IPv4 one. */
function expand(host: string): number[] | null {
  const [before = '', after] = host.split('::')
  const [front, back] = [before, after ?? ''].map((part) => (part === '' ? [] : part.split(':').map((group) => Number.parseInt(group, 16))))
  if (front === undefined || back === undefined) return null
  const groups = after === undefined ? front : [...front, ...Array<number>(Math.max(0, 8 - front.length - back.length)).fill(0), ...back]
  return groups.length === 8 && groups.every((group) => Number.isInteger(group)) ? groups : null
}

function hex(number: number): string {
  return number.toString(16)
}
