/**
 * One accepted connection at its private end: hands request streams to the handler, keeps the connection alive, and lets it end (reverse.md V14,
 * V45, V48). Called by the keeper; never dials.
 *
 *   ACCEPTED ──▶ IDLE ◀──first request / last one over──▶ BUSY        GOAWAY of either end: DRAINING ──the connection ends──▶ CLOSED
 */
import { deferHandled } from '../config/index.ts'
import type { Cancel, Timing } from '../config/index.ts'
import type { CloseInfo, Connection } from '../connection/index.ts'
import { isQuicbraidError } from '../errors/index.ts'
import type { BidirectionalStream } from '../stream/index.ts'
import type { Reached } from './attempt.ts'
import { ReverseCode } from './codes.ts'
import type { ControlStream } from './control.ts'
import type { ControlMessage } from './messages.ts'
import type { DiallerLedger } from './dialler-ledger.ts'
import { shown } from './names.ts'
import { MIN_PING_MS } from './options.ts'

/** Serves one request. */
export type ReverseHandler = (stream: BidirectionalStream, connection: Connection) => void | Promise<void>

export interface LineOwner {
  readonly handler: ReverseHandler
  readonly ledger: DiallerLedger
  readonly timing: Timing
  /** Between PINGs, unless the public end asks for less. */
  readonly pingMs: number
  /** It takes no more requests; told once. `error`: what it was lost by; null: nobody's fault. */
  onLost(line: Line, reason: string, error: Error | null): void
  onClosed(line: Line): void
  callbackFailed(error: unknown, connection: Connection): void
}

/** How long a connection that is closed in order may take. */
const CLOSE_MS = 500
/** How long a public end that has said GOAWAY may keep a connection on which nothing is under way. */
const LINGER_MS = 10_000

export class Line {
  readonly connection: Connection
  readonly #control: ControlStream
  readonly #owner: LineOwner
  #state: 'serving' | 'draining' | 'closed' = 'serving'
  /** Request streams that have come, and those of them that have not ended. */
  #came = 0
  #open = 0
  /** As GOAWAY says how many come in all; null: it has not said. */
  #total: number | null = null
  #stopPings: Cancel = () => {}
  #stopLinger: Cancel = () => {}

  constructor({ connection, control, accept }: Reached, owner: LineOwner) {
    this.connection = connection
    this.#control = control
    this.#owner = owner
    owner.ledger.step(connection, 'ACCEPTED', accept.key)
    // A public end must not make this one busy with nothing.
    this.#keepAlive(accept.pingMs === 0 ? owner.pingMs : Math.min(Math.max(accept.pingMs, MIN_PING_MS), owner.pingMs))
  }

  /** Takes requests until the connection ends. */
  start(): void {
    const { connection } = this
    this.#owner.ledger.step(connection, 'IDLE', '')
    void connection.closed.then((info) => this.#onClosed(info))
    void this.#listen()
    void this.#serve()
  }

  /** Takes requests. */
  get serving(): boolean {
    return this.#state === 'serving'
  }

  get draining(): boolean {
    return this.#state === 'draining'
  }

  /** Tells the public end to send nothing new, waits for what it has sent, ends. Resolves when the connection is gone, at the latest some time after `ms`. */
  async drain(ms: number): Promise<void> {
    const { connection } = this
    if (this.#state === 'closed') return
    this.#leave('this end is being stopped', null)
    if (ms > 0) {
      this.#control.send({ type: 'goaway', code: ReverseCode.SHUTDOWN, text: 'the private end is being stopped', streams: null }).catch(() => {})
      const patience = deferHandled<void>()
      const stop = this.#owner.timing.after(ms, patience.resolve)
      // The public end knows what its application has read; it closes.
      await Promise.race([connection.closed, patience.promise])
      stop()
    }
    const code = this.#isQuiet() ? ReverseCode.NONE : ReverseCode.SHUTDOWN
    await connection.close({ code, reason: 'the private end is being stopped', drainMs: ms > 0 ? CLOSE_MS : 0 })
  }

  /** Ends it now. */
  destroy(code: bigint, reason: string): void {
    this.connection.destroy(undefined, { code, reason })
  }

  async #serve(): Promise<void> {
    for await (const stream of this.connection.incomingBidirectional()) this.#take(stream)
  }

  #take(stream: BidirectionalStream): void {
    const { ledger } = this.#owner
    this.#came += 1
    this.#open += 1
    if (this.#open === 1 && this.#state === 'serving') ledger.step(this.connection, 'BUSY', '')
    const sinceMs = ledger.begin(stream)
    void stream.closed.then(({ error }) => {
      this.#open -= 1
      ledger.ended(sinceMs, stream, error)
      if (this.#open === 0 && this.#state === 'serving') ledger.step(this.connection, 'IDLE', '')
      this.#checkQuiet()
    })
    void this.#hand(stream)
  }

  /** What the handler throws ends its stream, and nothing else. */
  async #hand(stream: BidirectionalStream): Promise<void> {
    try {
      await this.#owner.handler(stream, this.connection)
    } catch (error) {
      this.#owner.callbackFailed(error, this.connection)
      // A plain reason: an error with a code would lend it to the stream.
      stream.destroy(isQuicbraidError(error) || !(error instanceof Error) ? undefined : error)
    }
  }

  async #listen(): Promise<void> {
    try {
      for (;;) {
        const message = await this.#control.next()
        if (message !== null && message.type !== 'goaway') return this.destroy(ReverseCode.PROTOCOL, `unexpected ${message.type}`)
        this.#onGoAway(message)
        if (message === null) return
      }
    } catch (error) {
      // The end of the connection is told elsewhere; what is no message ends it here, and so does a reset.
      if (this.connection.state !== 'open') return
      this.destroy(ReverseCode.PROTOCOL, isQuicbraidError(error) && error.code === 'QB_REVERSE_PROTOCOL' ? 'a control message is malformed' : 'the control stream was reset')
    }
  }

  /** Null: the end of the control stream, which says as much. */
  #onGoAway(message: Extract<ControlMessage, { type: 'goaway' }> | null): void {
    this.#total = message?.streams ?? this.#total ?? this.#came
    this.#leave(message === null || message.text === '' ? 'the public end takes it out of its pool' : `the public end says: ${shown(message.text)}`, null)
    this.#checkQuiet()
  }

  #isQuiet(): boolean {
    return this.#open === 0 && this.#total !== null && this.#came >= this.#total
  }

  /** All that was to come has come and ended: the public end closes soon, or else this end does. */
  #checkQuiet(): void {
    if (this.#state !== 'draining' || !this.#isQuiet()) return
    this.#stopLinger()
    this.#stopLinger = this.#owner.timing.after(LINGER_MS, () => void this.connection.close({ code: ReverseCode.NONE, drainMs: CLOSE_MS }))
  }

  #leave(reason: string, error: Error | null): void {
    if (this.#state !== 'serving') return
    this.#state = 'draining'
    this.#owner.ledger.step(this.connection, 'DRAINING', reason)
    this.#owner.onLost(this, reason, error)
  }

  #onClosed(info: CloseInfo): void {
    const wasServing = this.#state === 'serving'
    this.#state = 'closed'
    this.#stopPings()
    this.#stopLinger()
    const reason = endReason(info)
    this.#owner.ledger.step(this.connection, 'CLOSED', reason)
    if (wasServing) this.#owner.onLost(this, reason, info.error)
    this.#owner.onClosed(this)
  }

  /** On every path: each has a mapping of its own in a NAT. The engine's keep-alive, on one path, is there for times when no JavaScript runs. */
  #keepAlive(ms: number): void {
    this.#stopPings = this.#owner.timing.every(ms, () => void this.connection.ping().catch(() => {}))
  }
}

function endReason({ by, reason, error }: CloseInfo): string {
  if (error !== null) return shown(error.message)
  return `closed by ${by === 'local' ? 'this end' : 'the public end'}${reason === '' ? '' : ` (${shown(reason)})`}`
}
