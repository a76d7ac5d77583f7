/** The client of a case: makes the connections of its plan and fetches every file whole, or fails. */
import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import type { Connection, ConnectionOptions, Endpoint } from '../../index.ts'
import { upTo } from '../clock.ts'
import { asCommandError } from '../exit.ts'
import { download, fileTarget, StallClock } from '../files/index.ts'
import type { Target } from '../files/index.ts'
import { formatBytes } from '../format.ts'
import type { FileUrl } from '../parse.ts'
import type { Terminal } from '../terminal.ts'
import { Interruption } from '../signals.ts'
import type { InteropCase } from './cases.ts'
import { bindFor, COMMON, named } from './endpoint.ts'
import type { InteropEnvironment } from './environment.ts'
import { handshakeLine } from './facts.ts'

/** Files that are open at once; streams beyond wait for their turn. */
const PARALLEL = 128
/** A session ticket comes right behind the handshake. If none has come by then, the next connection does without. */
const TICKET_MS = 3000

/** Resolves when every file is complete. @throws CommandError, exit 127 if this build lacks what the case needs */
export async function runClient(row: InteropCase, environment: InteropEnvironment, terminal: Terminal): Promise<void> {
  await mkdir(environment.downloads, { recursive: true })
  using interrupted = new Interruption()
  const endpoint = await bindFor(environment, {}, terminal)
  const fetching = new Fetching(row, environment, endpoint, terminal, interrupted.signal)
  try {
    for (const batch of batchesOf(row, environment.requests)) await fetching.overOneConnection(batch)
    terminal.note(`all ${environment.requests.length} files are complete, ${formatBytes(fetching.bytes)}`)
  } finally {
    await endpoint.close()
  }
}

/** The requests of each connection, in order. */
export function batchesOf(row: Pick<InteropCase, 'plan'>, requests: readonly FileUrl[]): FileUrl[][] {
  switch (row.plan) {
    case 'one connection': return [[...requests]]
    case 'a connection each': return requests.map((request) => [request])
    // With a single request it is fetched twice: two connections are the point.
    case 'first, then resumed': return [requests.slice(0, 1), requests.length > 1 ? requests.slice(1) : [...requests]]
  }
}

class Fetching {
  bytes = 0
  readonly #row: InteropCase
  readonly #environment: InteropEnvironment
  readonly #endpoint: Endpoint
  readonly #terminal: Terminal
  readonly #signal: AbortSignal
  readonly #stall = new StallClock()

  constructor(row: InteropCase, environment: InteropEnvironment, endpoint: Endpoint, terminal: Terminal, signal: AbortSignal) {
    this.#row = row
    this.#environment = environment
    this.#endpoint = endpoint
    this.#terminal = terminal
    this.#signal = signal
  }

  async overOneConnection(requests: readonly FileUrl[]): Promise<void> {
    const connection = await this.#connect(requests[0]?.origin ?? '')
    const ticket = eventOf(connection, 'session-stored')
    if (this.#row.updatesKey) await this.#updateKey(connection)
    const queue = [...requests]
    const worker = async (): Promise<void> => {
      for (let request = queue.shift(); request !== undefined; request = queue.shift()) await this.#fetch(connection, request)
    }
    await Promise.all(Array.from({ length: Math.min(PARALLEL, queue.length) }, worker))
    // What was fetched in 0-RTT may be complete before the handshake is; closing then would cut it off.
    await connection.confirmed
    if (this.#row.plan === 'first, then resumed') await upTo(TICKET_MS, ticket)
    await connection.close()
  }

  async #connect(origin: string): Promise<Connection> {
    // Certificates are those of the runner's own authority, in one case in a chain longer than verifiers build.
    const options: ConnectionOptions = { ...COMMON, verify: 'none', ...this.#row.client }
    try {
      const connection = await this.#endpoint.connect(origin, { ...options, signal: this.#signal })
      connection.opened.then((info) => this.#terminal.note(`${origin}: ${handshakeLine(info)}${connection.early === 'none' ? '' : `, 0-RTT ${connection.early}`}`), () => undefined)
      return connection
    } catch (error) {
      throw asCommandError(named(error, this.#row), 'connecting')
    }
  }

  async #fetch(connection: Connection, { url, path, name }: FileUrl): Promise<void> {
    // A URL without a file asks for the handshake alone.
    if (name === null) return
    const target = (): Target => lazyTarget(join(this.#environment.downloads, name))
    const job = { connection, url, path, stall: this.#stall, signal: this.#signal }
    try {
      const { bytes } = await download({ ...job, target: target() })
      this.bytes += bytes
    } catch (error) {
      // The server took no early data: what went out early counts as never sent.
      if (connection.early !== 'rejected' || connection.state !== 'open') throw asCommandError(error, 'connected')
      const { bytes } = await download({ ...job, target: target() })
      this.bytes += bytes
    }
  }

  /** Before anything is asked for, so that the files come under both keys however slow this end is. */
  async #updateKey(connection: Connection): Promise<void> {
    try {
      await connection.confirmed
      this.#terminal.note(connection.updateKey() ? 'key update begun' : 'a key update is under way')
    } catch {
      // The connection has ended; the downloads tell.
    }
  }
}

/** Resolves at the first event of this type, and at the end of the connection. */
function eventOf(connection: Connection, type: string): Promise<void> {
  return new Promise((resolve) => {
    connection.events$.subscribe({ next: (event) => { if (event.type === type) resolve() }, complete: resolve })
  })
}

/** A file that is opened when its first bytes come: streams may wait long for their turn, open files are few. */
function lazyTarget(file: string): Target {
  let opened: Promise<Target> | null = null
  const target = (): Promise<Target> => (opened ??= fileTarget(file))
  return {
    write: async (pieces) => (await target()).write(pieces),
    complete: async () => (await target()).complete(),
    abandon: async () => { if (opened !== null) await (await opened).abandon() },
  }
}
