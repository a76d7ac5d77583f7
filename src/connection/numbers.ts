/** Rows of the statistics page as objects, and what is left of them when the connection has ended. */
import { BLOCK_REASONS, CONNECTION_NUMBERS, Scope } from '../binding/index.ts'
import type { Engine } from '../binding/index.ts'
import type { BufferFacts, ConnectionStatistics } from './facts.ts'

/** Rows above this index are of `bursts.statistics()`. */
const PUBLIC = CONNECTION_NUMBERS.indexOf('coalesced')

export type ConnectionRow = Readonly<Record<(typeof CONNECTION_NUMBERS)[number], number>>

export class ConnectionNumbers {
  readonly #engine: Engine
  readonly #key: number
  #last: Float64Array | null = null

  constructor(engine: Engine, key: number) {
    this.#engine = engine
    this.#key = key
  }

  /** In the order of `CONNECTION_NUMBERS`, until the next call for any connection; of an ended one the last ones. Null: there are none. */
  cells(): Float64Array | null {
    return this.#last ?? this.#engine.numbers(Scope.CONNECTION, this.#key, 0)
  }

  /** All numbers; of an ended connection the last ones. */
  row(): ConnectionRow {
    const cells = this.cells()
    return Object.fromEntries(CONNECTION_NUMBERS.map((name, index) => [name, cells?.[index] ?? 0])) as never
  }

  statistics(): ConnectionStatistics {
    const row = this.row()
    return Object.fromEntries(CONNECTION_NUMBERS.slice(0, PUBLIC).map((name) => [name, row[name]])) as never
  }

  buffers(): BufferFacts {
    const row = this.row()
    const blockedMs = Object.fromEntries(BLOCK_REASONS.map((reason) => [reason, row[reason]])) as never
    return { usedBytes: row.bufferedBytes, waiting: row.waitingForMemory > 0, blockedMs }
  }

  /** Before the engine forgets the connection. */
  keep(): void {
    this.#last ??= this.cells()?.slice() ?? null
  }
}
