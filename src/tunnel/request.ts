/**
 * What the opener of a stream says first (tunnel.md §4a). Every stream of a tunnel begins with it; the answer is one byte 0, or a reset.
 *
 * | byte | field |
 * | 0 | kind: 1 = join this stream to the target, 2 = may I (first stream of a connection, answered and ended), 3 = goodbye (answered when everything has reached the targets), 4 = a flow of UDP, as long as this stream is open, 5 = may I, for UDP |
 * | 1-2 | port asked for, big-endian; 0 in the kinds 2, 3 and 5 alone: targets are named with each stream |
 * | 3 | length of the name |
 * | 4.. | name of the target as the client knows it, UTF-8; empty: none. Never resolved by the server |
 */

export const RequestKind = { CONNECT: 1, HELLO: 2, GOODBYE: 3, UDP: 4, HELLO_UDP: 5 } as const
export type RequestKind = (typeof RequestKind)[keyof typeof RequestKind]

/** The byte that says: go on. */
export const ACCEPT = 0

const HEAD_BYTES = 4
/** Bytes of a name on the wire. */
export const MAX_NAME_BYTES = 255

export interface Request {
  kind: RequestKind
  /** 0: none in particular; never of CONNECT or UDP. */
  port: number
  /** Null: the client named none. */
  host: string | null
}

/** For people: `name:port`, or the port alone. */
export function targetName({ host, port }: Pick<Request, 'host' | 'port'>): string {
  return host === null ? String(port) : `${host.includes(':') ? `[${host}]` : host}:${port}`
}

/** `host` has at most 255 bytes. */
export function encodeRequest({ kind, port, host }: Request): Uint8Array {
  const name = Buffer.from(host ?? '', 'utf8')
  return Uint8Array.from([kind, port >> 8, port & 0xff, name.length, ...name])
}

/** Takes a request out of bytes as they come. */
export class RequestReader {
  readonly #bytes = new Uint8Array(HEAD_BYTES + MAX_NAME_BYTES)
  #length = 0

  /** The request when it is whole; null: more is needed. 'bad': it is none, or something stands behind it. */
  push(piece: Uint8Array): Request | 'bad' | null {
    if (this.#length + piece.length > this.#bytes.length) return 'bad'
    this.#bytes.set(piece, this.#length)
    this.#length += piece.length
    const [kind = 0, high = 0, low = 0, name = 0] = this.#bytes
    if (this.#length === 0) return null
    if (!isKind(kind)) return 'bad'
    if (this.#length < HEAD_BYTES || this.#length < HEAD_BYTES + name) return null
    if (this.#length > HEAD_BYTES + name || (high + low === 0 && (kind === RequestKind.CONNECT || kind === RequestKind.UDP))) return 'bad'
    return { kind, port: high * 256 + low, host: name === 0 ? null : text(this.#bytes.subarray(HEAD_BYTES, this.#length)) }
  }
}

function isKind(byte: number): byte is RequestKind {
  return byte >= RequestKind.CONNECT && byte <= RequestKind.HELLO_UDP
}

/** What is no UTF-8 has replacement characters, and so equals no name that anybody allows. */
function text(bytes: Uint8Array): string {
  return new TextDecoder().decode(bytes)
}
