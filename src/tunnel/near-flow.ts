/**
 * A flow of UDP at the client: what one local address sends, and what comes back to it (RFC 9298 §3). It waits for a stream, asks with it, and
 * sends from then on, since UDP may be lost anyway; it ends with its stream, or when it was silent for too long.
 *
 *   waiting ──stream──▶ asking ──accept byte──▶ open ──idle, end of the stream──▶ over
 */
import type { Cancel } from '../config/index.ts'
import type { BidirectionalStream } from '../stream/index.ts'
import { writeAll } from './bridge.ts'
import { TunnelCode, reasonOf } from './codes.ts'
import type { BridgeReason } from './codes.ts'
import type { Entry, Ledger } from './ledger.ts'
import { ACCEPT } from './request.ts'
import type { Idle } from './udp-idle.ts'
import { flowOf } from './udp-switch.ts'
import type { FlowEnd, UdpSwitch } from './udp-switch.ts'

/** Datagrams of a flow that wait for its stream. */
const WAITING = 16

export interface NearFlowParts {
  readonly entry: Entry
  readonly ledger: Ledger
  readonly idle: (onIdle: () => void) => Idle
  /** How long it may wait for a stream. */
  readonly patience: (onLate: () => void) => Cancel
  /** Gives the answer to the flow's local address; false: there was no room. */
  deliver(payload: Uint8Array): boolean
  /** Once, at the end. */
  onOver(): void
}

export class NearFlow implements FlowEnd {
  readonly #parts: NearFlowParts
  readonly #idle: Idle
  readonly #stopWait: Cancel
  #waiting: Uint8Array[] = []
  #stream: BidirectionalStream | null = null
  #switch: UdpSwitch | null = null
  #accepted = false
  #told = false
  #over = false

  constructor(parts: NearFlowParts) {
    this.#parts = parts
    this.#idle = parts.idle(() => this.end('idle'))
    this.#stopWait = parts.patience(() => {
      parts.ledger.failed('pending.timeout')
      this.end('timeout')
    })
    parts.ledger.tell(parts.entry, 'pending', null)
  }

  get waits(): boolean {
    return this.#stream === null
  }

  get lastMs(): number {
    return this.#idle.lastMs
  }

  /** A datagram of the local address. */
  send(payload: Uint8Array): void {
    this.#idle.touch()
    if (this.#switch !== null) return this.#send(this.#switch, payload)
    if (this.#waiting.length < WAITING) this.#waiting.push(payload)
    else this.#parts.ledger.udpDrops.queue += 1
    return undefined
  }

  /** Asks with that stream. Never rejects. */
  async start(stream: BidirectionalStream, flows: UdpSwitch, request: Uint8Array): Promise<void> {
    this.#stream = stream
    this.#stopWait()
    const { ledger, entry } = this.#parts
    const since = ledger.now()
    try {
      await writeAll(stream, request)
      if (this.#over) return
      this.#switch = flows
      flows.join(flowOf(stream), this)
      const waiting = this.#waiting
      this.#waiting = []
      for (const payload of waiting) this.#send(flows, payload)
      const loans = stream.borrow()
      for (let result = await loans.next(); result.done !== true; result = await loans.next()) {
        const { bytes, release } = result.value
        const right = !this.#accepted && bytes.length === 1 && bytes[0] === ACCEPT
        release()
        if (this.#over) continue
        if (!right) return this.abort(TunnelCode.BAD_INIT, 'bad-init')
        this.#accepted = true
        ledger.took('accept', ledger.now() - since)
        ledger.opened(entry)
      }
      if (this.#accepted) this.end('end')
      else this.abort(TunnelCode.BAD_INIT, 'bad-init')
    } catch (error) {
      const { errorCode } = error as { errorCode?: unknown }
      this.abort(typeof errorCode === 'bigint' ? errorCode : TunnelCode.CONNECT, reasonOf(error))
    }
    return undefined
  }

  onMessage(payload: Uint8Array): void {
    const { ledger, entry, deliver } = this.#parts
    this.#idle.touch()
    if (deliver(payload)) {
      entry.bytesDown += payload.length
      ledger.datagramsDown += 1
    } else ledger.udpDrops.queue += 1
  }

  /** In order. */
  end(reason: BridgeReason): void {
    if (this.#over) return
    this.#stream?.end()
    this.#finish(reason)
  }

  abort(code: bigint, reason: BridgeReason): void {
    if (this.#over) return
    this.#stream?.reset(code)
    this.#stream?.stop(code)
    this.#finish(reason)
  }

  #send(flows: UdpSwitch, payload: Uint8Array): void {
    const { ledger, entry } = this.#parts
    if (this.#over || this.#stream === null) return
    const outcome = flows.send(flowOf(this.#stream), payload)
    if (outcome === 'sent') {
      entry.bytesUp += payload.length
      ledger.datagramsUp += 1
    } else if (outcome === 'too-large') {
      ledger.udpDrops.tooLarge += 1
      if (!this.#told) ledger.tell(entry, 'too-large', null)
      this.#told = true
    } else ledger.udpDrops.queue += 1
  }

  #finish(reason: BridgeReason): void {
    this.#over = true
    this.#idle.stop()
    this.#stopWait()
    const { ledger, entry, onOver } = this.#parts
    ledger.udpDrops.queue += this.#waiting.length
    this.#waiting = []
    if (this.#stream !== null) this.#switch?.leave(flowOf(this.#stream))
    ledger.ended(entry, reason)
    onOver()
  }
}
