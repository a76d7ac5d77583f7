/**
 * SOCKS5 of one TCP connection, as a server speaks it: RFC 1928 with CONNECT and no other command, without authentication or with a name and a
 * password (RFC 1929). Takes bytes, answers bytes; no I/O. Strict: what is not exactly the protocol ends the connection, and nothing is kept beyond the
 * longest message.
 *
 * | step | from the client | to the client |
 * | methods | 5, n, n methods | 5, method or 0xff |
 * | password | 1, length, name, length, password | 1, 0 or 1 |
 * | request | 5, command, 0, type, address, port | 5, reply, 0, 1, 0.0.0.0, 0 |
 */
import { createHash, timingSafeEqual } from 'node:crypto'
import { canonicalIp } from './scope.ts'
import type { HostPort } from './specs.ts'

/** RFC 1928 §6. */
export const SocksReply = { OK: 0, FAILURE: 1, NOT_ALLOWED: 2, NETWORK_UNREACHABLE: 3, HOST_UNREACHABLE: 4, REFUSED: 5, NO_COMMAND: 7, NO_ADDRESS_TYPE: 8 } as const
export type SocksReply = (typeof SocksReply)[keyof typeof SocksReply]

export interface Credentials {
  user: string
  password: string
}

/** What to do after bytes came: send `reply`, then wait for more, end, or go to a target. */
export interface SocksStep {
  reply: Uint8Array | null
  next: 'more' | 'end' | 'connect'
  target: HostPort | null
  /** Bytes behind the request: the client's first ones for the target. */
  rest: Uint8Array
}

const VERSION = 5
const PASSWORD_VERSION = 1
const NO_METHOD = 0xff
const Method = { NONE: 0, PASSWORD: 2 } as const
const AddressType = { IPV4: 1, NAME: 3, IPV6: 4 } as const
const CONNECT = 1
/** Of a password message, the longest. */
const MAX_BYTES = 3 + 255 + 255
const NOTHING = new Uint8Array()
/** Printable ASCII: what a name may consist of on its way to a comparison. */
const NAME = /^[\u0021-\u007E]+$/

type Message = { bytes: number } | null

export class SocksReader {
  readonly #credentials: Credentials | null
  #step: 'methods' | 'password' | 'request' | 'over' = 'methods'
  #bytes: Uint8Array = NOTHING

  constructor(credentials: Credentials | null) {
    this.#credentials = credentials
  }

  /** Never throws. After 'end' and 'connect' nothing more is read. */
  push(piece: Uint8Array): SocksStep {
    if (this.#step === 'over') return { reply: null, next: 'end', target: null, rest: NOTHING }
    this.#bytes = this.#bytes.length === 0 ? piece : Buffer.concat([this.#bytes, piece])
    const replies: Uint8Array[] = []
    for (;;) {
      const step = this.#take()
      if (step?.reply !== undefined && step.reply !== null) replies.push(step.reply)
      const reply = replies.length === 0 ? null : Buffer.concat(replies)
      if (step === null) return this.#bytes.length > MAX_BYTES ? this.#end(reply) : { reply, next: 'more', target: null, rest: NOTHING }
      if (step.next !== 'more') {
        const rest = this.#bytes
        this.#end(null)
        return { ...step, reply, rest: step.next === 'connect' ? rest : NOTHING }
      }
    }
  }

  #end(reply: Uint8Array | null): SocksStep {
    this.#step = 'over'
    this.#bytes = NOTHING
    return { reply, next: 'end', target: null, rest: NOTHING }
  }

  /** One whole message, if there is one. */
  #take(): Omit<SocksStep, 'rest'> | null {
    switch (this.#step) {
      case 'methods': return this.#methods()
      case 'password': return this.#password()
      default: return this.#request()
    }
  }

  /** Takes so many bytes off the front. */
  #cut(length: number): Uint8Array {
    const message = this.#bytes.subarray(0, length)
    this.#bytes = this.#bytes.subarray(length)
    return message
  }

  #methods(): Omit<SocksStep, 'rest'> | null {
    const [version = VERSION, count] = this.#bytes
    // A client of another protocol waits for another answer: none is better.
    if (version !== VERSION) return END
    if (count === undefined || this.#bytes.length < 2 + count) return null
    const offered = this.#cut(2 + count).subarray(2)
    const method = this.#credentials === null ? Method.NONE : Method.PASSWORD
    if (!offered.includes(method)) return { ...END, reply: Uint8Array.of(VERSION, NO_METHOD) }
    this.#step = method === Method.NONE ? 'request' : 'password'
    return { reply: Uint8Array.of(VERSION, method), next: 'more', target: null }
  }

  #password(): Omit<SocksStep, 'rest'> | null {
    const [version = PASSWORD_VERSION, userBytes] = this.#bytes
    if (version !== PASSWORD_VERSION || userBytes === 0) return END
    if (userBytes === undefined) return null
    const passwordBytes = this.#bytes[2 + userBytes]
    if (passwordBytes === undefined || this.#bytes.length < 3 + userBytes + passwordBytes) return null
    const message = this.#cut(3 + userBytes + passwordBytes)
    const good = this.#known(message.subarray(2, 2 + userBytes), message.subarray(3 + userBytes))
    this.#step = 'request'
    return good ? { reply: Uint8Array.of(PASSWORD_VERSION, 0), next: 'more', target: null } : { ...END, reply: Uint8Array.of(PASSWORD_VERSION, 1) }
  }

  #known(user: Uint8Array, password: Uint8Array): boolean {
    const { user: ourUser, password: ourPassword } = this.#credentials ?? { user: '', password: '' }
    const [first, second] = [same(user, ourUser), same(password, ourPassword)]
    return first && second
  }

  #request(): Omit<SocksStep, 'rest'> | null {
    const bytes = this.#bytes
    const [version = VERSION, command, reserved = 0, type] = bytes
    if (version !== VERSION || reserved !== 0) return END
    if (command !== undefined && command !== CONNECT) return refuse(SocksReply.NO_COMMAND)
    if (type === undefined) return null
    const address = addressOf(type, bytes)
    if (address === 'unknown') return refuse(SocksReply.NO_ADDRESS_TYPE)
    if (address === null || bytes.length < address.bytes + 2) return null
    const message = this.#cut(address.bytes + 2)
    const host = hostOf(type, message)
    const [high = 0, low = 0] = message.subarray(-2)
    const port = high * 256 + low
    return host === null || port === 0 ? refuse(SocksReply.FAILURE) : { reply: null, next: 'connect', target: { host, port } }
  }
}

const END: Omit<SocksStep, 'rest'> = { reply: null, next: 'end', target: null }

/** The answer to a request. */
export function socksReply(reply: SocksReply): Uint8Array {
  return Uint8Array.of(VERSION, reply, 0, AddressType.IPV4, 0, 0, 0, 0, 0, 0)
}

function refuse(reply: SocksReply): Omit<SocksStep, 'rest'> {
  return { ...END, reply: socksReply(reply) }
}

/** Where the address of a request ends; null: not known yet. */
function addressOf(type: number, bytes: Uint8Array): Message | 'unknown' {
  if (type === AddressType.IPV4) return { bytes: 8 }
  if (type === AddressType.IPV6) return { bytes: 20 }
  if (type !== AddressType.NAME) return 'unknown'
  const length = bytes[4]
  return length === undefined ? null : { bytes: 5 + length }
}

/** Null: a name that is none. */
function hostOf(type: number, message: Uint8Array): string | null {
  if (type === AddressType.IPV4) return message.subarray(4, 8).join('.')
  if (type === AddressType.NAME) {
    const name = Buffer.from(message.subarray(5, -2)).toString('latin1')
    return NAME.test(name) ? (canonicalIp(name) ?? name) : null
  }
  const view = new DataView(message.buffer, message.byteOffset + 4, 16)
  return canonicalIp(Array.from({ length: 8 }, (_, group) => view.getUint16(group * 2).toString(16)).join(':'))
}

/** In a time that tells nothing of how much is the same. */
function same(given: Uint8Array, own: string): boolean {
  const [one, other] = [given, own].map((bytes) => createHash('sha256').update(bytes).digest())
  return one !== undefined && other !== undefined && timingSafeEqual(one, other)
}
