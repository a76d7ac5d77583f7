/**
 * One worker thread with one experiment: it has one run at a time and ends with the first thing that kills it. Knows nothing of sweeps.
 */
import { Worker } from 'node:worker_threads'
import { ServiceError } from '../errors/index.ts'
import type { ErrorCode } from '../errors/index.ts'
import type { ExperimentFacts, Row, Run } from './experiment.ts'
import type { FromWorker, WorkerData } from './worker.ts'

interface Waiting<T> {
  resolve(value: T): void
  reject(error: unknown): void
}

export class Thread {
  /** What the module holds. Rejects with QB_LAB_MODULE, QB_NATIVE_MISSING, QB_LAB_WORKER. */
  readonly ready: Promise<ExperimentFacts>
  readonly #worker: Worker
  #row: Waiting<Row> | null = null
  #death: ServiceError | null = null

  /** `module`: as of `loadExperiment`. */
  constructor(module: string) {
    const data: WorkerData = { module }
    this.#worker = new Worker(workerFile(), { workerData: data, name: 'quicbraid lab' })
    this.ready = new Promise((resolve, reject) => this.#listen({ resolve, reject }))
    // Whoever stops a thread does not wait for it.
    this.ready.catch(() => undefined)
  }

  /** After `ready`, one at a time. @throws QB_LAB_WORKER if the thread dies of it: make another one */
  run(run: Run): Promise<Row> {
    return new Promise((resolve, reject) => {
      if (this.#death !== null) return reject(this.#death)
      this.#row = { resolve, reject }
      return this.#worker.postMessage(run, [])
    })
  }

  /** Ends it at once; the run under way fails. */
  async stop(): Promise<void> {
    await this.#worker.terminate()
  }

  #listen(ready: Waiting<ExperimentFacts>): void {
    let failure: unknown = null
    this.#worker.on('message', (message: FromWorker) => {
      if (message.kind === 'ready') return ready.resolve(message.facts)
      if (message.kind === 'row') return this.#take()?.resolve(message.row)
      const error = asError(message)
      ready.reject(error)
      return this.#take()?.reject(error)
    })
    this.#worker.on('error', (error) => { failure = error })
    this.#worker.on('exit', (code) => {
      const why = failure instanceof Error ? failure.message : `it ended with code ${code}`
      this.#death = new ServiceError('QB_LAB_WORKER', `a worker thread died: ${why}`, { cause: failure })
      ready.reject(this.#death)
      this.#take()?.reject(this.#death)
    })
  }

  #take(): Waiting<Row> | null {
    const row = this.#row
    this.#row = null
    return row
  }
}

function asError({ code, message }: { code: string; message: string }): Error {
  return new ServiceError(code.startsWith('QB_') ? (code as ErrorCode) : 'QB_LAB_WORKER', message)
}

/** `dist/lab-worker.mjs` beside this in the package; the source where sources are run. */
function workerFile(): URL {
  return new URL(import.meta.url.endsWith('.ts') ? './worker.ts' : './lab-worker.mjs', import.meta.url)
}
