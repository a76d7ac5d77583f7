/** What the assembler did: every burst as a record, the plan of the next one, and counts. Nobody subscribed: no cost. */
import { SIGNALS, Trace } from '../binding/index.ts'
import type { BlockedRecord, BurstRecord, Engine, Signal } from '../binding/index.ts'
import { invalidOption, unavailableOption } from '../config/index.ts'
import type { Observable } from '../config/index.ts'
import { BurstFeed } from './observe.ts'

/** What bursts ask of their connection. */
export interface BurstOwner {
  readonly engine: Engine
  readonly key: number
  readonly features: ReadonlySet<string>
  /** What calls throw once the connection has ended. */
  error(): Error | null
  /** The connection's numbers by name. */
  row(): Readonly<Record<string, number>>
  /** Turns a kind of trace on or off. */
  trace(bit: number, on: boolean): void
}

export interface BurstStatistics {
  bursts: number
  segments: number
  meanSegments: number
  coalesced: number
  blocked: Readonly<Record<Signal, number>>
  cancelledSegments: number
}

export class Bursts {
  readonly #owner: BurstOwner
  readonly #feed: BurstFeed

  /** @internal */
  constructor(owner: BurstOwner) {
    this.#owner = owner
    this.#feed = new BurstFeed((on) => owner.trace(Trace.BURSTS, on))
  }

  /** Every burst and every blocked answer. [H0] tick */
  get trace$(): Observable<BurstRecord | BlockedRecord> {
    return this.#feed.trace$
  }

  /** What would be sent now, by the same pure planner; changes nothing, uses no packet number (numbers in it are provisional). */
  async plan(path: number): Promise<Omit<BurstRecord, 'submitted'> | BlockedRecord> {
    if (!Number.isInteger(path) || path < 0) throw invalidOption('path', path, 'a path id')
    if (!this.#owner.features.has('plan')) throw unavailableOption('bursts.plan', path)
    const ended = this.#owner.error()
    if (ended !== null) throw ended
    return this.#owner.engine.ask(this.#owner.key, { ask: 'plan', path }) as BurstRecord | BlockedRecord
  }

  statistics(): BurstStatistics {
    const row = this.#owner.row()
    const { bursts = 0, segments = 0, coalesced = 0, cancelledSegments = 0 } = row
    const blocked = Object.fromEntries(SIGNALS.map((signal) => [signal, row[signal] ?? 0])) as Record<Signal, number>
    return { bursts, segments, meanSegments: bursts === 0 ? 0 : segments / bursts, coalesced, blocked, cancelledSegments }
  }

  /** From the connection: a TRACE record. @internal */
  onTrace(record: BurstRecord | BlockedRecord): void {
    this.#feed.emit(record)
  }

  /** @internal */
  end(): void {
    this.#feed.end()
  }
}
