/** `quicbraid relay`, and what commands need that register with one. */
export { addRelay } from './command.ts'
export { addRelayTrust, relayToken, relayTrust } from './trust.ts'
export type { RelayTrustValues } from './trust.ts'
