/** What other commands take of `quicbraid lab`: sweeps as promises, rows in their order. */
export { collectRows } from './sweep.ts'
export { ordered } from './view.ts'
