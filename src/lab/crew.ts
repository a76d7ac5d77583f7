/**
 * Threads for one experiment: each call is a run, on a thread that is free or a new one. A thread that dies takes its run with it as a
 * failed row and is replaced. How many run at once is the caller's business. Knows nothing of files, queues and observables.
 */
import { packageVersion } from '../config/index.ts'
import { ServiceError } from '../errors/index.ts'
import type { ExperimentFacts, Row, Run } from './experiment.ts'
import { Thread } from './thread.ts'

export class Crew {
  readonly #module: string
  readonly #all = new Set<Thread>()
  readonly #free: Thread[] = []
  #name = ''
  #stopped = false

  /** `module`: as of `loadExperiment`. */
  constructor(module: string) {
    this.#module = module
  }

  /** What the module holds; its first thread is ready then. @throws QB_LAB_MODULE QB_NATIVE_MISSING QB_LAB_WORKER */
  async describe(): Promise<ExperimentFacts> {
    const thread = this.#recruit()
    const facts = await thread.ready
    this.#name = facts.name
    this.#free.push(thread)
    return facts
  }

  /** One run, after `describe`; a run that kills its thread has a row, too. @throws QB_LAB_WORKER if threads cannot be made any more, or the crew is stopped */
  async run(run: Run): Promise<Row> {
    const thread = this.#free.pop() ?? this.#recruit()
    await thread.ready
    try {
      const row = await thread.run(run)
      this.#free.push(thread)
      return row
    } catch (error) {
      this.#all.delete(thread)
      if (this.#stopped || !(error instanceof ServiceError) || error.code !== 'QB_LAB_WORKER') throw error
      return lostRow(this.#name, run, error)
    }
  }

  /** Ends all threads at once; runs that are under way fail. */
  async stop(): Promise<void> {
    this.#stopped = true
    await Promise.all([...this.#all].map((thread) => thread.stop()))
  }

  #recruit(): Thread {
    if (this.#stopped) throw new ServiceError('QB_LAB_WORKER', 'the sweep has ended')
    const thread = new Thread(this.#module)
    this.#all.add(thread)
    return thread
  }
}

/** The row of a run whose worker died. */
export function lostRow(experiment: string, { cell, seed }: Run, { code, message }: { code: string; message: string }): Row {
  return { experiment, cell, seed, ok: false, values: {}, error: { code, message }, traceHash: '', virtualMs: 0, realMs: 0, version: packageVersion() }
}
