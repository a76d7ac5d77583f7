/**
 * When a private end dials: keeps a number of accepted connections to one public end, made one after another (reverse.md §2, §3, §5).
 * Told of what happens, asked what is due; time and randomness are arguments, it dials nothing and waits for nothing itself.
 *
 *            enable()            pool reached
 *   STOP ──────────────▶ INIT ◀────────────────▶ FULL
 *     ▲                  │  ▲     one is lost     │
 *     │   attempt failed ▼  │ accepted            │
 *     └─── stop() ────── ERR ─────────────────────┘
 */
import { Backoff } from '../config/index.ts'
import type { BackoffOptions } from '../config/index.ts'
import type { PreconnectChange, PreconnectState } from './types.ts'

/** What a failed attempt leaves to hope for: another soon, or none before somebody has changed something. */
export type Outlook = 'again' | 'person'

/** One accepted connection, as it is counted. */
export interface Member {
  readonly acceptedAtMs: number
}

export interface PreconnectorOptions {
  /** Connections to keep, 1…. */
  pool: number
  retry: BackoffOptions
  /** In 0...1. */
  random: () => number
  /** Called when the state changes, and only then. */
  onChange: (change: PreconnectChange) => void
}

/** A connection that lived so long is replaced at once (V14). */
const REPLACED_AT_ONCE_MS = 1000
/** A connection that lived so long ends the memory of failures (V32). */
const STEADY_MS = 10_000
/** Between two dials that no pause stands between. */
const LEAST_GAP_MS = 1000
/** Who lost the same public end at the same time does not come back at the same time: the first pause after a loss is longer by up to this (V33). */
const SPREAD_MS = 1200

export class Preconnector {
  readonly #wanted: number
  /** Wanted, as far as the public end takes so many. */
  #pool: number
  readonly #backoff: Backoff
  readonly #spreadMs: number
  readonly #random: () => number
  readonly #onChange: (change: PreconnectChange) => void
  readonly #live = new Set<Member>()
  /** Those that live, have not been steady yet, oldest first. */
  readonly #young = new Set<Member>()
  #state: PreconnectState = 'STOP'
  /** Why the state is ERR: code of the error last told. */
  #failure: unknown = null
  /** An attempt is under way. */
  #dialling = false
  /** No dial before. */
  #dueAtMs = -Infinity
  #dialledAtMs = -Infinity
  /** The network changed while an attempt was under way. */
  #moved = false
  /** Something lived and was lost, and no attempt has failed since. */
  #bereft = false

  constructor({ pool, retry, random, onChange }: PreconnectorOptions) {
    this.#wanted = pool
    this.#pool = pool
    this.#backoff = new Backoff(retry, random)
    this.#spreadMs = retry.jitter === 0 ? 0 : SPREAD_MS
    this.#random = random
    this.#onChange = onChange
  }

  get state(): PreconnectState {
    return this.#state
  }

  /** Accepted connections that live. */
  get live(): number {
    return this.#live.size
  }

  /** What is due: a dial, which the caller begins now; a time to ask again, on the clock of `nowMs`; null: nothing until something happens. */
  poll(nowMs: number): 'dial' | number | null {
    if (this.#state === 'STOP' || this.#dialling || this.#live.size >= this.#pool) return null
    if (nowMs < this.#dueAtMs) return this.#dueAtMs
    this.#dialling = true
    this.#moved = false
    this.#dialledAtMs = nowMs
    return 'dial'
  }

  /** V11: the first attempt is due at once. */
  enable(nowMs: number): void {
    if (this.#state !== 'STOP') return
    this.#become('INIT', 'enabled', nowMs)
  }

  /** V15: whatever comes later of attempts and connections changes nothing. */
  stop(reason: string, nowMs: number): void {
    this.#live.clear()
    this.#young.clear()
    this.#dialling = false
    this.#bereft = false
    this.#dueAtMs = -Infinity
    this.#backoff.reset()
    this.#become('STOP', reason, nowMs)
  }

  /** The attempt has become a connection that the public end accepted; it takes no more than `most` of a service. */
  onAccepted(nowMs: number, most: number = Infinity): Member {
    const member: Member = { acceptedAtMs: nowMs }
    if (this.#state === 'STOP') return member
    this.#ripen(nowMs)
    this.#dialling = false
    this.#bereft = false
    this.#pool = Math.max(1, Math.min(this.#wanted, most))
    this.#live.add(member)
    this.#young.add(member)
    this.#become(this.#live.size >= this.#pool ? 'FULL' : 'INIT', `${this.#live.size} of ${this.#pool} accepted`, nowMs)
    return member
  }

  /** V13: the attempt has failed; told once for each. */
  onFailed(error: Error, outlook: Outlook, nowMs: number): void {
    if (this.#state === 'STOP') return
    this.#ripen(nowMs)
    this.#dialling = false
    const pause = this.#pause(outlook)
    this.#dueAtMs = this.#moved ? Math.max(nowMs, this.#dialledAtMs + LEAST_GAP_MS) : nowMs + pause
    this.#bereft = false
    this.#become('ERR', error.message, nowMs, error)
  }

  /** V14: an accepted connection takes no more requests, or has ended; told again, it is ignored. */
  onLost(member: Member, reason: string, error: Error | null, nowMs: number): void {
    if (this.#state === 'STOP') return
    this.#ripen(nowMs)
    if (!this.#live.delete(member)) return
    this.#young.delete(member)
    if (nowMs - member.acceptedAtMs < REPLACED_AT_ONCE_MS) this.#dueAtMs = Math.max(this.#dueAtMs, nowMs + this.#pause('again'))
    else {
      this.#bereft = true
      this.#hurry(nowMs)
    }
    if (this.#state === 'FULL') this.#become('INIT', reason, nowMs, error)
  }

  /** The attempt was given up here, for another that is due soon; nothing has failed. */
  onWithdrawn(nowMs: number): void {
    if (this.#state === 'STOP') return
    this.#dialling = false
    this.#dueAtMs = Math.max(nowMs, this.#dialledAtMs + LEAST_GAP_MS)
  }

  /** V32: there may be another way now. */
  onNetwork(nowMs: number): void {
    if (this.#state === 'STOP') return
    this.#moved = true
    this.#hurry(nowMs)
  }

  /** Ends a pause; not so that two dials follow each other at once (attacks H8). */
  #hurry(nowMs: number): void {
    if (nowMs < this.#dueAtMs) this.#dueAtMs = Math.min(this.#dueAtMs, Math.max(nowMs, this.#dialledAtMs + LEAST_GAP_MS))
  }

  #pause(outlook: Outlook): number {
    const ms = (outlook === 'person' ? this.#backoff.longest() : this.#backoff.next()) ?? 0
    return this.#bereft ? ms + this.#spreadMs * this.#random() : ms
  }

  /** Inputs are the only time at which it matters who has become steady. */
  #ripen(nowMs: number): void {
    for (const member of this.#young) {
      if (nowMs - member.acceptedAtMs < STEADY_MS) return
      this.#young.delete(member)
      this.#backoff.reset()
    }
  }

  #become(state: PreconnectState, reason: string, atMs: number, error: Error | null = null): void {
    const failure = (error as { code?: unknown } | null)?.code ?? null
    // That attempts fail for another reason is worth knowing, too.
    if (state === this.#state && (state !== 'ERR' || failure === this.#failure)) return
    this.#state = state
    this.#failure = failure
    this.#onChange({ state, reason, error, atMs })
  }
}
