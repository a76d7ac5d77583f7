/** Network namespaces with the NATs of the kernel: what `quicbraid nat matrix --real`, the tests and an example run in. */
export { whatIsMissing } from './commands.ts'
export { REAL_NATS, REFERENCE_KINDS } from './kinds.ts'
export type { Dependence, NatTraits, RealNatKind } from './kinds.ts'
export { Program } from './program.ts'
export type { Line } from './program.ts'
export { RealLab } from './topology.ts'
export type { RealLabOptions } from './topology.ts'
