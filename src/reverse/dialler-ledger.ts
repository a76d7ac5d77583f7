/** Counts and tells: states of a private end and of its connections, requests, numbers. Never decides. */
import { hot, sampled } from '../config/index.ts'
import type { Feed, Observable, Sampling } from '../config/index.ts'
import type { Connection } from '../connection/index.ts'
import { isQuicbraidError } from '../errors/index.ts'
import type { BidirectionalStream } from '../stream/index.ts'
import type { DiallerEvent, DiallerStatistics, LineStep, PreconnectChange, ServedRequest } from './types.ts'

export class DiallerLedger {
  readonly #now: () => number
  readonly #states: Feed<PreconnectChange> = hot(1)
  readonly #lists: Feed<readonly Connection[]> = hot(1)
  readonly #steps: Feed<DiallerEvent> & { readonly watched: boolean } = hot(0)
  readonly #requests: Feed<ServedRequest> & { readonly watched: boolean } = hot(0)
  readonly #metrics: Omit<Feed<DiallerStatistics>, 'emit'>
  readonly #failed: Record<string, number> = Object.create(null) as Record<string, number>
  readonly #accepting = { count: 0, totalMs: 0, maxMs: 0 }
  #dialledAtMs = 0
  #attempts = 0
  #lost = 0
  #total = 0
  #open = 0
  #broken = 0
  /** By who keeps them: one that was stopped may still end what is under way while the next dials. */
  readonly #kept = new Map<object, { connections: readonly Connection[]; draining: number }>()
  #connections: readonly Connection[] = []

  constructor(now: () => number, sampling: Sampling) {
    this.#now = now
    this.#metrics = sampled(sampling, () => this.statistics())
    this.#lists.emit([])
  }

  get states$(): Observable<PreconnectChange> {
    return this.#states.values$
  }

  get connections$(): Observable<readonly Connection[]> {
    return this.#lists.values$
  }

  get events$(): Observable<DiallerEvent> {
    return this.#steps.values$
  }

  get requests$(): Observable<ServedRequest> {
    return this.#requests.values$
  }

  get metrics$(): Observable<DiallerStatistics> {
    return this.#metrics.values$
  }

  now(): number {
    return this.#now()
  }

  state(change: PreconnectChange): void {
    this.#states.emit(change)
  }

  /** Those of one keeper that take requests, and how many only end. */
  members(keeper: object, own: readonly Connection[], draining: number): void {
    if (own.length + draining === 0) this.#kept.delete(keeper)
    else this.#kept.set(keeper, { connections: own, draining })
    const connections = [...this.#kept.values()].flatMap((kept) => kept.connections)
    if (connections.length === this.#connections.length && connections.every((connection, index) => connection === this.#connections[index])) return
    this.#connections = Object.freeze(connections)
    this.#lists.emit(this.#connections)
  }

  step(connection: Connection | null, state: LineStep, reason: string): void {
    if (state === 'CONNECTING') {
      this.#attempts += 1
      this.#dialledAtMs = this.#now()
    } else if (state === 'ACCEPTED') {
      const ms = this.#now() - this.#dialledAtMs
      this.#accepting.count += 1
      this.#accepting.totalMs += ms
      this.#accepting.maxMs = Math.max(this.#accepting.maxMs, ms)
    }
    if (this.#steps.watched) this.#steps.emit({ atMs: this.#now(), connection: connection?.id ?? null, state, reason })
  }

  /** An attempt has failed. */
  failed(connection: Connection | null, error: Error): void {
    const code = isQuicbraidError(error) ? error.code : 'other'
    this.#failed[code] = (this.#failed[code] ?? 0) + 1
    this.step(connection, 'FAILED', error.message)
  }

  /** An accepted connection has ended, and not because this end wanted it. */
  lost(): void {
    this.#lost += 1
  }

  /** A request has come; answers when. */
  begin(stream: BidirectionalStream): number {
    this.#total += 1
    this.#open += 1
    this.#request(stream, 'opened', 0, null)
    return this.#now()
  }

  /** `error`: what a part of the stream was cut by. */
  ended(sinceMs: number, stream: BidirectionalStream, error: Error | null): void {
    this.#open -= 1
    if (error !== null) this.#broken += 1
    this.#request(stream, error === null ? 'closed' : 'failed', this.#now() - sinceMs, error)
  }

  #request(stream: BidirectionalStream, type: ServedRequest['type'], ms: number, error: Error | null): void {
    if (!this.#requests.watched) return
    this.#requests.emit({ atMs: this.#now(), type, connection: stream.connection.id, stream: stream.id, ms, bytesIn: stream.bytesReceived, bytesOut: stream.bytesWritten, error })
  }

  statistics(): DiallerStatistics {
    let draining = 0
    for (const kept of this.#kept.values()) draining += kept.draining
    return {
      connections: this.#connections.length, draining, attempts: this.#attempts, accepted: this.#accepting.count, failed: { ...this.#failed }, lost: this.#lost,
      requests: this.#total, requestsOpen: this.#open, requestsFailed: this.#broken, accepting: { ...this.#accepting },
    }
  }

  end(): void {
    this.#states.end()
    this.#lists.end()
    this.#steps.end()
    this.#requests.end()
    this.#metrics.end()
  }
}
