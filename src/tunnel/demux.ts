/**
 * Datagrams of a header carrier on their way in and out (tunnel.md §1): puts the header in front of every segment, takes it off, says whose
 * a datagram is, and counts what it drops. Nothing is ever answered here, and nothing thrown for what bytes contain.
 */
import type { CarrierBurst, CarrierDatagram } from '../binding/index.ts'
import { HEADER_BYTES, HeaderType, readHeader, writeHeader } from './header.ts'
import { CarrierNames, SERVER_LOCAL } from './names.ts'

/** Why datagrams were dropped. */
export interface DemuxDrops {
  short: number
  type: number
  noListener: number
  noTunnel: number
}

/** Who takes datagrams. Set by the manager; before that nobody does. */
export interface DemuxOwner {
  /** The server side listens, or has connections that go on. */
  serves(): boolean
  /** A client tunnel has this pseudo-port. */
  owns(port: number): boolean
}

export class Demux {
  readonly names: CarrierNames = new CarrierNames()
  readonly drops: DemuxDrops = { short: 0, type: 0, noListener: 0, noTunnel: 0 }
  readonly #local: string | undefined
  owner: DemuxOwner | null = null

  /** `local`: the carrier's own address, if it has one. */
  constructor(local: string | undefined) {
    this.#local = local
  }

  /** What came over the carrier, as the core gets it. */
  inward(datagrams: readonly CarrierDatagram[]): CarrierDatagram[] {
    const taken: CarrierDatagram[] = []
    for (const { bytes, remote, ecn: outer = 'not-ect' } of datagrams) {
      const header = readHeader(bytes)
      if (typeof header === 'string') {
        this.drops[header] += 1
        continue
      }
      const { type, port } = header
      const toServer = type === HeaderType.TO_SERVER
      const owned = toServer ? port !== 0 && this.owner?.serves() === true : this.owner?.owns(port) === true
      const name = owned ? (toServer ? this.names.name(remote, port) : this.names.server(remote)) : null
      if (name === null) {
        this.drops[toServer ? 'noListener' : 'noTunnel'] += 1
        continue
      }
      // A mark of a hop on the way counts more than what the sender wrote (T6).
      taken.push({ bytes: bytes.subarray(HEADER_BYTES), remote: name, local: toServer ? SERVER_LOCAL : this.names.client(port), ecn: outer === 'ce' ? 'ce' : header.ecn })
    }
    return taken
  }

  /** What the core sends, as the carrier gets it; null: it goes nowhere. */
  outward(burst: CarrierBurst): CarrierBurst | null {
    const peer = this.names.peer(burst.remote)
    if (peer === null) return null
    const own = this.names.tunnelOf(burst.local)
    const header = { type: own === null ? HeaderType.TO_CLIENT : HeaderType.TO_SERVER, port: own ?? peer.port, ecn: burst.ecn }
    const { segments, segmentBytes } = burst
    const bytes = new Uint8Array(burst.bytes.length + segments * HEADER_BYTES)
    for (let index = 0; index < segments; index++) {
      const at = index * (segmentBytes + HEADER_BYTES)
      writeHeader(bytes, at, header)
      bytes.set(burst.bytes.subarray(index * segmentBytes, (index + 1) * segmentBytes), at + HEADER_BYTES)
    }
    return { ...burst, bytes, segmentBytes: segmentBytes + HEADER_BYTES, remote: peer.address, local: this.#local ?? burst.local }
  }
}
