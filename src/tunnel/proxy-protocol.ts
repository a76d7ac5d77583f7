/**
 * The header of the PROXY protocol, version 2, that a target gets before anything else: who comes, and where it is going.
 *
 * | byte | field |
 * | 0-11 | signature |
 * | 12 | 0x21: version 2, PROXY · 0x20: LOCAL, nobody is told |
 * | 13 | 0x11: TCP over IPv4 · 0x21: TCP over IPv6 · 0: neither |
 * | 14-15 | length of the rest, big-endian |
 * | 16.. | source address, destination address, source port, destination port |
 */
import { isIPv6 } from 'node:net'
import { parseAddress } from '../config/index.ts'

const SIGNATURE = [0x0d, 0x0a, 0x0d, 0x0a, 0x00, 0x0d, 0x0a, 0x51, 0x55, 0x49, 0x54, 0x0a]

/** Addresses with ports. Of two families the IPv4 one is written as IPv6; what is no address makes a header that tells nobody. */
export function proxyHeader(source: string, destination: string): Uint8Array {
  const [from, to] = [parseAddress(source), parseAddress(destination)]
  if (from === null || to === null) return Uint8Array.from([...SIGNATURE, 0x20, 0, 0, 0])
  const four = from.family === 4 && to.family === 4
  const bytes = four ? [...ipv4(from.host), ...ipv4(to.host)] : [...ipv6(from.host), ...ipv6(to.host)]
  return Uint8Array.from([...SIGNATURE, 0x21, four ? 0x11 : 0x21, 0, bytes.length + 4, ...bytes, ...port(from.port), ...port(to.port)])
}

function port(number: number): number[] {
  return [number >> 8, number & 0xff]
}

function ipv4(host: string): number[] {
  return host.split('.').map(Number)
}

function ipv6(host: string): number[] {
  if (!isIPv6(host)) return [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, ...ipv4(host)]
  const [text = '', dotted] = /^(.*:)(\d+\.\d+\.\d+\.\d+)$/.exec(host)?.slice(1) ?? [host]
  const tail = dotted === undefined ? [] : ipv4(dotted)
  const [before = '', after] = (tail.length > 0 && !text.endsWith('::') ? text.slice(0, -1) : text).split('::')
  const bytesOf = (part: string): number[] => (part === '' ? [] : part.split(':').flatMap((group) => port(Number.parseInt(group, 16))))
  const [front, back] = [bytesOf(before), [...bytesOf(after?.replace(/:$/, '') ?? ''), ...tail]]
  return [...front, ...Array<number>(Math.max(0, 16 - front.length - back.length)).fill(0), ...back]
}
