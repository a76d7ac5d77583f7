/**
 * One stream as its connection knows it: the parts it has, when both have ended, and the summary of mux §4. Told of records
 * by the stream table; tells the table when it may be forgotten.
 */
import { deferHandled } from '../config/index.ts'
import type { Deferred } from '../config/index.ts'
import { cancelCode } from './codes.ts'
import type { PartError } from './codes.ts'
import type { StreamHost } from './host.ts'
import { ReceiveHalf } from './receive-half.ts'
import { SendHalf } from './send-half.ts'

export class StreamState {
  readonly host: StreamHost
  readonly stream: number
  readonly initiated: 'local' | 'peer'
  /** Its first bytes came in 0-RTT, or it was opened while such could be sent. */
  readonly early: boolean
  readonly sending: SendHalf | null
  readonly receiving: ReceiveHalf | null
  #closed: Deferred<{ error: PartError | null }> | null = null
  /** The connection has ended: `closed` waits no more, though complete bytes may still be read. */
  #cut = false
  /** The handle, while somebody waits for `closed` or `finished`. */
  awaited: object | null = null

  constructor(host: StreamHost, stream: number, initiated: 'local' | 'peer', early: boolean) {
    this.host = host
    this.stream = stream
    this.initiated = initiated
    this.early = early
    const settled = (): void => this.#onSettled()
    const both = (stream & 2) === 0
    this.sending = both || initiated === 'local' ? new SendHalf(host, stream, settled) : null
    this.receiving = both || initiated === 'peer' ? new ReceiveHalf(host, stream, settled) : null
  }

  /** Made when somebody asks, so that streams nobody waits for cost no promise. */
  get closed(): Promise<{ error: PartError | null }> {
    if (this.#closed === null) {
      this.#closed = deferHandled<{ error: PartError | null }>()
      if (this.#cut || this.#isOver()) this.#closed.resolve({ error: this.#error() })
    }
    return this.#closed.promise
  }

  get summary(): 'idle' | 'open' | 'half-local' | 'half-remote' | 'error' | 'reset' | 'closed' {
    const { sending, receiving } = this
    if (!this.#cut && (sending?.owesReset === true || receiving?.owesStop === true)) return 'error'
    if (this.#isOver()) return 'closed'
    if (sending?.state === 'failed' || receiving?.state === 'failed') return 'reset'
    const localEnded = sending !== null && sending.state !== 'open'
    const remoteEnded = receiving !== null && (receiving.complete || receiving.state !== 'open')
    if (localEnded) return 'half-local'
    if (remoteEnded) return 'half-remote'
    return this.initiated === 'local' && (sending?.written ?? 0) === 0 && (receiving?.received ?? 0) === 0 ? 'idle' : 'open'
  }

  /** Somebody waits for `closed` or `finished`: until that is there the handle counts as held. */
  waitBy(handle: object): void {
    if (!this.#cut && !this.#isOver()) this.awaited = handle
  }

  /** Nobody holds the handle any more (mux R40): what has not ended is reset and stopped. */
  drop(): void {
    const { sending, receiving, host } = this
    if (this.#cut || (sending?.state !== 'open' && receiving?.state !== 'open')) return
    const code = cancelCode(host)
    if (sending?.state === 'open') sending.reset(code)
    if (receiving?.state === 'open') receiving.stop(code)
    host.dropped(this.stream, code)
  }

  /** The connection ended. */
  cut(error: PartError): void {
    this.sending?.fail(error)
    this.receiving?.cut(error)
    if (this.receiving !== null) this.receiving.released = true
    this.#cut = true
    this.awaited = null
    this.#closed?.resolve({ error: this.#error() })
  }

  #isOver(): boolean {
    return (this.sending?.settled ?? true) && this.receiving?.state !== 'open'
  }

  #error(): PartError | null {
    return this.sending?.error ?? this.receiving?.error ?? null
  }

  #onSettled(): void {
    if (this.#closed === null && (this.sending?.settled ?? true)) this.awaited = null
    if (!this.#isOver()) return
    this.awaited = null
    if (this.receiving !== null) this.receiving.released = true
    this.#closed?.resolve({ error: this.#error() })
    this.host.forget(this.stream)
  }
}
