/** Options: their types, how they are checked, and what the engine gets. Also time limits and the clock. */
export { formatAddress, parseAddress, splitPort } from './address.ts'
export type { Address } from './address.ts'
export { refuseUnavailable } from './availability.ts'
export { check, checkCall, invalidOption, show, unavailableOption } from './check.ts'
export { REAL_TIME, backgroundClock } from './clock.ts'
export type { Cancel, Clock, Timing } from './clock.ts'
export { checkFamily } from './combine.ts'
export { keptOptions, nativeConnect, nativePath, nativeServer, prepareConnect, prepareServer, sessionKey } from './connection.ts'
export type { KeptOptions } from './connection.ts'
export { prepareEndpoint } from './endpoint.ts'
export type { PreparedEndpoint } from './endpoint.ts'
export { hot, sampled, watched } from './observe.ts'
export type { Feed, Observable, Sampling } from './observe.ts'
export type {
  Admit, AdmitVerdict, AttemptFacts, Bytes, CipherName, CloseOptions, CongestionName, ConnectionOptions, DevCertificate, DevCertificateOptions, EndpointOptions, HandshakeMode, HandshakeOptions, Limits, Logger,
  PathSpec, PathStatus, PeerIdentity, Pem, SchedulerChoice, SchedulerName, ServerOptions, SessionEntry, SessionStore, StreamCodes, TlsOptions, Verify, VersionName,
} from './options.ts'
export { checkClose, checkDevCertificate, checkPathSpec, isCode } from './schema.ts'
export { Supply } from './supply.ts'
export { importFile } from './user-file.ts'
export { packageVersion } from './version.ts'
export { defer, deferHandled, waitFor } from './waiting.ts'
export type { Deferred, Settle, Waiting } from './waiting.ts'
