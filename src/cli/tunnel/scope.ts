/** Where an IP leads, as far as it tells itself: for the question whether a name may become it (attacks H1). Pure. */
import { isIP, SocketAddress } from 'node:net'

/** From the most private on: `special` is nobody's to dial (unspecified, multicast, reserved). */
export type Scope = 'special' | 'link-local' | 'loopback' | 'private' | 'public'

/** The one spelling of an IP, IPv4 within IPv6 as IPv4; null: it is none, or has a zone. */
export function canonicalIp(text: string): string | null {
  const family = isIP(text)
  if (family === 0 || text.includes('%')) return null
  if (family === 4) return text
  const { address } = new SocketAddress({ address: text, family: 'ipv6' })
  const groups = groupsOf(address)
  return groups.slice(0, 5).every((group) => group === 0) && groups[5] === 0xffff ? dotted(groups) : address
}

/** Of what is no IP: special. */
export function scopeOf(text: string): Scope {
  const ip = canonicalIp(text)
  if (ip === null) return 'special'
  if (isIP(ip) === 4) return scope4(ip.split('.').map(Number))
  const groups = groupsOf(ip)
  const [first = 0, second = 0] = groups
  // NAT64 (RFC 6052, RFC 8215) and 6to4 lead to the IPv4 address inside.
  if (first === 0x64 && second === 0xff9b) return scope4(bytesOf(groups.slice(6)))
  if (first === 0x2002) return scope4(bytesOf(groups.slice(1, 3)))
  if (groups.slice(0, 7).every((group) => group === 0)) return groups[7] === 1 ? 'loopback' : 'special'
  // Compatible with IPv4 (RFC 4291 §2.5.5.1), translated, discard only, documentation, Teredo, multicast.
  if (first === 0 || first === 0x100 || (first === 0x2001 && (second === 0xdb8 || second === 0)) || first >= 0xff00) return 'special'
  if ((first & 0xffc0) === 0xfe80) return 'link-local'
  return (first & 0xfe00) === 0xfc00 || (first & 0xffc0) === 0xfec0 ? 'private' : 'public'
}

function scope4([a = 0, b = 0, c = 0]: readonly number[]): Scope {
  if (a === 127) return 'loopback'
  if (a === 169 && b === 254) return 'link-local'
  if (a === 0 || a >= 224 || (a === 192 && b === 0 && (c === 0 || c === 2)) || (a === 198 && b === 51 && c === 100) || (a === 203 && b === 0 && c === 113)) return 'special'
  const shared = a === 100 && b >= 64 && b < 128
  return a === 10 || (a === 172 && b >= 16 && b < 32) || (a === 192 && b === 168) || shared || (a === 198 && (b === 18 || b === 19)) ? 'private' : 'public'
}

function groupsOf(ip: string): number[] {
  const [before = '', after] = ip.replace(/(\d+)\.(\d+)\.(\d+)\.(\d+)$/, (_, ...bytes: string[]) => {
    const [a = 0, b = 0, c = 0, d = 0] = bytes.slice(0, 4).map(Number)
    return `${(a * 256 + b).toString(16)}:${(c * 256 + d).toString(16)}`
  }).split('::')
  const [front, back] = [before, after ?? ''].map((part) => (part === '' ? [] : part.split(':').map((group) => Number.parseInt(group, 16)))) as [number[], number[]]
  return [...front, ...Array<number>(Math.max(0, 8 - front.length - back.length)).fill(0), ...back]
}

function bytesOf(groups: readonly number[]): number[] {
  return groups.flatMap((group) => [group >> 8, group & 0xff])
}

function dotted(groups: readonly number[]): string {
  return bytesOf(groups.slice(6)).join('.')
}
