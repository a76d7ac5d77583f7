/** Connects to each origin and fetches its files, some at a time. Throws only for what stops everything; a failed file is a result. */
import type { Connection, ConnectionOptions, Endpoint } from '../../index.ts'
import { asCommandError } from '../exit.ts'
import type { CommandError } from '../exit.ts'
import { download, fileTarget, HQ_ALPN, outputTarget, StallClock } from '../files/index.ts'
import type { Target } from '../files/index.ts'
import { nowMs } from '../clock.ts'
import { PathLedger } from '../paths.ts'
import type { LivePath } from '../paths.ts'
import { byOrigin } from './plan.ts'
import type { Job } from './plan.ts'
import type { Fetched } from './view.ts'

export class Fetching {
  readonly fetched: Fetched[] = []
  readonly failures: CommandError[] = []
  readonly stall: StallClock = new StallClock()
  readonly #connections: Connection[] = []
  readonly #ledgers: PathLedger[] = []
  readonly #jobs: readonly Job[]
  readonly #startedMs = nowMs()
  /** Time of the last byte. */
  #lastMs = this.#startedMs
  #bytes = 0

  constructor(jobs: readonly Job[]) {
    this.#jobs = jobs
  }

  get bytes(): number {
    return this.#bytes
  }

  /** From the start to the last byte. */
  get ms(): number {
    return this.#lastMs - this.#startedMs
  }

  get elapsedMs(): number {
    return nowMs() - this.#startedMs
  }

  get first(): Connection | undefined {
    return this.#connections[0]
  }

  paths(): LivePath[] {
    return this.#ledgers.flatMap((ledger) => ledger.live())
  }

  /** @throws CommandError when an origin cannot be reached, or by the signal */
  async run(endpoint: Endpoint, options: ConnectionOptions, parallel: number, signal: AbortSignal): Promise<void> {
    await Promise.all([...byOrigin(this.#jobs)].map(async ([origin, jobs]) => {
      const connection = await this.#connect(endpoint, origin, options, signal)
      const queue = [...jobs]
      const worker = async (): Promise<void> => {
        for (let job = queue.shift(); job !== undefined; job = queue.shift()) await this.#fetch(connection, job, signal)
      }
      await Promise.all(Array.from({ length: Math.min(parallel, queue.length) }, worker))
    }))
  }

  async #connect(endpoint: Endpoint, origin: string, options: ConnectionOptions, signal: AbortSignal): Promise<Connection> {
    try {
      const connection = await endpoint.connect(origin, { ...options, alpn: HQ_ALPN, signal })
      this.#connections.push(connection)
      this.#ledgers.push(new PathLedger(connection, 'bytesReceived'))
      return connection
    } catch (error) {
      throw asCommandError(error, 'connecting')
    }
  }

  async #fetch(connection: Connection, job: Job, signal: AbortSignal): Promise<void> {
    let target: Target
    try {
      target = job.file === null ? outputTarget(process.stdout) : await fileTarget(job.file)
    } catch (error) {
      throw asCommandError(error, 'preparing')
    }
    const { url, path, sha256 } = job
    try {
      const onBytes = (_: number, added: number): void => {
        this.#bytes += added
        this.#lastMs = nowMs()
      }
      const done = await download({ connection, url, path, target, sha256, stall: this.stall, signal, onBytes })
      this.fetched.push({ url, file: job.file, ...done })
    } catch (error) {
      signal.throwIfAborted()
      this.failures.push(asCommandError(error, 'connected'))
    }
  }
}
