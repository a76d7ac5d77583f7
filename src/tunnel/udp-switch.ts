/**
 * DATAGRAM frames of one tunnel connection, at either end: to and from its flows (RFC 9297 §2.1). At the server messages may come before the
 * stream they belong to, or before it was allowed: so many are held, for so long; everything else without a flow is dropped and counted.
 */
import type { Cancel, Timing } from '../config/index.ts'
import type { Connection } from '../connection/index.ts'
import type { BidirectionalStream } from '../stream/index.ts'
import { TunnelCode } from './codes.ts'
import type { BridgeReason } from './codes.ts'
import type { Ledger } from './ledger.ts'
import { headBytes, readMessage, writeMessage } from './udp-message.ts'

/** Messages that are held at once, and bytes of them. */
const HELD = 64
const HELD_BYTES = 65_536
/** How long one is held. */
const HOLD_MS = 1000

/** A flow as its messages see it. */
export interface FlowEnd {
  onMessage(payload: Uint8Array): void
  abort(code: bigint, reason: BridgeReason): void
}

interface Held {
  readonly flow: number
  readonly payload: Uint8Array
  readonly untilMs: number
}

/** The Quarter Stream ID: how messages name the flow of a stream. */
export function flowOf({ id }: BidirectionalStream): number {
  return Number(id) / 4
}

export class UdpSwitch {
  readonly #connection: Connection
  readonly #ledger: Ledger
  readonly #timing: Timing
  readonly #flows = new Map<number, FlowEnd>()
  /** Streams that have come and are not decided. */
  readonly #coming = new Set<number>()
  /** Of all streams that have come the last; null: messages without a flow are never held. */
  #highest: number | null
  #held: Held[] = []
  #heldBytes = 0
  #stopHolding: Cancel = () => {}
  /** Messages are made here, since sending copies. */
  #scratch: Uint8Array = new Uint8Array(0)

  constructor(connection: Connection, end: 'client' | 'server', ledger: Ledger, timing: Timing) {
    this.#connection = connection
    this.#ledger = ledger
    this.#timing = timing
    this.#highest = end === 'server' ? -1 : null
  }

  /** Hands messages out until the connection ends. Never rejects. */
  async serve(): Promise<void> {
    const { datagrams } = this.#connection
    for await (const batch of datagrams.batches()) {
      for (const bytes of batch) {
        // It may be a replay (attacks H2).
        if (datagrams.isEarly(bytes)) this.#ledger.udpDrops.unknownFlow += 1
        else this.onMessage(bytes)
      }
    }
    this.#stopHolding()
    this.#held = []
  }

  /** The data of a DATAGRAM frame. */
  onMessage(bytes: Uint8Array): void {
    const { udpDrops } = this.#ledger
    const message = readMessage(bytes)
    if (message === 'malformed') {
      udpDrops.malformed += 1
      // As RFC 9297 §2.1 wants it: no peer that is right sends that.
      void this.#connection.close({ code: TunnelCode.BAD_INIT, reason: 'a datagram without a flow' })
      return
    }
    if (message === 'context') {
      udpDrops.unknownContext += 1
      return
    }
    const { flow, payload } = message
    const end = this.#flows.get(flow)
    if (payload === 'oversize') {
      udpDrops.malformed += 1
      end?.abort(TunnelCode.BAD_INIT, 'bad-init')
    } else if (end !== undefined) end.onMessage(payload)
    else if (this.#highest !== null && (this.#coming.has(flow) || flow > this.#highest)) this.#hold(flow, payload)
    else udpDrops.unknownFlow += 1
  }

  /** A stream has come that may ask for a flow; messages for it are held. */
  expect(flow: number): void {
    this.#coming.add(flow)
    this.#highest = Math.max(this.#highest ?? -1, flow)
  }

  /** It is no flow, or none that is allowed. */
  forget(flow: number): void {
    this.#coming.delete(flow)
    this.#ledger.udpDrops.unknownFlow += this.#take(flow).length
  }

  /** Its messages go there, those that are held first. */
  join(flow: number, end: FlowEnd): void {
    this.#coming.delete(flow)
    this.#flows.set(flow, end)
    for (const { payload } of this.#take(flow)) end.onMessage(payload)
  }

  leave(flow: number): void {
    this.#flows.delete(flow)
  }

  /** 'gone': the connection takes nothing any more. */
  send(flow: number, payload: Uint8Array): 'sent' | 'too-large' | 'gone' {
    const { datagrams } = this.#connection
    const room = datagrams.maxDatagramSizeBytes
    if (room === 0) return 'gone'
    if (headBytes(flow) + payload.length > room) return 'too-large'
    if (this.#scratch.length < room) this.#scratch = new Uint8Array(room)
    try {
      datagrams.send(this.#scratch.subarray(0, writeMessage(this.#scratch, flow, payload)))
    } catch {
      return 'gone'
    }
    return 'sent'
  }

  #hold(flow: number, payload: Uint8Array): void {
    const now = this.#ledger.now()
    this.#held.push({ flow, payload, untilMs: now + HOLD_MS })
    this.#heldBytes += payload.length
    while (this.#held.length > HELD || this.#heldBytes > HELD_BYTES) this.#dropOldest()
    if (this.#held.length === 1) this.#watch(HOLD_MS)
  }

  #watch(ms: number): void {
    this.#stopHolding()
    this.#stopHolding = this.#timing.after(ms, () => {
      const now = this.#ledger.now()
      while ((this.#held[0]?.untilMs ?? Infinity) <= now) this.#dropOldest()
      const next = this.#held[0]
      if (next !== undefined) this.#watch(next.untilMs - now)
    })
  }

  #dropOldest(): void {
    const oldest = this.#held.shift()
    if (oldest === undefined) return
    this.#heldBytes -= oldest.payload.length
    this.#ledger.udpDrops.unknownFlow += 1
  }

  #take(flow: number): Held[] {
    if (this.#held.length === 0) return []
    const taken = this.#held.filter((held) => held.flow === flow)
    if (taken.length === 0) return taken
    this.#held = this.#held.filter((held) => held.flow !== flow)
    for (const { payload } of taken) this.#heldBytes -= payload.length
    return taken
  }
}
