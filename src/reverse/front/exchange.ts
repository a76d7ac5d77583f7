/**
 * One request from its head to the last byte of its response: joins an inbound side with an outbound one, keeps the time limits and the books,
 * and sees to it that whatever ends one side ends the other.
 *
 *   opening ─▶ sending ─▶ answering ─▶ over          upgraded: after the change of protocol, until both directions have ended
 */
import { createHash, randomBytes } from 'node:crypto'
import type { Duplex, Writable } from 'node:stream'
import { ambiguity, requestFields, responseFields, tokensOf, trailerFields, valuesOf } from './fields.ts'
import type { Field } from './fields.ts'
import { isBodiless } from './inbound.ts'
import type { Inbound } from './inbound.ts'
import type { FrontLedger } from './ledger.ts'
import type { CheckedGateway, FrontReason } from './options.ts'
import type { Answer, Asked, Outbound, OutboundEvents } from './outbound.ts'
import { Http1Outbound } from './outbound-http1.ts'
import { Http2Outbound } from './outbound-http2.ts'
import { pageOf } from './page.ts'
import type { Failure } from './page.ts'
import { join, pump } from './pump.ts'

export interface ExchangeOwner {
  readonly choice: CheckedGateway
  readonly ledger: FrontLedger
  now(): number
  after(ms: number, run: () => void): () => void
  onOver(exchange: Exchange): void
}

type State = 'opening' | 'sending' | 'answering' | 'upgraded' | 'over'

/** RFC 6455 §1.3. */
const WEBSOCKET = '258EAFA5-E914-47DA-95CA-C5AB0DC85B11'

export class Exchange implements OutboundEvents {
  readonly #inbound: Inbound
  readonly #owner: ExchangeOwner
  readonly #abort = new AbortController()
  readonly #startMs: number
  #state: State = 'opening'
  #key: string | null = null
  #outbound: Outbound | null = null
  #stopBody: (() => void) | null = null
  #stopAnswer: (() => void) | null = null
  #joined: Duplex | null = null
  #touchedMs: number
  /** Nothing more of the request is to come. */
  #asked = false
  /** Nothing more of the response is to come; what becomes of its way is of no interest. */
  #heard = false
  #status: number | null = null
  #bytesUp = 0
  #bytesDown = 0
  /** Of a WebSocket whose other side speaks the other version of HTTP. */
  #challenge: string | null = null

  /** `inbound` is made with this one's `onGone`. */
  constructor(make: (onGone: () => void) => Inbound, owner: ExchangeOwner) {
    this.#owner = owner
    this.#startMs = this.#touchedMs = owner.now()
    this.#inbound = make(() => this.#end('client'))
  }

  get inbound(): Inbound {
    return this.#inbound
  }

  /** Answered by a page. */
  refuse(failure: Failure, key: string | null = null): void {
    this.#key = key
    this.#fail(failure)
  }

  start(key: string): void {
    const { choice, ledger } = this.#owner
    const inbound = this.#inbound
    this.#key = key
    if (this.#state === 'over') return
    const asked = this.#asking(key)
    const { signal } = this.#abort
    const after = (ms: number, run: () => void): (() => void) => this.#owner.after(ms, run)
    this.#outbound = choice.open === null
      ? new Http2Outbound(asked, { session: choice.session!, signal, onRetry: () => void (ledger.retries += 1), after }, this)
      : new Http1Outbound(asked, { open: choice.open, signal, after }, this)
    this.#asked = inbound.body === null
    this.#outbound.start()
    if (inbound.body === null) this.#outbound?.endRequest([])
  }

  /** Ends it if it has waited too long. */
  checkTime(nowMs: number): void {
    const { limits } = this.#owner.choice
    const waitedMs = nowMs - this.#touchedMs
    const key = this.#key ?? ''
    if (this.#state === 'opening' && waitedMs >= limits.openTimeoutMs) this.#fail({ status: 504, reason: 'timeout', text: `The service ${JSON.stringify(key)} could not be reached in time.` })
    else if (this.#state === 'sending' && this.#asked && waitedMs >= limits.responseTimeoutMs) this.#fail({ status: 504, reason: 'timeout', text: `The service ${JSON.stringify(key)} did not answer in time.` })
    else if (this.#state === 'sending' && !this.#asked && waitedMs >= limits.idleTimeoutMs) this.#fail({ status: 408, reason: 'timeout', text: 'The rest of the request did not come in time.' })
    else if (this.#state === 'answering' && waitedMs >= limits.idleTimeoutMs) this.#end('timeout')
    else if (this.#state === 'upgraded' && waitedMs >= limits.upgradeIdleMs) this.#end('timeout')
  }

  /** The gateway ends. */
  shutDown(): void {
    if (this.#inbound.answered || this.#state === 'upgraded') this.#end('shutdown')
    else this.#fail({ status: 503, reason: 'shutdown', text: 'This front is going down.' })
  }

  onOpen(body: Writable): void {
    if (this.#state !== 'opening') return
    const { ledger, now } = this.#owner
    ledger.took('open', now() - this.#startMs)
    this.#state = 'sending'
    this.#touch()
    const source = this.#inbound.body
    if (source === null) return
    this.#stopBody = pump(source, body, {
      onBytes: (count) => {
        this.#touch()
        this.#bytesUp += count
      },
      onEnd: () => this.#onBodyEnd(),
    })
  }

  onInform(status: number, fields: Field[]): void {
    if (this.#state !== 'sending') return
    this.#touch()
    this.#inbound.inform(status, responseFields(withoutLength(fields), '1.1', this.#owner.choice.name))
  }

  onAnswer({ status, message, fields, version, body, trailers }: Answer): void {
    if (this.#state === 'over') return void body.destroy()
    const { ledger, now, choice } = this.#owner
    const inbound = this.#inbound
    ledger.took('response', now() - this.#startMs)
    this.#state = 'answering'
    this.#status = status
    this.#touch()
    // HTTP/2 takes no body with 205; in HTTP/1.1 its length of 0 must be said.
    const none = isBodiless(inbound.method, status) || (status === 205 && inbound.version === '2')
    const passed = status === 204 || (status === 205 && none) ? withoutLength(fields) : fields
    const problem = ambiguity(fields.filter(([name]) => name.toLowerCase() === 'content-length'), '1.1')
    const length = valuesOf(fields, 'transfer-encoding').length > 0 ? undefined : valuesOf(fields, 'content-length')[0]
    try {
      if (problem !== null) throw new Error(problem.text)
      inbound.head(status, message, responseFields(passed, version, choice.name), none ? 'none' : 'body')
    } catch {
      return this.#fail({ status: 502, reason: 'bad-response', text: 'What the service answered cannot be handed on.' })
    }
    this.#stopAnswer = pump(body, inbound.out, {
      onBytes: (count) => {
        this.#touch()
        this.#bytesDown += count
      },
      onEnd: () => {
        if (!none && length !== undefined && Number(length) !== this.#bytesDown) return this.#end('upstream')
        this.#heard = true
        inbound.end(trailerFields(trailers()), () => this.#end(null))
      },
    })
  }

  onUpgrade(fields: Field[], duplex: Duplex): void {
    if (this.#state === 'over') return void duplex.destroy()
    const { ledger, choice } = this.#owner
    const inbound = this.#inbound
    const protocol = inbound.upgrade ?? ''
    if (tokensOf(fields, 'upgrade').length > 0 && !tokensOf(fields, 'upgrade').includes(protocol)) {
      duplex.destroy()
      return this.#fail({ status: 502, reason: 'bad-response', text: 'The service changed to another protocol than was asked for.' })
    }
    const passed = this.#answerChallenge(responseFields(withoutLength(fields), '1.1', choice.name))
    if (passed === null) {
      duplex.destroy()
      return this.#fail({ status: 502, reason: 'bad-response', text: 'The service did not understand the change of protocol.' })
    }
    this.#state = 'upgraded'
    this.#status = inbound.version === '2' ? 200 : 101
    this.#touch()
    ledger.upgrades += 1
    this.#joined = duplex
    join(inbound.accept(passed, protocol), duplex, {
      onBytes: (direction, count) => {
        this.#touch()
        if (direction === 'up') this.#bytesUp += count
        else this.#bytesDown += count
      },
      onOver: (error, who) => this.#end(error === null ? null : who),
    })
  }

  onFailure(failure: Failure): void {
    if (!this.#heard) this.#fail(failure)
  }

  #onBodyEnd(): void {
    const { whole, fields } = this.#inbound
    const length = valuesOf(fields, 'content-length')[0]
    if (!whole || (length !== undefined && Number(length) !== this.#bytesUp)) return this.#end('client')
    this.#asked = true
    this.#touch()
    this.#outbound?.endRequest(trailerFields(this.#inbound.trailers()))
  }

  #asking(key: string): Asked {
    const { choice } = this.#owner
    const { method, path, host, secure, fields, body, upgrade, version, remote } = this.#inbound
    const length = valuesOf(fields, 'content-length')[0]
    const passed = requestFields({ fields, version, host, remote, secure }, choice.forwarded, choice.name)
    return {
      key, method, path, host, secure, upgrade, length: body === null ? null : (length ?? 'unknown'), acceptsTrailers: tokensOf(fields, 'te').includes('trailers'),
      fields: upgrade === 'websocket' ? this.#challenged(passed) : passed,
    }
  }

  /** HTTP/1.1 proves with a key that a WebSocket is meant, HTTP/2 has no need of it (RFC 8441 §5). */
  #challenged(fields: Field[]): Field[] {
    const toHttp2 = this.#owner.choice.open === null
    const others = fields.filter(([name]) => name.toLowerCase() !== 'sec-websocket-key')
    if (this.#inbound.version === '2' && !toHttp2) {
      this.#challenge = randomBytes(16).toString('base64')
      return [...others, ['Sec-WebSocket-Key', this.#challenge]]
    }
    if (this.#inbound.version === '2' || !toHttp2) return fields
    this.#challenge = valuesOf(fields, 'sec-websocket-key')[0] ?? ''
    return others
  }

  /** Null: the service's proof is none. */
  #answerChallenge(fields: Field[]): Field[] | null {
    if (this.#challenge === null) return fields
    const accept = createHash('sha1').update(this.#challenge + WEBSOCKET).digest('base64')
    if (this.#inbound.version !== '2') return [...fields, ['Sec-WebSocket-Accept', accept]]
    return valuesOf(fields, 'sec-websocket-accept')[0] === accept ? fields.filter(([name]) => name.toLowerCase() !== 'sec-websocket-accept') : null
  }

  #touch(): void {
    this.#touchedMs = this.#owner.now()
  }

  /** A page, where a response has not begun. */
  #fail(failure: Failure): void {
    if (this.#state === 'over') return
    const inbound = this.#inbound
    if (inbound.answered || this.#state === 'upgraded') return this.#end(failure.reason)
    this.#stop()
    this.#outbound?.cut()
    this.#outbound = null
    this.#status = failure.status
    this.#state = 'answering'
    this.#touch()
    const { message, fields, body } = pageOf(failure)
    const bodiless = isBodiless(inbound.method, failure.status)
    inbound.head(failure.status, message, this.#asked || inbound.body === null || inbound.version === '2' ? fields : [...fields, ['Connection', 'close']], bodiless ? 'none' : 'body')
    if (!bodiless) inbound.out.write(body)
    inbound.end([], () => this.#end(failure.reason, 'whole'))
  }

  /** The last word; `reason` null: all went well. 'cut': the client must not take what it has for the whole. */
  #end(reason: FrontReason | null, inboundSide: 'whole' | 'cut' = reason === null ? 'whole' : 'cut'): void {
    if (this.#state === 'over') return
    const inbound = this.#inbound
    const { now, ledger } = this.#owner
    this.#state = 'over'
    this.#stop()
    if (reason === null && this.#asked) this.#outbound?.finish()
    else this.#outbound?.cut()
    if (reason !== null) this.#joined?.destroy()
    if (inboundSide === 'cut') inbound.cut()
    else inbound.release()
    this.#abort.abort()
    ledger.bytesUp += this.#bytesUp
    ledger.bytesDown += this.#bytesDown
    const atMs = now()
    ledger.ended({
      atMs, type: 'request', method: inbound.method, host: inbound.host, path: inbound.path, status: this.#status, bytesUp: this.#bytesUp, bytesDown: this.#bytesDown,
      ms: atMs - this.#startMs, service: this.#key, protocol: inbound.protocol, remote: inbound.remote, reason,
    })
    this.#owner.onOver(this)
  }

  #stop(): void {
    this.#stopBody?.()
    this.#stopAnswer?.()
    this.#stopBody = this.#stopAnswer = null
  }
}

/** A length says nothing where there is no body (RFC 9110 §8.6). */
function withoutLength(fields: readonly Field[]): Field[] {
  return fields.filter(([name]) => name.toLowerCase() !== 'content-length')
}
