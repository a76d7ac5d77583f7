/**
 * Control messages (reverse.md V4), both ways the same form. Bytes only; who may say what and when is `control.ts`'s and its users' concern.
 *
 * ```text
 *   0        2      3
 *   +--------+------+-----------------------------------------+
 *   | length | type | fields: tag (1), length (2), bytes, ... |      length: of all that follows it, 1...4096; integers big-endian
 *   +--------+------+-----------------------------------------+
 *   1 HELLO   1 version (2)   2 service (1...255, UTF-8)   3 wanted pool size (2)
 *   2 ACCEPT  1 pool key (1...255, UTF-8)   2 most ms between PINGs (4, 0: any)   3 connections that one key may have (4)
 *   3 REFUSE  1 code (8)   2 text (0...512, UTF-8)
 *   4 GOAWAY  1 code (8)   2 text (0...512, UTF-8)   3 request streams that its sender has opened in all (8), if it is the requester
 * ```
 * A field may stand once; those without a meaning here are skipped. An unknown type, a field of a wrong length, a field that is missing (only
 * texts, and field 3 of GOAWAY, may be) and text that nobody can read make a message malformed.
 */
import { MAX_TEXT_BYTES, cutText, isName, textOf } from './names.ts'

/** Of what follows the length. */
export const MAX_MESSAGE_BYTES = 4096
/** What HELLO says. */
export const PROTOCOL_VERSION = 1

export interface HelloMessage { type: 'hello'; version: number; service: string; pool: number }
export interface AcceptMessage { type: 'accept'; key: string; /** 0: any. */ pingMs: number; maxPerKey: number }
export interface RefuseMessage { type: 'refuse'; code: bigint; text: string }
export interface GoAwayMessage { type: 'goaway'; code: bigint; text: string; /** Null: the sender is not the requester. */ streams: number | null }
export type ControlMessage = HelloMessage | AcceptMessage | RefuseMessage | GoAwayMessage

const Type = { HELLO: 1, ACCEPT: 2, REFUSE: 3, GOAWAY: 4 } as const
const HEAD_BYTES = 2
const FIELD_HEAD_BYTES = 3

/** The whole message with its length. Texts that are too long are cut. @throws RangeError for what cannot be said */
export function encodeMessage(message: ControlMessage): Uint8Array {
  switch (message.type) {
    case 'hello': return frame(Type.HELLO, [uint(message.version, 2), name(message.service), uint(message.pool, 2)])
    case 'accept': return frame(Type.ACCEPT, [name(message.key), uint(message.pingMs, 4), uint(message.maxPerKey, 4)])
    case 'refuse': return frame(Type.REFUSE, [uint(message.code, 8), Buffer.from(cutText(message.text))])
    case 'goaway': return frame(Type.GOAWAY, [uint(message.code, 8), Buffer.from(cutText(message.text)), ...(message.streams === null ? [] : [uint(message.streams, 8)])])
  }
}

/** What follows the length. Null: malformed. */
export function decodeMessage(bytes: Uint8Array): ControlMessage | null {
  const fields = bytes.length > MAX_MESSAGE_BYTES ? null : fieldsOf(bytes.subarray(1))
  if (fields === null) return null
  switch (bytes[0]) {
    case Type.HELLO: return hello(fields)
    case Type.ACCEPT: return accept(fields)
    case Type.REFUSE: return refuse(fields)
    case Type.GOAWAY: return goAway(fields)
    default: return null
  }
}

/** Puts messages together from pieces of any size; holds one message at most. */
export class MessageReader {
  #held: Buffer = Buffer.alloc(0)

  /** Bytes that have come. A piece is taken whole, so it should be taken apart by `next` before there is another. */
  push(bytes: Uint8Array): void {
    this.#held = this.#held.length === 0 ? Buffer.from(bytes) : Buffer.concat([this.#held, bytes])
  }

  /** Bytes of a message that is not complete. */
  get rest(): number {
    return this.#held.length
  }

  /** The next message, null for one that is malformed, undefined while it is not complete. After null nothing makes sense any more. */
  next(): ControlMessage | null | undefined {
    if (this.#held.length < HEAD_BYTES) return undefined
    const length = this.#held.readUInt16BE(0)
    if (length === 0 || length > MAX_MESSAGE_BYTES) return null
    if (this.#held.length < HEAD_BYTES + length) return undefined
    const bytes = this.#held.subarray(HEAD_BYTES, HEAD_BYTES + length)
    this.#held = this.#held.subarray(HEAD_BYTES + length)
    return decodeMessage(bytes)
  }
}

type Fields = ReadonlyMap<number, Uint8Array>

function hello(fields: Fields): HelloMessage | null {
  const [version, service, pool] = [uintOf(fields.get(1), 2), nameOf(fields.get(2)), uintOf(fields.get(3), 2)]
  return version === null || service === null || pool === null ? null : { type: 'hello', version: Number(version), service, pool: Number(pool) }
}

function accept(fields: Fields): AcceptMessage | null {
  const [key, pingMs, maxPerKey] = [nameOf(fields.get(1)), uintOf(fields.get(2), 4), uintOf(fields.get(3), 4)]
  return key === null || pingMs === null || maxPerKey === null ? null : { type: 'accept', key, pingMs: Number(pingMs), maxPerKey: Number(maxPerKey) }
}

function refuse(fields: Fields): RefuseMessage | null {
  const [code, text] = [codeOf(fields.get(1)), wordsOf(fields.get(2))]
  return code === null || text === null ? null : { type: 'refuse', code, text }
}

function goAway(fields: Fields): GoAwayMessage | null {
  const [code, text] = [codeOf(fields.get(1)), wordsOf(fields.get(2))]
  const streams = fields.has(3) ? uintOf(fields.get(3), 8) : -1n
  // A connection has no more streams than that (RFC 9000 §4.6).
  if (code === null || text === null || streams === null || streams > 1n << 60n) return null
  return { type: 'goaway', code, text, streams: streams < 0n ? null : Number(streams) }
}

/** Null: the fields do not fill their place, or one stands twice. */
function fieldsOf(bytes: Uint8Array): Fields | null {
  const fields = new Map<number, Uint8Array>()
  let at = 0
  while (at < bytes.length) {
    const [tag, high, low] = bytes.subarray(at, at + FIELD_HEAD_BYTES)
    if (tag === undefined || high === undefined || low === undefined || fields.has(tag)) return null
    const start = at + FIELD_HEAD_BYTES
    const end = start + high * 256 + low
    if (end > bytes.length) return null
    fields.set(tag, bytes.subarray(start, end))
    at = end
  }
  return fields
}

function uintOf(bytes: Uint8Array | undefined, size: number): bigint | null {
  if (bytes === undefined || bytes.length !== size) return null
  let value = 0n
  for (const byte of bytes) value = value * 256n + BigInt(byte)
  return value
}

/** A QUIC error code: below 2^62. */
function codeOf(bytes: Uint8Array | undefined): bigint | null {
  const code = uintOf(bytes, 8)
  return code === null || code >= 1n << 62n ? null : code
}

function nameOf(bytes: Uint8Array | undefined): string | null {
  const text = bytes === undefined ? null : textOf(bytes)
  return isName(text) ? text : null
}

function wordsOf(bytes: Uint8Array | undefined): string | null {
  if (bytes === undefined) return ''
  return bytes.length > MAX_TEXT_BYTES ? null : textOf(bytes)
}

/** Fields with the tags 1, 2, 3 in order. */
function frame(type: number, fields: readonly Uint8Array[]): Uint8Array {
  const length = fields.reduce((sum, { length: bytes }) => sum + FIELD_HEAD_BYTES + bytes, 1)
  const out = Buffer.alloc(HEAD_BYTES + length)
  let at = out.writeUInt8(type, out.writeUInt16BE(length, 0))
  for (const [index, field] of fields.entries()) {
    at = out.writeUInt16BE(field.length, out.writeUInt8(index + 1, at))
    out.set(field, at)
    at += field.length
  }
  return out
}

function uint(value: number | bigint, size: 2 | 4 | 8): Uint8Array {
  const out = Buffer.alloc(8)
  out.writeBigUInt64BE(BigInt(value))
  if (BigInt(value) >= 1n << BigInt(size * 8)) throw new RangeError(`${value} does not fit ${size} bytes`)
  return out.subarray(8 - size)
}

function name(text: string): Uint8Array {
  if (!isName(text)) throw new RangeError('a name has 1 to 255 bytes that people can read')
  return Buffer.from(text)
}
