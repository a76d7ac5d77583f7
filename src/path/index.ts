/** Paths: one each, their set, and their observables. */
export type { PathEvent, PathFacts, PathMetrics } from './facts.ts'
export type { PathOwner } from './owner.ts'
export type { Path } from './path.ts'
export { PathSet } from './path-set.ts'
