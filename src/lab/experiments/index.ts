/** The experiments that come with the package, by name. Made when asked for: what they vary is what this build has. */
import type { Experiment } from '../experiment.ts'
import { failoverExperiment } from './failover.ts'
import { fairnessExperiment } from './fairness.ts'
import { handshakeExperiment } from './handshake.ts'
import { schedulersExperiment } from './schedulers.ts'

const EXPERIMENTS: Readonly<Record<string, () => unknown>> = {
  handshake: handshakeExperiment,
  schedulers: schedulersExperiment,
  failover: failoverExperiment,
  fairness: fairnessExperiment,
}

/** Their names. */
export const BUILT_IN: readonly string[] = Object.keys(EXPERIMENTS)

/** @throws QB_NATIVE_MISSING */
export function builtIn(name: string): Experiment | undefined {
  return Object.hasOwn(EXPERIMENTS, name) ? (EXPERIMENTS[name]?.() as Experiment) : undefined
}
