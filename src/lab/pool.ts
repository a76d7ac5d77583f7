/**
 * Worker threads and who runs what. A thread has one run at a time; one that dies takes its run with it as a failed row and is replaced.
 * Knows nothing of files and observables.
 */
import { Worker } from 'node:worker_threads'
import { packageVersion } from '../config/index.ts'
import { ServiceError } from '../errors/index.ts'
import type { ErrorCode } from '../errors/index.ts'
import type { ExperimentFacts, Row, Run } from './experiment.ts'
import type { FromWorker, WorkerData } from './worker.ts'

export interface PoolOptions {
  /** As of `loadExperiment`. */
  module: string
  workers: number
  onRow(row: Row): void
}

export class Pool {
  readonly #options: PoolOptions
  readonly #threads = new Set<Worker>()
  readonly #running = new Map<Worker, Run>()
  /** Taken from the end. */
  #waiting: Run[] = []
  #facts: ExperimentFacts | null = null
  #first: Worker | null = null
  #stopped = false
  #open = 0
  #settle: { resolve(): void; reject(error: unknown): void } | null = null

  constructor(options: PoolOptions) {
    this.#options = options
  }

  /** What the module holds; loads it in the first thread. @throws QB_LAB_MODULE QB_NATIVE_MISSING QB_LAB_WORKER */
  describe(): Promise<ExperimentFacts> {
    return new Promise((resolve, reject) => {
      this.#first = this.#thread((facts) => {
        this.#facts = facts
        resolve(facts)
      }, (error) => {
        reject(error)
        this.#settle?.reject(error)
      })
    })
  }

  /** After `describe`. Resolves when every run has its row. @throws QB_LAB_WORKER if threads cannot be made any more */
  run(runs: readonly Run[]): Promise<void> {
    this.#waiting = runs.toReversed()
    this.#open = runs.length
    return new Promise<void>((resolve, reject) => {
      this.#settle = { resolve, reject }
      if (this.#open === 0) return resolve()
      if (this.#first !== null) this.#feed(this.#first)
      const more = Math.min(this.#options.workers, runs.length) - 1
      for (let index = 0; index < more; index++) this.#recruit()
      return undefined
    }).finally(() => this.stop())
  }

  /** Ends all threads at once; runs that are under way have no rows. */
  async stop(): Promise<void> {
    this.#stopped = true
    this.#waiting = []
    await Promise.all([...this.#threads].map((thread) => thread.terminate()))
  }

  #recruit(): void {
    const thread = this.#thread(() => this.#feed(thread), (error) => this.#settle?.reject(error))
  }

  #feed(thread: Worker): void {
    const run = this.#waiting.pop()
    if (run === undefined) {
      this.#running.delete(thread)
      return
    }
    this.#running.set(thread, run)
    thread.postMessage(run, [])
  }

  #onRow(row: Row): void {
    if (this.#stopped) return
    this.#options.onRow(row)
    this.#open -= 1
    if (this.#open === 0) this.#settle?.resolve()
  }

  #thread(onReady: (facts: ExperimentFacts) => void, onUnusable: (error: unknown) => void): Worker {
    const data: WorkerData = { module: this.#options.module }
    const thread = new Worker(workerFile(), { workerData: data, name: 'quicbraid lab' })
    this.#threads.add(thread)
    let failure: unknown = null
    thread.on('message', (message: FromWorker) => {
      if (message.kind === 'ready') return onReady(message.facts)
      if (message.kind === 'unusable') return onUnusable(asError(message))
      this.#onRow(message.row)
      return this.#feed(thread)
    })
    thread.on('error', (error) => { failure = error })
    thread.on('exit', (code) => {
      this.#threads.delete(thread)
      const run = this.#running.get(thread)
      this.#running.delete(thread)
      if (this.#stopped) return
      const why = failure instanceof Error ? failure.message : `it ended with code ${code}`
      const death = new ServiceError('QB_LAB_WORKER', `a worker thread died: ${why}`, { cause: failure })
      if (run === undefined) return onUnusable(death)
      // Its successor first: with the last row everything ends.
      if (this.#waiting.length > 0) this.#recruit()
      return this.#onRow(this.#lost(run, death))
    })
    return thread
  }

  #lost({ cell, seed }: Run, { code, message }: ServiceError): Row {
    return { experiment: this.#facts?.name ?? '', cell, seed, ok: false, values: {}, error: { code, message }, traceHash: '', virtualMs: 0, realMs: 0, version: packageVersion() }
  }
}

function asError({ code, message }: { code: string; message: string }): Error {
  return new ServiceError(code.startsWith('QB_') ? (code as ErrorCode) : 'QB_LAB_WORKER', message)
}

/** `dist/lab-worker.mjs` beside this in the package; the source where sources are run. */
function workerFile(): URL {
  return new URL(import.meta.url.endsWith('.ts') ? './worker.ts' : './lab-worker.mjs', import.meta.url)
}
