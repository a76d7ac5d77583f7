/** The demo's client: opens the paths, downloads the file, tells how far it is. It is never told of the cut. */
import { Endpoint } from '../../index.ts'
import type { Connection, ConnectionOptions, PathSet } from '../../index.ts'
import { every, nowMs, sleep } from '../clock.ts'
import { asCommandError } from '../exit.ts'
import { download, fileTarget, HQ_ALPN, StallClock } from '../files/index.ts'
import { PathLedger } from '../paths.ts'
import { schedulerOption } from '../scheduler.ts'
import { factsOf, recordFlight } from './flight.ts'
import type { ClientStart, ReceivedPath } from './messages.ts'
import type { Port } from './process.ts'

const PROGRESS_MS = 100
/** An abandoned path is opened again after this time, as long as the download runs. */
const REOPEN_MS = 500
/** Room for what both paths hold while the other one is silent. */
const LIMITS = { streamWindowBytes: 6 * 1024 * 1024, connectionWindowBytes: 12 * 1024 * 1024 }

export function runClient(port: Port): void {
  const client = new DemoClient(port)
  port.onOrder(async (order) => {
    if (order.do === 'start' && 'paths' in order) await client.run(order)
  })
  port.onStop(() => client.stop())
}

class DemoClient {
  readonly #port: Port
  readonly #stopping = new AbortController()
  #endpoint: Endpoint | null = null
  #bytes = 0

  constructor(port: Port) {
    this.#port = port
  }

  async run(order: ClientStart): Promise<void> {
    const endpoint = await Endpoint.bind()
    this.#endpoint = endpoint
    const traced = new Promise<ReturnType<typeof recordFlight>>((resolve) => {
      endpoint.connections$.subscribe((connection) => resolve(recordFlight(connection, 'client')))
    })
    const [first] = order.paths
    const options = { alpn: HQ_ALPN, ca: order.ca, serverName: 'localhost', paths: order.paths, multipath: 'require', scheduler: await schedulerOption(order.scheduler), limits: LIMITS, signal: this.#stopping.signal }
    const connection = await endpoint.connect(first?.remote ?? '', options as ConnectionOptions)
    this.#port.tell({ event: 'opened', handshake: factsOf(await connection.opened) })
    connection.paths.events$.subscribe(({ path, type, reason }) => this.#port.tell({ event: 'path', from: 'client', path, type, reason }))
    await connection.paths.ready({ count: order.paths.length, timeoutMs: 5000, signal: this.#stopping.signal })
    try {
      await this.#download(connection, order, await traced)
    } catch (error) {
      throw asCommandError(error, 'connected')
    }
  }

  async stop(): Promise<void> {
    this.#stopping.abort(new Error('the demo stops'))
    await this.#endpoint?.close({ drainMs: 500 })
  }

  async #download(connection: Connection, order: ClientStart, flight: ReturnType<typeof recordFlight>): Promise<void> {
    const ledger = new PathLedger(connection, 'bytesReceived')
    const stopReopening = reopen(connection.paths, order, this.#stopping.signal)
    const stopTelling = every(PROGRESS_MS, () => this.#port.tell({ event: 'progress', bytes: this.#bytes, paths: received(connection, ledger) }))
    const stall = new StallClock()
    const startedMs = nowMs()
    let mark = 0
    try {
      const target = await fileTarget(order.file)
      const onBytes = (bytes: number): void => {
        this.#bytes = bytes
        for (let at = order.marks[mark]; at !== undefined && bytes >= at; at = order.marks[++mark]) this.#port.tell({ event: 'mark', index: mark })
      }
      const { bytes, sha256 } = await download({ connection, url: order.path, path: order.path, target, stall, onBytes, signal: this.#stopping.signal })
      this.#port.tell({ event: 'done', bytes, seconds: (nowMs() - startedMs) / 1000, sha256, stallMs: stall.longestMs, paths: received(connection, ledger), flight })
    } finally {
      stopReopening()
      stopTelling()
    }
  }
}

function received(connection: Connection, ledger: PathLedger): ReceivedPath[] {
  return ledger.report().map(({ id, local, remote, bytesReceived, state }) => ({ id, local, remote, bytesReceived, state, suspect: connection.paths.get(id)?.facts.suspect ?? false }))
}

/** A path that was given up (a long cut) is opened anew under its next id, by policy of this program. Returns what ends that. */
function reopen(paths: PathSet, order: ClientStart, signal: AbortSignal): () => void {
  const over = new AbortController()
  const ended = AbortSignal.any([signal, over.signal])
  const known = new Map<number, string>()
  const all = paths.all$.subscribe((list) => {
    for (const path of list) known.set(path.id, path.remote)
  })
  const events = paths.events$.subscribe(({ type, path }) => {
    const spec = type === 'abandoned' ? order.paths.find(({ remote }) => remote === known.get(path)) : undefined
    if (spec === undefined) return
    const again = async (): Promise<void> => {
      while (!ended.aborted) {
        await sleep(REOPEN_MS, ended)
        if (!ended.aborted && (await paths.open(spec, { signal: ended }).catch(() => null)) !== null) return
      }
    }
    void again()
  })
  return () => {
    over.abort(new Error('the download is over'))
    all.unsubscribe()
    events.unsubscribe()
  }
}
