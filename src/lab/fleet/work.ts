/**
 * A worker: takes runs of sweeps out of queues and does them on threads of this process. It runs only what it was started with: the
 * built-in experiments and the files it was given. Ends when its signal says so, after what is under way.
 */
import { availableParallelism } from 'node:os'
import type { Job as BullJob, Worker } from 'bullmq'
import { invalidOption } from '../../config/index.ts'
import { ServiceError } from '../../errors/index.ts'
import { Crew } from '../crew.ts'
import type { Row } from '../experiment.ts'
import { BUILT_IN } from '../experiments/index.ts'
import { BUILT_IN_PREFIX } from '../load.ts'
import { aliveKey, openServer, queueOf } from './server.ts'
import type { Job, RedisUrl, Server } from './server.ts'

export interface WorkOptions {
  /** Where sweeps with the same address leave their runs: `redis://[user:password@]host[:port][/db]`. */
  redis: RedisUrl
  /** Experiment files besides the built-in ones; a sweep finds them by their content. @default none */
  modules?: readonly string[]
  /** Runs at once, each on a thread. @default cores */
  workers?: number
  signal?: AbortSignal
  /** Told once, when runs are taken. */
  onReady?: (facts: { server: string; workers: number; experiments: readonly string[] }) => void
  /** Told after every run. */
  onRow?: (row: Row) => void
}

/** A job whose worker is silent for so long goes to another one, ms. */
const LOCK_MS = 10_000
const STALLED_EVERY_MS = 5000
/** A job that so many workers died of fails. */
const MAX_STALLED = 3

/** Resolves when the signal has ended it and nothing is under way. @throws QB_LAB_QUEUE QB_LAB_MODULE QB_NATIVE_MISSING QB_OPTION_INVALID */
export async function work({ redis, modules = [], workers = availableParallelism(), signal, onReady, onRow }: WorkOptions): Promise<void> {
  if (!Number.isInteger(workers) || workers < 1 || workers > 1024) throw invalidOption('workers', workers, 'a whole number from 1 to 1024')
  const crews = new Map<string, Crew>()
  const slots = new Slots(workers)
  let server: Server | null = null
  const lines: Worker<Job, Row | null>[] = []
  try {
    const names = await Promise.all(modules.map(async (module) => (await crewOf(crews, module)).name))
    server = await openServer(redis)
    const { client } = server
    const open = async (queue: string, moduleOf: (job: Job) => string): Promise<void> => {
      const run = async ({ data }: BullJob<Job, Row | null>): Promise<Row | null> => {
        if ((await client.exists(aliveKey(queue, data.sweep))) === 0) return null
        const { crew } = await crewOf(crews, moduleOf(data))
        const row = await slots.use(() => crew.run({ cell: data.cell, seed: data.seed }))
        onRow?.(row)
        return row
      }
      lines.push(await line(server as Server, queue, run, workers))
    }
    await open(queueOf(BUILT_IN_PREFIX), ({ experiment }) => builtInOf(experiment))
    for (const module of modules) await open(queueOf(module), () => module)
    onReady?.({ server: server.name, workers, experiments: [...BUILT_IN, ...names] })
    await ended(signal)
  } finally {
    await Promise.allSettled(lines.map((one) => one.close()))
    await Promise.all([...crews.values()].map((crew) => crew.stop()))
    server?.client.disconnect()
  }
}

/** Takes jobs of one queue. */
async function line({ bullmq, address }: Server, queue: string, run: (job: BullJob<Job, Row | null>) => Promise<Row | null>, workers: number): Promise<Worker<Job, Row | null>> {
  const worker = new bullmq.Worker<Job, Row | null>(queue, run, {
    connection: { ...address, maxRetriesPerRequest: null }, concurrency: workers, lockDuration: LOCK_MS, stalledInterval: STALLED_EVERY_MS, maxStalledCount: MAX_STALLED,
  })
  // It connects again by itself; a job it could not finish goes to another worker.
  worker.on('error', () => undefined)
  await worker.waitUntilReady()
  return worker
}

/** The name comes out of a queue: only what there is is run. */
function builtInOf(experiment: string): string {
  if (!BUILT_IN.includes(experiment)) throw new ServiceError('QB_LAB_MODULE', `there is no experiment ${experiment} here`)
  return `${BUILT_IN_PREFIX}${experiment}`
}

const names = new WeakMap<Crew, Promise<string>>()

async function crewOf(crews: Map<string, Crew>, module: string): Promise<{ crew: Crew; name: string }> {
  let crew = crews.get(module)
  if (crew === undefined) {
    crew = new Crew(module)
    crews.set(module, crew)
    names.set(crew, crew.describe().then(({ name }) => name))
  }
  return { crew, name: (await names.get(crew)) ?? '' }
}

/** Several queues share the threads: so many runs at once over all. */
class Slots {
  readonly #waiting: (() => void)[] = []
  #free: number

  constructor(count: number) {
    this.#free = count
  }

  async use<T>(act: () => Promise<T>): Promise<T> {
    if (this.#free > 0) this.#free -= 1
    else await new Promise<void>((resolve) => void this.#waiting.push(resolve))
    try {
      return await act()
    } finally {
      const next = this.#waiting.shift()
      if (next === undefined) this.#free += 1
      else next()
    }
  }
}

function ended(signal: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve) => {
    if (signal?.aborted === true) resolve()
    else signal?.addEventListener('abort', () => resolve(), { once: true })
  })
}
