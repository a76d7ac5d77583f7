/** Endpoints: sockets, connections, and development certificates. */
export { createDevCertificate, devCertificateWith } from './dev-certificate.ts'
export { Endpoint, bindWith } from './endpoint.ts'
export type { World } from './endpoint.ts'
export type { EndpointEvent, EndpointStatistics } from './facts.ts'
