/**
 * What a DATAGRAM frame of a tunnel holds (RFC 9297 §2.1, RFC 9298 §5): one payload of UDP, with the stream it belongs to. Reads and writes;
 * what is done with what cannot be read is decided in `udp-switch.ts`.
 *
 * | field | bytes | meaning |
 * | Quarter Stream ID | 1, 2, 4 or 8 | number of the flow's stream (bidirectional, the client's), divided by 4; at most 2^60 - 1 |
 * | Context ID | 1, 2, 4 or 8 | 0: a payload of UDP; we send nothing else, and know nothing else |
 * | payload | the rest, 0...65527 | as it came |
 */

/** More cannot stand in UDP (RFC 9298 §5). */
export const MAX_UDP_BYTES = 65_527

export interface Message {
  /** Quarter Stream ID; from 2^53 on not exact, and no flow's. */
  flow: number
  payload: Uint8Array
}

/** 'malformed': no message; 'context': of an unknown context; with its flow, 'oversize': longer than UDP is. */
export type Reading = Message | 'malformed' | 'context' | { flow: number; payload: 'oversize' }

/** Bytes before a payload of this flow. */
export function headBytes(flow: number): number {
  return varintBytes(flow) + 1
}

/** Writes at 0 and answers how many bytes. `into` has room for head and payload. */
export function writeMessage(into: Uint8Array, flow: number, payload: Uint8Array): number {
  const at = varintBytes(flow)
  let rest = flow
  for (let index = at - 1; index >= 0; index--) {
    into[index] = rest % 256
    rest = Math.floor(rest / 256)
  }
  into[0] = (into[0] ?? 0) | (Math.log2(at) << 6)
  into[at] = 0
  into.set(payload, at + 1)
  return at + 1 + payload.length
}

/** Never throws. The payload is a view of `bytes`. */
export function readMessage(bytes: Uint8Array): Reading {
  const first = bytes[0]
  if (first === undefined) return 'malformed'
  const at = 1 << (first >> 6)
  const context = bytes[at]
  if (context === undefined) return 'malformed'
  // Of 62 bits at most 60 count; a number in 8 bytes is larger than that if one of the upper two is set.
  if (at === 8 && (first & 0x30) !== 0) return 'malformed'
  let flow = first & 0x3f
  for (let index = 1; index < at; index++) flow = flow * 256 + (bytes[index] ?? 0)
  const start = at + (1 << (context >> 6))
  if (start > bytes.length) return 'malformed'
  if ((context & 0x3f) !== 0 || (start > at + 1 && bytes.subarray(at + 1, start).some((byte) => byte !== 0))) return 'context'
  const payload = bytes.subarray(start)
  return payload.length > MAX_UDP_BYTES ? { flow, payload: 'oversize' } : { flow, payload }
}

function varintBytes(number: number): number {
  if (number < 0x40) return 1
  if (number < 0x4000) return 2
  return number < 0x4000_0000 ? 4 : 8
}
