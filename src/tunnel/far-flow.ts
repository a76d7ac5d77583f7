/**
 * A flow of UDP at the server, once a handler has allowed it: a connected socket to the target, as long as the stream is open (RFC 9298 §3.1).
 * The client is told yes as soon as the socket is there: whether somebody answers, only the datagrams can show.
 */
import type { BidirectionalStream, Loan } from '../stream/index.ts'
import { writeAll } from './bridge.ts'
import type { LoanResult } from './bridge.ts'
import { TunnelCode, reasonOf } from './codes.ts'
import type { BridgeReason } from './codes.ts'
import type { Entry, Ledger } from './ledger.ts'
import type { Target } from './policy.ts'
import { ACCEPT } from './request.ts'
import type { Udp, UdpSocket } from './udp.ts'
import type { Idle } from './udp-idle.ts'
import { flowOf } from './udp-switch.ts'
import type { FlowEnd, UdpSwitch } from './udp-switch.ts'

/** A stream that asked for a flow and may have it. */
export interface FlowRequest {
  readonly stream: BidirectionalStream
  readonly loans: AsyncIterator<Loan, undefined>
  /** What the stream brings next. */
  readonly first: Promise<LoanResult>
  readonly target: Target
  readonly entry: Entry
}

export interface FarFlowParts extends FlowRequest {
  readonly ledger: Ledger
  readonly udp: Udp
  readonly flows: UdpSwitch
  readonly idle: (onIdle: () => void) => Idle
  /** Once, at the end. */
  onOver(): void
}

export class FarFlow implements FlowEnd {
  readonly #parts: FarFlowParts
  readonly #idle: Idle
  #socket: UdpSocket | null = null
  #told = false
  #over = false

  constructor(parts: FarFlowParts) {
    this.#parts = parts
    this.#idle = parts.idle(() => this.#end('idle'))
    parts.first.then(this.#onStream, this.#onStreamFailed)
  }

  /** Never rejects. */
  async start(): Promise<void> {
    const { udp, target, stream, flows, ledger, entry } = this.#parts
    let socket: UdpSocket
    try {
      socket = await udp.dial(target, { onMessage: this.#onTarget, onTooLarge: this.#onTooLarge, onError: this.#onGone })
    } catch {
      return this.abort(TunnelCode.CONNECT, 'connect')
    }
    if (this.#over) return socket.close()
    this.#socket = socket
    try {
      await writeAll(stream, Uint8Array.of(ACCEPT))
    } catch (error) {
      return this.#onStreamFailed(error)
    }
    if (this.#over) return undefined
    ledger.opened(entry)
    return flows.join(flowOf(stream), this)
  }

  abort(code: bigint, reason: BridgeReason): void {
    if (this.#over) return
    const { stream } = this.#parts
    stream.reset(code)
    stream.stop(code)
    this.#finish(reason)
  }

  // --- of the client ---

  onMessage(payload: Uint8Array): void {
    const { ledger, entry } = this.#parts
    this.#idle.touch()
    if (this.#socket?.send(payload, null) === true) {
      entry.bytesUp += payload.length
      ledger.datagramsUp += 1
    } else ledger.udpDrops.queue += 1
  }

  /** The client has ended the flow, or says something where there is nothing to say. */
  readonly #onStream = ({ value }: LoanResult): void => {
    value?.release()
    if (value === undefined) this.#end('end')
    else this.abort(TunnelCode.BAD_INIT, 'bad-init')
  }

  readonly #onStreamFailed = (error: unknown): void => {
    const { errorCode } = error as { errorCode?: unknown }
    this.abort(typeof errorCode === 'bigint' ? errorCode : TunnelCode.CONNECT, reasonOf(error))
  }

  // --- of the target ---

  readonly #onTarget = (payload: Uint8Array): void => {
    const { stream, flows, ledger, entry } = this.#parts
    this.#idle.touch()
    const outcome = flows.send(flowOf(stream), payload)
    if (outcome === 'sent') {
      entry.bytesDown += payload.length
      ledger.datagramsDown += 1
    } else if (outcome === 'too-large') this.#onTooLarge()
    else ledger.udpDrops.queue += 1
  }

  readonly #onTooLarge = (): void => {
    const { ledger, entry } = this.#parts
    ledger.udpDrops.tooLarge += 1
    if (!this.#told) ledger.tell(entry, 'too-large', null)
    this.#told = true
  }

  /** Nobody is there: an ICMP message says so (RFC 9298 §3.1). */
  readonly #onGone = (): void => {
    this.abort(TunnelCode.CONNECT, 'connect')
  }

  #end(reason: BridgeReason): void {
    if (this.#over) return
    this.#parts.stream.end()
    this.#finish(reason)
  }

  #finish(reason: BridgeReason): void {
    this.#over = true
    this.#idle.stop()
    const { stream, flows, ledger, entry, onOver } = this.#parts
    this.#socket?.close()
    flows.leave(flowOf(stream))
    flows.forget(flowOf(stream))
    ledger.ended(entry, reason)
    onOver()
  }
}
