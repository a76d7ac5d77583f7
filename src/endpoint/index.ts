/** Endpoints: sockets, connections, and development certificates. */
export { createDevCertificate, devCertificateWith } from './dev-certificate.ts'
export type { Attempt } from './admission.ts'
export type { CarrierEndpoint } from './carrier.ts'
export { Endpoint, bindWith } from './endpoint.ts'
export type { Habitat, HostAddress, World } from './habitat.ts'
export type { EndpointEvent, EndpointStatistics, RawDatagram } from './facts.ts'
export type { RawOptions } from './raw.ts'
