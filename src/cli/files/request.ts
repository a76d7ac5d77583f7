/** HTTP/0.9 over QUIC streams (`hq-interop`): `GET /path\r\n`, the answer is the file and FIN. */

export const HQ_ALPN = 'hq-interop'

/** Stream code of our server: no such file, or outside the folder. */
export const NOT_FOUND = 0x404

/** Stream code of our server: not a request we know, or `put` where it is not allowed. */
export const FORBIDDEN = 0x403

/** Longest request line we read, in bytes. */
export const MAX_REQUEST_BYTES = 8192

/** The bytes that ask for `path` (percent-encoded, begins with a slash). */
export function writeRequest(path: string): Uint8Array {
  return new TextEncoder().encode(`GET ${path}\r\n`)
}

export interface Request {
  method: string
  /** As it came, percent-encoded. */
  path: string
}

/** A whole request line, with or without its line end; null if it is none. */
export function readRequest(line: Uint8Array): Request | null {
  const text = new TextDecoder('utf-8', { fatal: false }).decode(line)
  const match = /^([A-Z]+) (\/[^\s]*)(?: [^\r\n]*)?\r?\n?$/.exec(text)
  return match === null ? null : { method: match[1] ?? '', path: match[2] ?? '' }
}
