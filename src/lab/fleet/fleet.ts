/**
 * A sweep whose runs are done by workers elsewhere: each run is a job of a BullMQ queue, its row comes back as the job's result. Only so
 * many jobs as keep the workers busy lie in the queue. Jobs of a worker that died go to another one (BullMQ's locks); a server that lost
 * its memory gets them again. Knows nothing of files and observables.
 */
import { randomUUID } from 'node:crypto'
import type { Queue, QueueEvents } from 'bullmq'
import { REAL_TIME } from '../../config/index.ts'
import { ServiceError } from '../../errors/index.ts'
import { lostRow } from '../crew.ts'
import type { ExperimentFacts, Row, Run } from '../experiment.ts'
import { BUILT_IN_PREFIX } from '../load.ts'
import type { Workforce } from '../pool.ts'
import { Thread } from '../thread.ts'
import { aliveKey, openServer, queueOf } from './server.ts'
import type { Job, Server } from './server.ts'

export interface FleetOptions {
  /** As of `loadExperiment`. */
  module: string
  /** Of the Redis server. */
  url: string
  onRow(row: Row): void
}

/** Jobs of a sweep in the queue: far fewer than BullMQ keeps events, so that none is missed. */
const MAX_OPEN = 1000
/** The queue is filled up when so many are done. */
const REFILL = 100
const BEAT_MS = 5000
/** Beats that fail in a row before the server counts as gone. */
const MAX_MISSED = 6
/** Workers drop jobs of a sweep from which nothing was heard for so long, s. */
const ALIVE_S = 60

export class Fleet implements Workforce {
  readonly #options: FleetOptions
  readonly #sweep = randomUUID()
  /** By job. */
  readonly #open = new Map<string, Run>()
  #server: Server | null = null
  #queue: Queue<Job, Row> | null = null
  #events: QueueEvents | null = null
  #facts: ExperimentFacts | null = null
  #workers = 0
  /** Taken from the end. */
  #waiting: { id: string; run: Run }[] = []
  #left = 0
  #stopped: Promise<void> | null = null
  #settle: { resolve(): void; reject(error: unknown): void } | null = null

  constructor(options: FleetOptions) {
    this.#options = options
  }

  async describe(): Promise<ExperimentFacts> {
    const thread = new Thread(this.#options.module)
    try {
      this.#facts = await thread.ready
    } finally {
      await thread.stop()
    }
    const server = await openServer(this.#options.url)
    this.#server = server
    const connection = { ...server.address }
    const name = queueOf(this.#options.module)
    this.#queue = new server.bullmq.Queue<Job, Row>(name, { connection })
    this.#events = new server.bullmq.QueueEvents(name, { connection })
    // Both connect again by themselves; the beat says when that takes too long.
    this.#queue.on('error', () => undefined)
    this.#events.on('error', () => undefined)
    await this.#events.waitUntilReady()
    this.#workers = await this.#queue.getWorkersCount()
    if (this.#stopped !== null) await this.#close()
    return this.#facts
  }

  /** Workers that listen; each has threads of its own. */
  size(): number {
    return this.#workers
  }

  async run(runs: readonly Run[]): Promise<void> {
    const done = new Promise<void>((resolve, reject) => (this.#settle = { resolve, reject }))
    this.#waiting = runs.map((run, index) => ({ id: `${this.#sweep}-${index}`, run })).toReversed()
    this.#left = runs.length
    if (this.#left === 0) return this.stop()
    this.#events?.on('completed', ({ jobId, returnvalue }) => this.#onDone(jobId, returnvalue as unknown as Row | null))
    this.#events?.on('failed', ({ jobId, failedReason }) => this.#onDone(jobId, null, failedReason))
    let missed = 0
    const beats = REAL_TIME.every(BEAT_MS, () => {
      this.#beat('again').then(() => { missed = 0 }, (error: unknown) => {
        missed += 1
        if (missed >= MAX_MISSED) this.#fail(error)
      })
    })
    try {
      await this.#beat('first')
      await this.#fill()
      await done
    } catch (error) {
      throw error instanceof ServiceError ? error : gone(this.#server, error)
    } finally {
      beats()
      await this.stop()
    }
  }

  stop(): Promise<void> {
    this.#stopped ??= this.#close()
    return this.#stopped
  }

  /** What nobody has begun leaves the queue; what is under way is dropped by its worker. */
  async #close(): Promise<void> {
    this.#waiting = []
    const [server, queue, events] = [this.#server, this.#queue, this.#events]
    if (server === null) return
    const jobs = [...this.#open.keys()]
    this.#open.clear()
    this.#settle?.resolve()
    if (server.client.status === 'ready' && queue !== null) {
      await server.client.del(aliveKey(queue.name, this.#sweep)).catch(() => undefined)
      await Promise.allSettled(jobs.map((job) => queue.remove(job)))
    }
    await Promise.allSettled([events?.close(), queue?.close()])
    server.client.disconnect()
  }

  #onDone(job: string, row: Row | null, why = 'its result is empty'): void {
    const run = this.#open.get(job)
    if (run === undefined) return
    this.#open.delete(job)
    this.#left -= 1
    this.#options.onRow(row ?? lostRow(this.#facts?.name ?? '', run, { code: 'QB_LAB_WORKER', message: `a worker could not do it: ${why}` }))
    if (this.#left === 0) this.#settle?.resolve()
    else if (this.#open.size <= MAX_OPEN - REFILL) this.#fill().catch((error: unknown) => this.#fail(error))
  }

  async #fill(): Promise<void> {
    const more = this.#waiting.splice(Math.max(0, this.#waiting.length - (MAX_OPEN - this.#open.size))).toReversed()
    for (const { id, run } of more) this.#open.set(id, run)
    await this.#add(more)
  }

  async #add(jobs: readonly { id: string; run: Run }[]): Promise<void> {
    if (jobs.length === 0) return
    const { module } = this.#options
    const experiment = module.startsWith(BUILT_IN_PREFIX) ? module.slice(BUILT_IN_PREFIX.length).replace(/\?.*/, '') : ''
    await this.#queue?.addBulk(jobs.map(({ id, run: { cell, seed } }) => ({
      name: 'run', data: { sweep: this.#sweep, experiment, cell, seed },
      opts: { jobId: id, removeOnComplete: true, removeOnFail: true },
    })))
  }

  /** Tells workers that somebody waits. A server that has forgotten it has forgotten the jobs, too. */
  async #beat(which: 'first' | 'again'): Promise<void> {
    const [server, queue] = [this.#server, this.#queue]
    if (server === null || queue === null) return
    const before = await server.client.set(aliveKey(queue.name, this.#sweep), '1', 'EX', ALIVE_S, 'GET')
    if (which === 'again' && before === null) await this.#add([...this.#open].map(([id, run]) => ({ id, run })))
  }

  #fail(error: unknown): void {
    this.#settle?.reject(gone(this.#server, error))
  }
}

function gone(server: Server | null, error: unknown): ServiceError {
  const why = error instanceof Error ? error.message : String(error)
  return new ServiceError('QB_LAB_QUEUE', `the Redis server ${server?.name ?? ''} does not answer any more: ${why}; go on later with the same file`, { cause: error })
}
