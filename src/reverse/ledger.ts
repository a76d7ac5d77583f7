/** Counts and tells: the events and numbers of a public end. Never decides. */
import { hot, sampled } from '../config/index.ts'
import type { Feed, Observable, Sampling } from '../config/index.ts'
import type { ReverseReason } from './codes.ts'
import type { ReverseEvent, ReverseStatistics } from './types.ts'

/** What is counted where it is. */
export type Standing = Pick<ReverseStatistics, 'connections' | 'draining' | 'pending' | 'keys' | 'waiting' | 'streamsOpen'>

export class Ledger {
  readonly #now: () => number
  readonly #standing: () => Standing
  readonly #events: Feed<ReverseEvent> & { readonly watched: boolean } = hot(0)
  readonly #metrics: Omit<Feed<ReverseStatistics>, 'emit'>
  readonly #refused: Record<string, number> = Object.create(null) as Record<string, number>
  #accepted = 0
  #closed = 0
  requests = 0
  unserved = 0
  repeated = 0

  constructor(now: () => number, sampling: Sampling, standing: () => Standing) {
    this.#now = now
    this.#standing = standing
    this.#metrics = sampled(sampling, () => this.statistics())
  }

  get events$(): Observable<ReverseEvent> {
    return this.#events.values$
  }

  get metrics$(): Observable<ReverseStatistics> {
    return this.#metrics.values$
  }

  now(): number {
    return this.#now()
  }

  accepted(event: Omit<ReverseEvent, 'atMs' | 'type'>): void {
    this.#accepted += 1
    this.#tell('accepted', event)
  }

  /** `reason` null: the connection ended by itself before it was accepted; that counts as 'gone'. */
  refused(event: Omit<ReverseEvent, 'atMs' | 'type'>): void {
    const name: ReverseReason | 'gone' = event.reason ?? 'gone'
    this.#refused[name] = (this.#refused[name] ?? 0) + 1
    this.#tell('refused', event)
  }

  draining(event: Omit<ReverseEvent, 'atMs' | 'type'>): void {
    this.#tell('draining', event)
  }

  closed(event: Omit<ReverseEvent, 'atMs' | 'type'>): void {
    this.#closed += 1
    this.#tell('closed', event)
  }

  statistics(): ReverseStatistics {
    const { requests, unserved, repeated } = this
    return { ...this.#standing(), accepted: this.#accepted, refused: { ...this.#refused }, closed: this.#closed, requests, unserved, repeated }
  }

  end(): void {
    this.#events.end()
    this.#metrics.end()
  }

  #tell(type: ReverseEvent['type'], event: Omit<ReverseEvent, 'atMs' | 'type'>): void {
    if (this.#events.watched) this.#events.emit({ atMs: this.#now(), type, ...event })
  }
}
