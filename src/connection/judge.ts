/**
 * The `verify` function while a handshake waits for it: asked once, heard once, within its time limit. Whatever it does (throws, rejects, never
 * settles, answers late, answers something) ends in one verdict; everything but a plain return refuses.
 */
import type { NativeEvent, NativeOrder } from '../binding/index.ts'
import type { Cancel, KeptOptions, Logger, PeerIdentity, Timing, Verify } from '../config/index.ts'
import { peerIdentity } from './peer.ts'

/** Of what a function said when it refused. */
const REASON_CHARS = 1000

export class Judge {
  readonly #connection: string
  readonly #logger: Logger
  readonly #timing: Timing
  readonly #verify: Verify | null
  readonly #timeoutMs: number
  #stop: Cancel = () => {}
  /** What the function refused with: the cause of the connection's error. */
  cause: unknown

  constructor({ id, kept }: { id: string; kept: Pick<KeptOptions, 'verify' | 'verifyTimeoutMs'> }, logger: Logger, timing: Timing) {
    this.#connection = id
    this.#logger = logger
    this.#timing = timing
    this.#verify = kept.verify
    this.#timeoutMs = kept.verifyTimeoutMs
  }

  /** `give` is called once, never inside this call, and not after `stop()`. */
  ask(event: Extract<NativeEvent, { type: 'verify' }>, give: (order: Extract<NativeOrder, { do: 'verdict' }>) => void): void {
    const peer = { ...peerIdentity(event.peer, event.serverName), defaultError: event.defaultError }
    this.#stop = judged(this.#timing, this.#verify, peer, this.#timeoutMs, (refusal) => {
      if (refusal === null) return give({ do: 'verdict', answer: 'accept', reason: '' })
      this.cause = refusal.cause
      this.#logger.warn?.('verify refused the peer', { connection: this.#connection, reason: refusal.reason, error: refusal.cause })
      return give({ do: 'verdict', answer: 'refuse', reason: refusal.reason.slice(0, REASON_CHARS) })
    })
  }

  /** The connection has ended: nobody waits for the answer. */
  stop(): void {
    this.#stop()
  }
}

/** Answers how to stop asking. `give(null)`: the peer is accepted. */
function judged(timing: Timing, verify: Verify | null, peer: PeerIdentity & { defaultError: string | null }, timeoutMs: number, give: (refusal: { reason: string; cause: unknown } | null) => void): Cancel {
  let over = false
  const finish = (refusal: Parameters<typeof give>[0]): void => {
    if (over) return
    over = true
    stop()
    give(refusal)
  }
  const stop = timing.after(timeoutMs, () => {
    const reason = `it gave no answer within ${timeoutMs} ms (verifyTimeoutMs)`
    finish({ reason, cause: new Error(`verify: ${reason}`) })
  })
  // What is thrown at once is a rejection, too; a late one is nobody's.
  new Promise((resolve) => resolve(verify === null ? 'no function' : verify(peer))).then(
    (answer) => finish(answer === undefined ? null : { reason: `it answered ${String(typeof answer)}; return nothing to accept, throw to refuse`, cause: undefined }),
    (error: unknown) => finish({ reason: error instanceof Error ? error.message : String(error), cause: error }),
  )
  return () => {
    over = true
    stop()
  }
}
