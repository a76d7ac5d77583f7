/** The door `quicbraid/traversal`: what NAT stands before a socket, relays, and the words in which connections tell of their ways through (api 2.8). */
export type {
  Address, AddressBook, AddressSource, Behaviour, NatKind, NatObservation, NatProbeOptions, NatReport, PunchContext, Puncher, PunchStep, PunchStrategy, StunDialect, Traversal, TraversalEvent, TraversalOptions,
} from '../nat/index.ts'
export { NatProbe } from './nat-probe.ts'
export { registerRelay } from './register.ts'
export { Relay } from './relay.ts'
export { StunServer } from './stun-server.ts'
export type { Registration, RelayClient, RelayOptions, RelayStatistics, StunServerOptions, StunStatistics } from './types.ts'
