/**
 * An endpoint's numbers as Prometheus text, from the shared pages: asks nobody, waits for nothing. Bounded: the first connections have series of
 * their own as long as they live, all the others are summed up, with those that have ended, as `connection="other"`, which never goes down.
 */
import { CONNECTION_NUMBERS, DROP_REASONS, SIGNALS } from '../../binding/index.ts'
import { packageVersion } from '../../config/index.ts'
import { Connection } from '../../connection/index.ts'
import type { Path } from '../../path/index.ts'
import type { Endpoint } from '../endpoint.ts'
import type { EndpointStatistics } from '../facts.ts'
import { BLOCKED_BURSTS, BLOCKED_SECONDS, CONNECTION, CONNECTION_INFO, DROPS, ENDPOINT, INFO, LISTED, PATH, PATH_INFO, PATH_SILENCE } from './families.ts'
import type { Row } from './families.ts'
import { Exposition, labelText, withLabel } from './text.ts'

/** Connections with series of their own. */
const CONNECTIONS_LISTED = 64
/** Paths of each that have series of their own. */
const PATHS_LISTED = 8

const BLOCKED_AT = CONNECTION_NUMBERS.indexOf('RX_BUF')
const SIGNALS_AT = CONNECTION_NUMBERS.length - SIGNALS.length
const STALL_AT = CONNECTION_NUMBERS.indexOf('maxStallMs')
const OTHER = labelText({ connection: 'other' })

export class Prometheus {
  /** They keep their place until they end. */
  readonly #listed = new Set<Connection>()
  /** Of connections that have ended, in the order of `CONNECTION_NUMBERS`. */
  readonly #ended = new Float64Array(CONNECTION_NUMBERS.length)

  add(connection: Connection): void {
    if (this.#listed.size < CONNECTIONS_LISTED) this.#listed.add(connection)
  }

  /** Its numbers are the last ones. */
  remove(connection: Connection): void {
    this.#listed.delete(connection)
    const cells = Connection.cells(connection)
    if (cells === null) return
    const stood = this.#ended.slice()
    addUp(this.#ended, cells)
    // What it held it holds no more; counters stay.
    for (const [index, name] of CONNECTION_NUMBERS.entries()) if (index !== STALL_AT && isGauge(name)) this.#ended[index] = stood[index] ?? 0
  }

  text(endpoint: Endpoint): string {
    const out = new Exposition()
    this.#endpoint(out, endpoint)
    for (const connection of this.#listed) this.#connection(out, connection)
    const sums = this.#ended.slice()
    for (const connection of endpoint.connections) if (!this.#listed.has(connection)) addUp(sums, Connection.cells(connection) ?? [])
    tellConnection(out, OTHER, sums)
    for (const connection of this.#listed) for (const path of [...connection.paths].slice(0, PATHS_LISTED)) tellPath(out, connection, path, endpoint.now())
    return out.toString()
  }

  #endpoint(out: Exposition, endpoint: Endpoint): void {
    const { drops, ...numbers }: EndpointStatistics = endpoint.statistics()
    out.add(INFO, labelText({ driver: endpoint.driver, local: endpoint.local.join(', '), version: packageVersion() }), 1)
    for (const [name, row] of Object.entries(ENDPOINT) as [keyof typeof ENDPOINT, Row][]) out.add(row, '', numbers[name] * row.scale)
    for (const reason of DROP_REASONS) out.add(DROPS, labelText({ reason }), drops[reason] ?? 0)
    out.add(LISTED, '', this.#listed.size)
  }

  #connection(out: Exposition, connection: Connection): void {
    const { id, role, state, local, remote, alpn, multipath, serverName } = connection
    const labels = labelText({ connection: id })
    out.add(CONNECTION_INFO, labelText({ connection: id, role, state, local, remote, alpn: alpn ?? '', server_name: serverName ?? '', multipath }), 1)
    tellConnection(out, labels, Connection.cells(connection) ?? [])
  }
}

function tellConnection(out: Exposition, labels: string, cells: ArrayLike<number>): void {
  for (const [index, name] of CONNECTION_NUMBERS.entries()) {
    const value = cells[index] ?? 0
    if (index >= SIGNALS_AT) out.add(BLOCKED_BURSTS, withLabel(labels, 'signal', name), value)
    else if (index >= BLOCKED_AT) out.add(BLOCKED_SECONDS, withLabel(labels, 'reason', name), value * BLOCKED_SECONDS.scale)
    else {
      const row = CONNECTION[name as keyof typeof CONNECTION]
      out.add(row, labels, value * row.scale)
    }
  }
}

function tellPath(out: Exposition, connection: Connection, path: Path, nowMs: number): void {
  const { id, local, remote, interface: device, facts } = path
  const numbers = path.statistics()
  const labels = labelText({ connection: connection.id, path: String(id), local, remote })
  const silence = numbers.lastReceivedAtMs > 0 ? Math.max(0, nowMs - numbers.lastReceivedAtMs) : 0
  out.add(PATH_INFO, labelText({ connection: connection.id, path: String(id), local, remote, interface: device ?? '', state: facts.state, status: facts.status, ecn: numbers.ecn }), 1)
  for (const [name, row] of Object.entries(PATH) as [keyof typeof PATH, Row][]) out.add(row, labels, numbers[name] * row.scale)
  out.add(PATH_SILENCE, labels, silence * PATH_SILENCE.scale)
}

/** Sums; of the longest stall the longest. */
function addUp(sums: Float64Array, cells: ArrayLike<number>): void {
  for (let index = 0; index < sums.length; index++) {
    const [sum = 0, more = 0] = [sums[index], cells[index]]
    sums[index] = index === STALL_AT ? Math.max(sum, more) : sum + more
  }
}

function isGauge(name: (typeof CONNECTION_NUMBERS)[number]): boolean {
  return name in CONNECTION && CONNECTION[name as keyof typeof CONNECTION].type === 'gauge'
}
