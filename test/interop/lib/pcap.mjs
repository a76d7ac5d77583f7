// Reads what the relay captured: datagrams with time, addresses and ECN mark, and of each the QUIC packets as far as they can be told without keys.

import { readFileSync } from 'node:fs'

const LONG = 0x80
/** Packet types by the two type bits (RFC 9000 section 17.2, RFC 9369 section 3.2). */
const TYPES_V1 = ['initial', '0rtt', 'handshake', 'retry']
const TYPES_V2 = ['retry', 'initial', '0rtt', 'handshake']
export const VERSION_1 = 0x00000001
export const VERSION_2 = 0x6b3343cf

/** Datagrams of a capture: { atMs, from, to, fromIp, toIp, fromPort, toPort, ecn, family, payload, packets }. */
export function readCapture(file) {
  const bytes = readFileSync(file)
  const datagrams = []
  for (let at = 24; at + 16 <= bytes.length;) {
    const atMs = bytes.readUInt32LE(at) * 1000 + bytes.readUInt32LE(at + 4) / 1e6
    const length = bytes.readUInt32LE(at + 8)
    datagrams.push({ atMs, ...datagramOf(bytes.subarray(at + 16, at + 16 + length)) })
    at += 16 + length
  }
  return datagrams
}

/** Captures as one, in the order of time. */
export function joinCaptures(captures) {
  const records = []
  for (const bytes of captures) {
    for (let at = 24; at + 16 <= bytes.length;) {
      const end = at + 16 + bytes.readUInt32LE(at + 8)
      records.push({ atMs: bytes.readUInt32LE(at) * 1000 + bytes.readUInt32LE(at + 4) / 1e6, record: bytes.subarray(at, end) })
      at = end
    }
  }
  records.sort((a, b) => a.atMs - b.atMs)
  return Buffer.concat([captures[0].subarray(0, 24), ...records.map(({ record }) => record)])
}

function datagramOf(bytes) {
  const family = bytes[0] >> 4
  const header = family === 4 ? 20 : 40
  const address = (at) => (family === 4 ? bytes.subarray(at, at + 4).join('.') : bytes.toString('hex', at, at + 16))
  const [fromIp, toIp] = family === 4 ? [address(12), address(16)] : [address(8), address(24)]
  const [fromPort, toPort] = [bytes.readUInt16BE(header), bytes.readUInt16BE(header + 2)]
  const ecn = family === 4 ? bytes[1] & 3 : (bytes[1] >> 4) & 3
  const payload = bytes.subarray(header + 8)
  return { family, ecn, fromIp, toIp, fromPort, toPort, from: `${fromIp}:${fromPort}`, to: `${toIp}:${toPort}`, payload, packets: packetsOf(payload) }
}

/** Packets of a datagram: { type, version, dcid, scid, token, bytes }; a short header ends it, and so does what cannot be read. */
export function packetsOf(payload) {
  const packets = []
  let rest = payload
  while (rest.length > 0) {
    const packet = packetOf(rest)
    if (packet === null) break
    packets.push(packet)
    rest = rest.subarray(packet.bytes)
  }
  return packets
}

function packetOf(bytes) {
  try {
    if ((bytes[0] & LONG) === 0) return bytes.length < 21 ? null : { type: '1rtt', bytes: bytes.length, raw: bytes }
    const version = bytes.readUInt32BE(1)
    const dcidEnd = 6 + bytes[5]
    const scidEnd = dcidEnd + 1 + (bytes[dcidEnd] ?? Infinity)
    if (scidEnd > bytes.length) return null
    const dcid = bytes.toString('hex', 6, dcidEnd)
    const scid = bytes.toString('hex', dcidEnd + 1, scidEnd)
    const head = { version, dcid, scid }
    if (version === 0) return { ...head, type: 'version negotiation', bytes: bytes.length }
    if (version !== VERSION_1 && version !== VERSION_2) return { ...head, type: 'unknown version', bytes: bytes.length }
    const type = (version === VERSION_2 ? TYPES_V2 : TYPES_V1)[(bytes[0] >> 4) & 3]
    if (type === 'retry') return { ...head, type, token: bytes.toString('hex', scidEnd, bytes.length - 16), bytes: bytes.length }
    let at = scidEnd
    let token = ''
    if (type === 'initial') {
      const length = varint(bytes, at)
      token = bytes.toString('hex', length.end, length.end + length.value)
      at = length.end + length.value
    }
    const length = varint(bytes, at)
    const end = length.end + length.value
    return end > bytes.length ? null : { ...head, type, token, bytes: end, body: length.value }
  } catch {
    return null // cut short, or corrupted by the link
  }
}

function varint(bytes, at) {
  const first = bytes.readUInt8(at)
  const size = 1 << (first >> 6)
  let value = first & 0x3f
  for (let index = 1; index < size; index++) value = value * 256 + bytes.readUInt8(at + index)
  return { value, end: at + size }
}
