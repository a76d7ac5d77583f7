/** The experiments that come with the package, by name. */
import type { Experiment } from '../experiment.ts'
import { handshake } from './handshake.ts'

const EXPERIMENTS: Readonly<Record<string, () => Experiment>> = {
  handshake: () => handshake as unknown as Experiment,
}

/** Their names. */
export const BUILT_IN: readonly string[] = Object.keys(EXPERIMENTS)

export function builtIn(name: string): Experiment | undefined {
  return Object.hasOwn(EXPERIMENTS, name) ? EXPERIMENTS[name]?.() : undefined
}
