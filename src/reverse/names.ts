/** Which texts may be names of services and keys of pools, and how texts of a peer are shown to people: nothing of it may disturb a terminal or a log. */

/** Longest service name and pool key, UTF-8 bytes. */
export const MAX_NAME_BYTES = 255
/** Longest words of a REFUSE or GOAWAY, UTF-8 bytes; longer ones are cut when they are sent. */
export const MAX_TEXT_BYTES = 512

/** Control characters, halves of surrogates, separators of lines, and what turns the direction of writing or is not seen. */
const UNSEEN = /[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/u
const ALL_UNSEEN = new RegExp(UNSEEN.source, 'gu')
const STRICT = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

/** 1 to 255 bytes that people can read. */
export function isName(value: unknown): value is string {
  return typeof value === 'string' && value !== '' && Buffer.byteLength(value) <= MAX_NAME_BYTES && !UNSEEN.test(value)
}

/** Null: it is no UTF-8. */
export function textOf(bytes: Uint8Array): string | null {
  try {
    return STRICT.decode(bytes)
  } catch {
    return null
  }
}

/** One line that can be read, of any text. */
export function shown(text: string): string {
  return text.replaceAll(ALL_UNSEEN, '\u{FFFD}')
}

/** The first bytes of a text, whole characters only. */
export function cutText(text: string, maxBytes: number = MAX_TEXT_BYTES): string {
  if (Buffer.byteLength(text) <= maxBytes) return text
  const { written } = new TextEncoder().encodeInto(text, new Uint8Array(maxBytes))
  return Buffer.from(text).toString('utf8', 0, written)
}
