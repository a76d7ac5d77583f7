/**
 * The header of pseudo-ports in front of every datagram of a header carrier (tunnel.md §1). Reads bytes of the network: never throws, never allocates.
 *
 * | byte | field |
 * | 0 | type: 1 to the server, 2 to the client |
 * | 1-2 | pseudo-port, big-endian: the client's own in both |
 * | 3 | the two low bits are the ECN field of the datagram inside; the others are sent as 0 and ignored |
 */
import type { Ecn } from '../binding/index.ts'

export const HEADER_BYTES = 4

export const HeaderType = { TO_SERVER: 1, TO_CLIENT: 2 } as const
export type HeaderType = (typeof HeaderType)[keyof typeof HeaderType]

/** By the two bits on the wire. */
const ECN: readonly Ecn[] = ['not-ect', 'ect1', 'ect0', 'ce']

export interface Header {
  type: HeaderType
  /** 0...65535; 0 is nobody's. */
  port: number
  ecn: Ecn
}

/** Writes at `at`, where four bytes have room. */
export function writeHeader(target: Uint8Array, at: number, { type, port, ecn }: Header): void {
  target[at] = type
  target[at + 1] = port >> 8
  target[at + 2] = port & 0xff
  target[at + 3] = ECN.indexOf(ecn)
}

/** The header of a datagram, or why it is dropped: nothing stands behind it, or its type is none. */
export function readHeader(bytes: Uint8Array): Header | 'short' | 'type' {
  const [type = 0, high = 0, low = 0, ecn = 0] = bytes
  if (bytes.length <= HEADER_BYTES) return 'short'
  if (type !== HeaderType.TO_SERVER && type !== HeaderType.TO_CLIENT) return 'type'
  return { type, port: high * 256 + low, ecn: ECN[ecn & 3] ?? 'not-ect' }
}
