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
  #last: ConnectionRow | null = null

  constructor(engine: Engine, key: number) {
    this.#engine = engine
    this.#key = key
  }

  /** All numbers; of an ended connection the last ones. */
  row(): ConnectionRow {
    return this.#last ?? this.#read()
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
    this.#last ??= this.#read()
  }

  #read(): ConnectionRow {
    const numbers = this.#engine.numbers(Scope.CONNECTION, this.#key, 0)
    return Object.fromEntries(CONNECTION_NUMBERS.map((name, index) => [name, numbers?.[index] ?? 0])) as never
  }
}
