/**
 * One accepted connection of a public end: how it does, what the private end says on the control stream, and its end.
 *
 * ```text
 *   opening ──stream credit──▶ live ──GOAWAY of either end──▶ draining ──no stream open, or time──▶ closed
 *      └──────────── TIMEOUT, or the connection ends ───────────┴───────────────────────────────────▲
 * ```
 */
import type { Timing } from '../config/index.ts'
import { bookOf } from '../connection/index.ts'
import type { Connection, StreamBook } from '../connection/index.ts'
import type { BidirectionalStream } from '../stream/index.ts'
import { ReverseCode, reasonOf } from './codes.ts'
import type { ReverseReason } from './codes.ts'
import type { ControlStream } from './control.ts'
import type { CheckedRequest, Hello } from './options.ts'

/** For what was written last. */
export const DRAIN_MS = 500

/** What members tell their pool. */
export interface MemberOwner {
  readonly timing: Timing
  /** It is live: requests can go out. */
  onLive(member: Member): void
  /** No request goes out any more. */
  onDraining(member: Member, reason: ReverseReason | null, text: string): void
  /** A live one has room for a request that it had not. */
  onRoom(member: Member): void
  /** `from`: what it was until now. */
  onClosed(member: Member, from: Member['state'], reason: ReverseReason | null, text: string): void
}

export class Member {
  readonly connection: Connection
  readonly key: string
  readonly hello: Hello
  state: 'opening' | 'live' | 'draining' | 'closed' = 'opening'
  /** It has taken requests, or could have. */
  wasLive: boolean = false
  /** Lowest smoothed RTT of its open paths when it was looked at last. */
  rttMs: number = Infinity
  /** A path of it is open and answers, as far as was seen when it was looked at last. */
  healthy: boolean = true
  readonly #owner: MemberOwner
  readonly #control: ControlStream
  readonly #book: StreamBook
  readonly #unwatch: () => void
  #parted = false

  /** `book` of the connection is ours from now on. */
  constructor(owner: MemberOwner, connection: Connection, control: ControlStream, key: string, hello: Hello) {
    this.#owner = owner
    this.connection = connection
    this.#control = control
    this.key = key
    this.hello = hello
    this.#book = bookOf(connection) as StreamBook
    this.#book.onChange = () => this.#onStreams()
    const subscription = connection.paths.events$.subscribe(() => this.look())
    this.#unwatch = () => subscription.unsubscribe()
    this.look()
    void connection.closed.then((info) => this.#onClosed(reasonOf(info.layer === 'application' ? info.errorCode : null), info.reason))
  }

  /** Request streams that are open. */
  get open(): number {
    return Math.max(0, this.#book.open - 1)
  }

  get takes(): boolean {
    return this.state === 'live' && this.#book.credit > 0 && this.connection.state === 'open'
  }

  /** A request stream; at once while it `takes`. @throws the connection's error, the abort reason */
  request({ head, signal }: CheckedRequest): Promise<BidirectionalStream> {
    return this.#book.request(head === null ? 'untold' : 'told', signal)
  }

  /** ACCEPT is out: the first stream credit makes it live; then the private end may only say that it goes. */
  start(withinMs: number): void {
    void this.#listen()
    if (this.#book.credit > 0) return this.#live()
    const late = this.#owner.timing.after(withinMs, () => {
      if (this.state === 'opening') this.close(ReverseCode.TIMEOUT, 'no stream credit came after ACCEPT')
    })
    void this.connection.closed.then(late)
    return undefined
  }

  /** How its paths do (V46). */
  look(): void {
    let [rttMs, healthy] = [Infinity, false]
    for (const path of this.connection.paths) {
      const { state, suspect } = path.facts
      if (state !== 'open') continue
      const { smoothedRttMs, ptoCount, amplificationCreditBytes } = path.statistics()
      // The only path of a connection is never suspect; and one that is validated anew may send little.
      healthy ||= !suspect && ptoCount === 0 && amplificationCreditBytes === Infinity
      if (smoothedRttMs > 0) rttMs = Math.min(rttMs, smoothedRttMs)
    }
    this.rttMs = rttMs
    this.healthy = healthy
  }

  /** No new requests; those under way end, then it closes (V48). */
  drain(code: bigint = ReverseCode.NONE, text = ''): void {
    if (this.state === 'draining' || this.state === 'closed') return
    this.#drain(reasonOf(code), text)
    void this.#sayGoAway(code, text)
  }

  /** Ends it now. */
  close(code: bigint, reason: string): void {
    void this.connection.close({ code, reason, drainMs: DRAIN_MS })
  }

  #drain(reason: ReverseReason | null, text: string): void {
    if (this.state === 'draining' || this.state === 'closed') return
    this.state = 'draining'
    this.#owner.onDraining(this, reason, text)
    // Not before GOAWAY is written.
    this.#owner.timing.soon(() => this.#part())
  }

  #sayGoAway(code: bigint, text: string): Promise<void> {
    return this.#control.send({ type: 'goaway', code, text, streams: this.#book.opened }).catch(() => {})
  }

  /** What the private end says. */
  async #listen(): Promise<void> {
    try {
      for (;;) {
        const message = await this.#control.next()
        if (message !== null && message.type !== 'goaway') return this.close(ReverseCode.PROTOCOL, `${message.type} is no message of an accepted connection`)
        const first = this.state !== 'draining'
        this.#drain(message === null ? 'none' : reasonOf(message.code), message?.text ?? '')
        if (first) await this.#sayGoAway(ReverseCode.NONE, '')
        if (message === null) return undefined
      }
    } catch (error) {
      if (this.connection.state === 'open') this.close(ReverseCode.PROTOCOL, error instanceof Error ? error.message : '')
    }
    return undefined
  }

  #live(): void {
    this.state = 'live'
    this.wasLive = true
    this.#owner.onLive(this)
  }

  /** A stream is over, or there is more credit. */
  #onStreams(): void {
    if (this.state === 'live') return this.#owner.onRoom(this)
    if (this.state === 'opening' && this.#book.credit > 0) return this.#live()
    return this.#part()
  }

  /** Closes once nothing is open: the application here has read all that it will. */
  #part(): void {
    if (this.state !== 'draining' || this.open > 0 || this.#parted) return
    this.#parted = true
    this.close(ReverseCode.NONE, '')
  }

  #onClosed(reason: ReverseReason | null, text: string): void {
    this.#unwatch()
    this.#book.onChange = null
    const { state } = this
    this.state = 'closed'
    this.#owner.onClosed(this, state, reason, text)
  }
}
