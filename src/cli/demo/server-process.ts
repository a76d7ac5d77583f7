/** The demo's server: offers one file over the paths the client opens, and tells what it sent on each. */
import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { realpath, stat } from 'node:fs/promises'
import { createDevCertificate, Endpoint } from '../../index.ts'
import type { Connection, ServerOptions } from '../../index.ts'
import { FileServer, HQ_ALPN, openFile } from '../files/index.ts'
import { PathLedger } from '../paths.ts'
import { schedulerOption } from '../scheduler.ts'
import { factsOf, recordFlight } from './flight.ts'
import type { FlightBurst, SentPath, ServerStart } from './messages.ts'
import type { Port } from './process.ts'

export function runServer(port: Port): void {
  const server = new DemoServer(port)
  port.onOrder(async (order) => {
    if (order.do === 'start' && 'local' in order) await server.start(order)
    if (order.do === 'statistics') await server.tell()
  })
  port.onStop(() => server.stop())
}

class DemoServer {
  readonly #port: Port
  readonly #stopping = new AbortController()
  #endpoint: Endpoint | null = null
  #ledger: PathLedger | null = null
  #connection: Connection | null = null
  #flight: FlightBurst[] = []

  constructor(port: Port) {
    this.#port = port
  }

  async start(order: ServerStart): Promise<void> {
    const file = await realpath(order.file)
    const { cert, key } = createDevCertificate()
    const server = { cert, key, alpn: HQ_ALPN, scheduler: await schedulerOption(order.scheduler) } as ServerOptions
    const endpoint = await Endpoint.bind({ local: order.local, server })
    this.#endpoint = endpoint
    endpoint.connections$.subscribe((connection) => this.#meet(connection))
    void this.#serve(endpoint, new FileServer(() => openFile(file), () => undefined))
    this.#port.tell({ event: 'server-ready', local: [...endpoint.local], ca: cert, bytes: (await stat(file)).size, sha256: await hashOf(file) })
  }

  async tell(): Promise<void> {
    const handshake = this.#connection === null ? null : factsOf(await this.#connection.opened)
    this.#port.tell({ event: 'server-statistics', paths: this.#sent(), handshake, flight: this.#flight })
  }

  async stop(): Promise<void> {
    this.#stopping.abort()
    await this.#endpoint?.close({ drainMs: 0 })
  }

  async #serve(endpoint: Endpoint, files: FileServer): Promise<void> {
    try {
      for await (const connection of endpoint.incoming({ signal: this.#stopping.signal })) void files.serve(connection, this.#stopping.signal)
    } catch {
      // Stopped.
    }
  }

  /** The first connection is the client's; nobody else knows the address. */
  #meet(connection: Connection): void {
    if (this.#connection !== null) return
    this.#connection = connection
    this.#ledger = new PathLedger(connection, 'bytesSent')
    this.#flight = recordFlight(connection, 'server')
    connection.paths.events$.subscribe(({ path, type, reason }) => this.#port.tell({ event: 'path', from: 'server', path, type, reason }))
  }

  #sent(): SentPath[] {
    return (this.#ledger?.report() ?? []).map(({ id, bytesSent, rttMs, lost, bursts, segmentsPerBurst, state, reason }) => ({ id, bytesSent, rttMs, lost, bursts, segments: Math.round(segmentsPerBurst * bursts), state, reason }))
  }
}

async function hashOf(file: string): Promise<string> {
  const hash = createHash('sha256')
  for await (const piece of createReadStream(file, { highWaterMark: 1024 * 1024 })) hash.update(piece as Buffer)
  return hash.digest('hex')
}
