/**
 * What a client and its relay say to each other on the one bidirectional stream of a registration (traversal T-35; ALPN `quicbraid-relay/1`).
 * Pure: bytes in, frames out. Bytes of the peer never make it allocate more than a frame.
 *
 *   frame: length of type and body (16), type (8), body; big-endian
 *
 *   | type | name | from | body |
 *   | 0x01 | REGISTER | client | 0x00, or 0x01 and the token (at most 1024 bytes) |
 *   | 0x81 | REGISTERED | relay | ms that it is good for (32), family 0x04 or 0x06, IP, port (16) |
 *   | 0x82 | REFUSED | relay | reason, UTF-8, at most 256 bytes |
 *
 * Other types are skipped by their length. Nothing else ends a frame: a body of another size is a fault.
 */
import { isIPv4, SocketAddress } from 'node:net'
import { formatAddress, parseAddress, MAX_TOKEN_BYTES } from '../config/index.ts'
import type { Bytes } from '../config/index.ts'

export const RELAY_ALPN = 'quicbraid-relay/1'

/** Application codes that end a registration's connection. */
export const RelayCode = {
  /** The client, or the relay, wants no more. */
  DONE: 0,
  /** Bytes that are no frame, or too many frames. */
  FAULT: 1,
  REFUSED: 2,
  /** No REGISTER came in time, or no verdict. */
  TIMEOUT: 3,
  /** As many are registered as can be. */
  FULL: 4,
} as const

export type RelayFrame =
  | { type: 'register'; token: Bytes | null }
  | { type: 'registered'; forMs: number; outer: string }
  | { type: 'refused'; reason: string }

/** Length of the largest frame that anybody may send, the two bytes of its length not counted. */
const MAX_FRAME_BYTES = 2048
const MAX_REASON_BYTES = 256
const HEAD = 2
const TYPES = { register: 0x01, registered: 0x81, refused: 0x82 } as const

/** Bytes that are no frame; the connection ends with `RelayCode.FAULT`. */
export class RelayFault extends Error {}

export function encodeRelayFrame(frame: RelayFrame): Buffer {
  const body = bodyOf(frame)
  const head = Buffer.alloc(HEAD + 1)
  head.writeUInt16BE(body.length + 1, 0)
  head[HEAD] = TYPES[frame.type]
  return Buffer.concat([head, body])
}

function bodyOf(frame: RelayFrame): Buffer {
  switch (frame.type) {
    case 'register': return frame.token === null ? Buffer.of(0) : Buffer.concat([Buffer.of(1), frame.token.subarray(0, MAX_TOKEN_BYTES)])
    case 'refused': return utf8(frame.reason)
    case 'registered': {
      const address = parseAddress(frame.outer)
      const ip = address === null ? Buffer.alloc(4) : ipBytes(address.host)
      const body = Buffer.alloc(5 + ip.length + 2)
      body.writeUInt32BE(Math.min(frame.forMs, 0xffff_ffff), 0)
      body[4] = ip.length === 4 ? 4 : 6
      ip.copy(body, 5)
      body.writeUInt16BE(address?.port ?? 0, 5 + ip.length)
      return body
    }
  }
}

/** Frames out of pieces of bytes. */
export class RelayReader {
  #rest: Buffer = Buffer.alloc(0)

  /** The frames that these bytes complete, unknown ones left out. @throws RelayFault */
  read(bytes: Bytes): RelayFrame[] {
    this.#rest = this.#rest.length === 0 ? Buffer.from(bytes) : Buffer.concat([this.#rest, bytes])
    const frames: RelayFrame[] = []
    let at = 0
    while (this.#rest.length - at >= HEAD) {
      const length = this.#rest.readUInt16BE(at)
      if (length === 0 || length > MAX_FRAME_BYTES) throw new RelayFault(`a frame of ${length} bytes`)
      if (this.#rest.length - at - HEAD < length) break
      const frame = decode(this.#rest.subarray(at + HEAD, at + HEAD + length))
      if (frame !== null) frames.push(frame)
      at += HEAD + length
    }
    this.#rest = Buffer.from(this.#rest.subarray(at))
    return frames
  }

  /** Bytes of a frame that is not complete. */
  get waiting(): number {
    return this.#rest.length
  }
}

function decode(bytes: Buffer): RelayFrame | null {
  const body = bytes.subarray(1)
  switch (bytes[0]) {
    case TYPES.register: return register(body)
    case TYPES.registered: return registered(body)
    case TYPES.refused:
      if (body.length > MAX_REASON_BYTES) throw new RelayFault('a reason that is too long')
      return { type: 'refused', reason: body.toString('utf8') }
    default: return null
  }
}

function register(body: Buffer): RelayFrame {
  if (body.length === 1 && body[0] === 0) return { type: 'register', token: null }
  if (body[0] !== 1 || body.length > 1 + MAX_TOKEN_BYTES) throw new RelayFault('a REGISTER of another form')
  return { type: 'register', token: Uint8Array.from(body.subarray(1)) }
}

function registered(body: Buffer): RelayFrame {
  const size = body[4] === 4 ? 4 : body[4] === 6 ? 16 : 0
  if (size === 0 || body.length !== 5 + size + 2) throw new RelayFault('a REGISTERED of another form')
  const ip = body.subarray(5, 5 + size)
  const host = size === 4 ? ip.join('.') : new SocketAddress({ family: 'ipv6', address: hexGroups(ip) }).address
  const port = body.readUInt16BE(5 + size)
  if (port === 0) throw new RelayFault('an address without a port')
  return { type: 'registered', forMs: body.readUInt32BE(0), outer: formatAddress({ host, port, family: size === 4 ? 4 : 6 }) }
}

/** Whole characters only. */
function utf8(text: string): Buffer {
  const bytes = Buffer.from(text, 'utf8')
  let end = Math.min(bytes.length, MAX_REASON_BYTES)
  while (end > 0 && end < bytes.length && ((bytes[end] ?? 0) & 0xc0) === 0x80) end -= 1
  return bytes.subarray(0, end)
}

function ipBytes(host: string): Buffer {
  if (isIPv4(host)) return Buffer.from(host.split('.').map(Number))
  // One spelling first: groups of hex digits, with at most one gap; a tail in dots becomes two groups.
  const canonical = new SocketAddress({ family: 'ipv6', address: host.split('%')[0] ?? host }).address
  const dotted = /^(.*:)(\d+)\.(\d+)\.(\d+)\.(\d+)$/.exec(canonical)
  const text = dotted === null ? canonical : `${dotted[1]}${((Number(dotted[2]) << 8) | Number(dotted[3])).toString(16)}:${((Number(dotted[4]) << 8) | Number(dotted[5])).toString(16)}`
  const [left = '', right] = text.split('::')
  const groups = (part: string): string[] => (part === '' ? [] : part.split(':'))
  const [before, after] = [groups(left), groups(right ?? '')]
  const all = right === undefined ? before : [...before, ...Array.from({ length: 8 - before.length - after.length }, () => '0'), ...after]
  const bytes = Buffer.alloc(16)
  for (const [index, group] of all.entries()) bytes.writeUInt16BE(Number.parseInt(group, 16), index * 2)
  return bytes
}

function hexGroups(ip: Buffer): string {
  return Array.from({ length: 8 }, (_, index) => ip.readUInt16BE(index * 2).toString(16)).join(':')
}
