/**
 * One connection at a public end from the end of its handshake to ACCEPT or REFUSE (reverse.md V4, V5, V26, V43, V51): HELLO, who it is, what the
 * user says, a place in the pools. Every step has a limit of time; however it ends, the connection is freed once.
 */
import type { Logger, PeerIdentity, Timing } from '../config/index.ts'
import { bookOf } from '../connection/index.ts'
import type { Connection } from '../connection/index.ts'
import type { BidirectionalStream } from '../stream/index.ts'
import { ReverseCode, reasonOf, reverseError } from './codes.ts'
import { ControlStream, within } from './control.ts'
import type { Ledger } from './ledger.ts'
import { DRAIN_MS } from './member.ts'
import { PROTOCOL_VERSION } from './messages.ts'
import { cutText, isName, shown } from './names.ts'
import type { CheckedListen, Hello } from './options.ts'
import { reverse } from './polarity.ts'
import type { Pools } from './pools.ts'

export interface ArrivalOwner {
  readonly timing: Timing
  readonly logger: Logger
  readonly choice: CheckedListen
  readonly ledger: Ledger
  readonly pools: Pools
  /** Nobody is welcome any more. */
  isClosing(): boolean
}

/** Why a connection is not accepted. */
class Refusal extends Error {
  readonly code: bigint

  constructor(code: bigint, text: string) {
    super(text)
    this.code = code
  }
}

export class Arrival {
  readonly connection: Connection
  readonly #owner: ArrivalOwner
  #control: ControlStream | null = null
  #hello: Hello | null = null
  #key: string | null = null

  constructor(connection: Connection, owner: ArrivalOwner) {
    this.connection = connection
    this.#owner = owner
  }

  /** Resolves when it is accepted, or refused and gone. Never rejects. */
  async run(): Promise<void> {
    try {
      await this.#accept()
    } catch (error) {
      if (error instanceof Refusal) await this.refuse(error.code, error.message)
      else await this.#onGone(error)
    }
  }

  /** REFUSE, if there is a stream for it, and CLOSE. `words`: of any length; the user's may be long. */
  async refuse(code: bigint, words: string): Promise<void> {
    const { connection } = this
    const text = cutText(words)
    this.#tell(code, text)
    // Its stream may be gone already: then CLOSE says it alone.
    await this.#control?.send({ type: 'refuse', code, text }).catch(() => {})
    await connection.close({ code, reason: text, drainMs: DRAIN_MS })
  }

  async #accept(): Promise<void> {
    const { choice, timing, pools } = this.#owner
    const { helloTimeoutMs, acceptTimeoutMs, pingMs, limits } = choice
    // What came before that may be a replay of somebody else's.
    await this.connection.opened
    const hello = await within(this.#hear(), helloTimeoutMs, timing, () => new Refusal(ReverseCode.TIMEOUT, `no HELLO within ${helloTimeoutMs} ms`))
    this.#hello = hello
    if (hello.version !== PROTOCOL_VERSION) throw new Refusal(ReverseCode.PROTOCOL, `version ${PROTOCOL_VERSION} is spoken here`)
    const { peer } = this.connection
    if (peer === null || bookOf(this.connection)?.verifies !== true) throw new Refusal(ReverseCode.AUTH, 'a certificate is required')
    const key = await within(Promise.race([this.#judge(peer, hello), this.#over()]), acceptTimeoutMs, timing, () => new Refusal(ReverseCode.TIMEOUT, 'no decision in time'))
    if (this.#owner.isClosing()) throw new Refusal(ReverseCode.SHUTDOWN, '')
    // The user may have ended it in this turn.
    if (this.connection.state !== 'open') throw new Error(ENDED)
    const refusal = pools.refusal(key)
    if (refusal !== null) throw new Refusal(refusal, '')
    this.#reverse()
    this.#key = key
    const control = this.#control as ControlStream
    const member = pools.enter(this.connection, control, key, hello)
    void control.send({ type: 'accept', key, pingMs: Math.floor(pingMs), maxPerKey: limits.maxPerKey }).catch(() => {})
    member.start(acceptTimeoutMs)
  }

  /** A connection whose handshake had begun before `reverseListen` was called has no parts to change; the next one has. */
  #reverse(): void {
    try {
      reverse(this.connection)
    } catch {
      throw new Refusal(ReverseCode.BUSY, 'this end was not ready when the connection began')
    }
  }

  /** The first stream and its first message. */
  async #hear(): Promise<Hello> {
    const stream = await this.#firstStream()
    this.#control = new ControlStream(stream)
    const message = await this.#control.next().catch((error: unknown) => {
      throw (error as { code?: unknown }).code === 'QB_REVERSE_PROTOCOL' ? new Refusal(ReverseCode.PROTOCOL, (error as Error).message) : error
    })
    if (message?.type !== 'hello') throw new Refusal(ReverseCode.PROTOCOL, 'the first message is not HELLO')
    const { version, service, pool } = message
    return { version, service, pool }
  }

  async #firstStream(): Promise<BidirectionalStream> {
    const streams = this.connection.incomingBidirectional()
    const { value: first } = await streams.next()
    if (first === undefined) throw new Error('ended before HELLO')
    void refuseAll(streams)
    void refuseAll(this.connection.incomingUnidirectional())
    return first
  }

  /** The user's word, then the pool key. */
  async #judge(identity: PeerIdentity, hello: Hello): Promise<string> {
    const { choice: { accept, poolKey = nameOfCertificate }, logger } = this.#owner
    try {
      await accept?.(identity, { ...hello })
    } catch (error) {
      throw new Refusal(ReverseCode.AUTH, error instanceof Error ? shown(error.message) : '')
    }
    let key: unknown
    try {
      key = await poolKey(identity, { ...hello })
    } catch (error) {
      logger.debug?.('poolKey failed; the connection is refused', { connection: this.connection.id, service: hello.service, error })
      throw new Refusal(ReverseCode.NAME, '')
    }
    if (key !== undefined && !isName(key)) logger.warn?.('poolKey answered what is no key (a text of 1 to 255 bytes that can be read); the connection is refused', { connection: this.connection.id, service: hello.service })
    if (!isName(key)) throw new Refusal(ReverseCode.NAME, '')
    return key
  }

  /** Nobody waits for a decision about a connection that has ended. */
  async #over(): Promise<never> {
    await this.connection.closed
    throw new Error(ENDED)
  }

  async #onGone(error: unknown): Promise<void> {
    const info = await this.connection.close()
    const { code } = (error ?? {}) as { code?: unknown }
    this.#tell(info.layer === 'application' ? info.errorCode : null, typeof code === 'string' ? code : info.reason)
  }

  #tell(code: bigint | null, text: string): void {
    const { ledger, pools } = this.#owner
    const { remote, id } = this.connection
    ledger.refused({ service: this.#hello?.service ?? null, key: this.#key, remote, reason: code === ReverseCode.NONE ? null : reasonOf(code), text: shown(text), connection: id, size: this.#key === null ? 0 : pools.size(this.#key) })
  }
}

const ENDED = 'ended before it was accepted'

/** The service name, if the certificate has it: as it is written there, or one name would be as many keys as it has spellings. */
function nameOfCertificate({ names }: PeerIdentity, { service }: Hello): string | undefined {
  if (names.includes(service)) return service
  const wanted = service.toLowerCase()
  return names.find((name) => name.toLowerCase() === wanted)
}

/** Streams that nobody expects, as long as there are any. */
async function refuseAll(streams: AsyncIterable<{ stop(code: bigint): void; reset?(code: bigint): void }>): Promise<void> {
  for await (const stream of streams) {
    stream.reset?.(ReverseCode.WRONG_WAY)
    stream.stop(ReverseCode.WRONG_WAY)
  }
}

/** What a private end gets that comes when it cannot be looked at. */
export function turnAway(connection: Connection, code: bigint): Promise<unknown> {
  return connection.close({ code, reason: reverseError(code, { service: '', by: 'local' }).message, drainMs: 0 })
}
