/** A worker thread: loads one experiment, tells its facts, makes a row of every run it is given. Ends with its parent. */
import { parentPort, workerData } from 'node:worker_threads'
import { factsOf } from './experiment.ts'
import type { ExperimentFacts, Row, Run } from './experiment.ts'
import { loadExperiment } from './load.ts'
import { errorOf, rowOf } from './run.ts'

export interface WorkerData {
  module: string
}

export type FromWorker = { kind: 'ready'; facts: ExperimentFacts } | { kind: 'unusable'; code: string; message: string } | { kind: 'row'; row: Row }

async function main(): Promise<void> {
  const port = parentPort
  if (port === null) return
  const tell = (message: FromWorker): void => port.postMessage(message)
  // Failures outside the promise of a program belong to the run they happened in.
  let strays: unknown[] = []
  process.on('unhandledRejection', (reason) => void strays.push(reason))
  try {
    const experiment = await loadExperiment((workerData as WorkerData).module)
    port.on('message', (run: Run) => {
      strays = []
      void rowOf(experiment, run, strays).then((row) => tell({ kind: 'row', row }), (error: unknown) => tell({ kind: 'unusable', ...errorOf(error) }))
    })
    tell({ kind: 'ready', facts: factsOf(experiment) })
  } catch (error) {
    tell({ kind: 'unusable', ...errorOf(error) })
  }
}

await main()
