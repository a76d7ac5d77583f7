/** The door `quicbraid/sim`: hosts and links in virtual time, with the real transport on the hosts. */
export type { Attachable, Host } from './host.ts'
export type { Link, LinkStatistics, Port } from './link.ts'
export type { Nat } from './nat.ts'
export type { SimEvent } from './observe.ts'
export type { Direction, LinkOptions, LinkShape, LossModel, NatOptions, WorldOptions } from './options.ts'
export { World } from './world.ts'
export type { Identity, WorldPair } from './world.ts'
