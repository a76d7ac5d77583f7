/** HTTP/1.1 and HTTP/2 of browsers and other clients to services behind reverse connections. */
export { HttpFront } from './front.ts'
export { Gateway } from './gateway.ts'
export { certificatePem, contextOf, keyPem } from './identity.ts'
export { closesInOwnTurn, endsInTime } from './linger.ts'
export { PREFACE } from './ports.ts'
export { FRONT_LIMITS } from './options.ts'
export type { Forwarded, FrontIdentity, FrontLimits, FrontOpen, FrontOpening, FrontReason, FrontRequest, FrontSession, FrontStatistics, GatewayOptions, HttpFrontOptions } from './options.ts'
