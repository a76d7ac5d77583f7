/** QUIC v1 packets as an observer with a key log reads them (RFC 9001 §5): headers without keys, 1-RTT payloads with the secret of a line. */
import { createCipheriv, createDecipheriv, createHmac } from 'node:crypto'

export type PacketKind = 'initial' | '0rtt' | 'handshake' | 'retry' | '1rtt'

const LONG: readonly PacketKind[] = ['initial', '0rtt', 'handshake', 'retry']

/** What a datagram holds, in order. */
export function packetKinds(datagram: Uint8Array): PacketKind[] {
  const bytes = Buffer.from(datagram)
  const kinds: PacketKind[] = []
  let at = 0
  while (at < bytes.length) {
    const first = bytes.readUInt8(at)
    if ((first & 0x80) === 0) return [...kinds, '1rtt']
    const kind = LONG[(first >> 4) & 3] as PacketKind
    kinds.push(kind)
    if (kind === 'retry') return kinds
    at += 5
    for (let id = 0; id < 2; id++) at += 1 + bytes.readUInt8(at)
    if (kind === 'initial') {
      const [token, after] = varint(bytes, at)
      at = after + token
    }
    const [length, after] = varint(bytes, at)
    at = after + length
  }
  return kinds
}

/** Value and where it ends. */
function varint(bytes: Buffer, at: number): [number, number] {
  const size = 1 << (bytes.readUInt8(at) >> 6)
  let value = bytes.readUInt8(at) & 0x3f
  for (let index = 1; index < size; index++) value = value * 256 + bytes.readUInt8(at + index)
  return [value, at + size]
}

/** HKDF-Expand-Label of TLS 1.3 with SHA-256, for one block at most (RFC 8446 §7.1). */
function expandLabel(secret: Buffer, label: string, length: number): Buffer {
  const name = Buffer.from(`tls13 ${label}`)
  const info = Buffer.concat([Buffer.from([length >> 8, length & 0xff, name.length]), name, Buffer.from([0, 1])])
  return createHmac('sha256', secret).update(info).digest().subarray(0, length)
}

/**
 * The payload of the one 1-RTT packet in a datagram, by the secret of a key log's line; null if the key does not open it. For AES-128-GCM, on path 0
 * and for numbers below 2^32 whose upper bytes are 0.
 */
export function opened(datagram: Uint8Array, secret: Buffer, cidLength: number): Buffer | null {
  const bytes = Buffer.from(datagram)
  const [key, iv, header] = [expandLabel(secret, 'quic key', 16), expandLabel(secret, 'quic iv', 12), expandLabel(secret, 'quic hp', 16)]
  const at = 1 + cidLength
  const mask = createCipheriv('aes-128-ecb', header, null).update(bytes.subarray(at + 4, at + 20))
  const first = bytes.readUInt8(0) ^ (mask.readUInt8(0) & 0x1f)
  const numberLength = (first & 3) + 1
  const head = Buffer.concat([Buffer.from([first]), bytes.subarray(1, at + numberLength)])
  for (let index = 0; index < numberLength; index++) head.writeUInt8(head.readUInt8(at + index) ^ mask.readUInt8(1 + index), at + index)
  const nonce = Buffer.from(iv)
  for (let index = 0; index < numberLength; index++) {
    const place = 12 - numberLength + index
    nonce.writeUInt8(nonce.readUInt8(place) ^ head.readUInt8(at + index), place)
  }
  const open = createDecipheriv('aes-128-gcm', key, nonce)
  open.setAAD(head).setAuthTag(bytes.subarray(-16))
  const payload = open.update(bytes.subarray(at + numberLength, -16))
  try {
    open.final()
  } catch {
    return null
  }
  return payload
}
