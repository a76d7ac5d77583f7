/** Bursts: their trace, plan and counts. */
export { Bursts } from './bursts.ts'
export type { BurstOwner, BurstStatistics } from './bursts.ts'
