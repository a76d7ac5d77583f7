/** Paths: one each, their set, and their observables. */
export type { PathEvent, PathFacts, PathMetrics } from './facts.ts'
export { InterfaceWatch, systemInterfaces } from './interfaces.ts'
export type { InterfaceSource } from './interfaces.ts'
export type { PathOwner, Surroundings } from './owner.ts'
export type { Path } from './path.ts'
export { PathSet } from './path-set.ts'
export type { InterfaceAddress, PathAction, PathPolicy, PathPolicyName, PathPolicyView } from './policy/index.ts'
export type { Scheduler, SchedulerPath, SchedulerPick, SchedulerPlan, SchedulerView } from './scheduler/index.ts'
