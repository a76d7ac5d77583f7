/** The experiments that come with the package, by name. Made when asked for: what they vary is what this build has. */
import type { Experiment } from '../experiment.ts'
import { failoverExperiment } from './failover.ts'
import { fairnessExperiment } from './fairness.ts'
import { handshakeExperiment } from './handshake.ts'
import { natExperiment } from './nat.ts'
import { schedulersExperiment } from './schedulers.ts'

const EXPERIMENTS: Readonly<Record<string, (parameters: URLSearchParams) => unknown>> = {
  handshake: handshakeExperiment,
  schedulers: schedulersExperiment,
  failover: failoverExperiment,
  fairness: fairnessExperiment,
  nat: natExperiment,
}

/** Their names. */
export const BUILT_IN: readonly string[] = Object.keys(EXPERIMENTS)

/** `parameters`: what an experiment can be told beyond its axes; most are told nothing. @throws QB_NATIVE_MISSING QB_LAB_MODULE */
export function builtIn(name: string, parameters: URLSearchParams = new URLSearchParams()): Experiment | undefined {
  return Object.hasOwn(EXPERIMENTS, name) ? (EXPERIMENTS[name]?.(parameters) as Experiment) : undefined
}
