/** Follows the paths of connections for the status lines, also where a connection is replaced by another. */
import type { Connection } from '../../index.ts'
import { PathLedger } from '../paths.ts'
import type { PathGroup } from './view.ts'

export class PathTrace {
  readonly #ledgers = new Map<Connection, PathLedger>()

  /** The paths of what is connected; `name` says whose they are. */
  groups(connections: readonly { name: string; connection: Connection | null }[]): PathGroup[] {
    const live = new Set(connections.map(({ connection }) => connection))
    for (const [connection, ledger] of this.#ledgers) {
      if (live.has(connection)) continue
      ledger.stop()
      this.#ledgers.delete(connection)
    }
    return connections.map(({ name, connection }) => ({ name, paths: connection === null ? null : this.#of(connection).live().filter(({ report }) => report.state !== 'abandoned') }))
  }

  #of(connection: Connection): PathLedger {
    const known = this.#ledgers.get(connection) ?? new PathLedger(connection, 'both')
    this.#ledgers.set(connection, known)
    return known
  }
}
