/**
 * A sweep on threads of this process: so many runs at once, rows as they finish. Knows nothing of files and observables.
 */
import { Crew } from './crew.ts'
import type { ExperimentFacts, Row, Run } from './experiment.ts'

/** Who runs what is missing: threads here, or workers elsewhere. */
export interface Workforce {
  /** What the module holds. @throws QB_LAB_MODULE QB_NATIVE_MISSING QB_LAB_WORKER QB_LAB_QUEUE */
  describe(): Promise<ExperimentFacts>
  /** After `describe`: how many runs are under way at once, if so many are left. */
  size(): number
  /** Once, after `describe`. Resolves when every run has its row. @throws QB_LAB_WORKER QB_LAB_QUEUE */
  run(runs: readonly Run[]): Promise<void>
  /** Ends everything at once; runs that are under way have no rows. */
  stop(): Promise<void>
}

export interface PoolOptions {
  /** As of `loadExperiment`. */
  module: string
  workers: number
  onRow(row: Row): void
}

export class Pool implements Workforce {
  readonly #options: PoolOptions
  readonly #crew: Crew
  /** Taken from the end. */
  #waiting: Run[] = []
  #stopped = false

  constructor(options: PoolOptions) {
    this.#options = options
    this.#crew = new Crew(options.module)
  }

  describe(): Promise<ExperimentFacts> {
    return this.#crew.describe()
  }

  size(): number {
    return this.#options.workers
  }

  async run(runs: readonly Run[]): Promise<void> {
    this.#waiting = runs.toReversed()
    try {
      await Promise.all(Array.from({ length: Math.min(this.#options.workers, runs.length) }, () => this.#lane()))
    } finally {
      await this.stop()
    }
  }

  async stop(): Promise<void> {
    this.#stopped = true
    this.#waiting = []
    await this.#crew.stop()
  }

  /** One run after another. */
  async #lane(): Promise<void> {
    for (let run = this.#waiting.pop(); run !== undefined; run = this.#waiting.pop()) {
      const row = await this.#crew.run(run).catch((error: unknown) => {
        if (this.#stopped) return null
        throw error
      })
      if (row === null || this.#stopped) return
      this.#options.onRow(row)
    }
  }
}
