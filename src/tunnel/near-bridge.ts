/** A bridge at the client, from the stream on: asks, waits for the accept byte, joins (tunnel.md §4). Nothing of TCP is sent before. */
import type { BidirectionalStream } from '../stream/index.ts'
import { writeAll } from './bridge.ts'
import type { LoanResult } from './bridge.ts'
import { TunnelCode, reasonOf } from './codes.ts'
import type { BridgeReason } from './codes.ts'
import { join } from './join.ts'
import type { Joined } from './join.ts'
import type { Ledger } from './ledger.ts'
import { dismiss } from './pending.ts'
import type { Waiter } from './pending.ts'
import { ACCEPT } from './request.ts'

export interface NearParts {
  readonly waiter: Waiter
  readonly stream: BidirectionalStream
  /** The first bytes of the stream. */
  readonly request: Uint8Array
  readonly ledger: Ledger
  /** Once, at the end. */
  onOver(): void
}

export class NearBridge {
  readonly #parts: NearParts
  #bridge: Joined | null = null
  #over = false

  constructor(parts: NearParts) {
    this.#parts = parts
    parts.waiter.socket.on('error', this.#onGone).on('close', this.#onGone)
  }

  abort(code: bigint, reason: BridgeReason): void {
    if (this.#bridge !== null) return this.#bridge.abort(code, reason)
    if (this.#over) return undefined
    this.#over = true
    const { stream, waiter, ledger, onOver } = this.#parts
    stream.reset(code)
    stream.stop(code)
    this.#letGo()
    dismiss(waiter, reason)
    ledger.ended(waiter.entry, reason)
    return onOver()
  }

  /** Never rejects. */
  async start(): Promise<void> {
    const { stream, request, ledger, waiter } = this.#parts
    if (waiter.socket.destroyed) return this.abort(TunnelCode.TCP, 'tcp')
    const since = ledger.now()
    try {
      await writeAll(stream, request)
      const loans = stream.borrow()
      const answer = await loans.next()
      if (this.#over) return void answer.value?.release()
      if (answer.done === true || answer.value.bytes[0] !== ACCEPT) {
        answer.value?.release()
        return this.abort(TunnelCode.BAD_INIT, 'bad-init')
      }
      ledger.took('accept', ledger.now() - since)
      this.#join(loans, behind(answer, loans))
    } catch (error) {
      const { errorCode } = error as { errorCode?: unknown }
      this.abort(typeof errorCode === 'bigint' ? errorCode : TunnelCode.TCP, reasonOf(error))
    }
    return undefined
  }

  #join(loans: ReturnType<BidirectionalStream['borrow']>, first: Promise<LoanResult>): void {
    const { stream, waiter: { socket, entry, answer }, ledger, onOver } = this.#parts
    this.#letGo()
    const words = answer?.(null) ?? null
    if (words !== null) socket.write(words)
    this.#bridge = join({ socket, stream, loans, first, seen: 1, entry, ledger, up: 'to-stream', onOver })
    ledger.opened(entry)
  }

  #letGo(): void {
    this.#parts.waiter.socket.off('error', this.#onGone).off('close', this.#onGone)
  }

  readonly #onGone = (): void => this.abort(TunnelCode.TCP, 'tcp')
}

/** What stands behind the accept byte: in the same piece, or in the next. */
function behind({ value }: LoanResult, loans: AsyncIterator<NonNullable<LoanResult['value']>, undefined>): Promise<LoanResult> {
  if (value !== undefined && value.bytes.length > 1) return Promise.resolve({ done: false, value: { bytes: value.bytes.subarray(1), release: value.release } })
  value?.release()
  return loans.next()
}
