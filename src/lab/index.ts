/** The door `quicbraid/lab`: experiments in simulated worlds, sweeps on all cores, summaries. */
export { defineExperiment } from './experiment.ts'
export type { Cell, Experiment, ExperimentFacts, Row, Scalar } from './experiment.ts'
export { BUILT_IN } from './experiments/index.ts'
export { sweep$ } from './observe.ts'
export { readRows } from './store.ts'
export { summarize } from './summarize.ts'
export type { ColumnSummary, Summary } from './summarize.ts'
export type { SweepOptions, SweepPlan } from './sweep.ts'
