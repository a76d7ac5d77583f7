/** Packet-number spaces: views and ACKs. */
export type { AckRecord } from './observe.ts'
export { Spaces } from './spaces.ts'
export type { SpaceName, SpaceOwner, SpaceView } from './spaces.ts'
