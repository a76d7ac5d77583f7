/** The door of the package: endpoints, connections, streams, paths, errors. Everything not exported here is private. */
export { createDevCertificate, Endpoint } from './endpoint/index.ts'
export type { Attempt, CarrierEndpoint, EndpointEvent, EndpointStatistics, RawDatagram, RawOptions } from './endpoint/index.ts'
export type {
  BufferFacts, CloseInfo, Connection, ConnectionEvent, ConnectionStatistics, Explanation, HandshakeEvent, HandshakeInfo, MultipathMode, Pong,
} from './connection/index.ts'
export type { BidirectionalStream, ReceivePart, ReceiveStream, SendPart, SendStream, StreamBase, StreamOptions } from './stream/index.ts'
export type { DatagramOptions, Datagrams, DatagramStatus } from './datagram/index.ts'
export type { InterfaceAddress, Path, PathAction, PathEvent, PathFacts, PathMetrics, PathPolicy, PathPolicyName, PathPolicyView, PathSet, Scheduler, SchedulerPath, SchedulerPick, SchedulerPlan, SchedulerView } from './path/index.ts'
export type { Bursts, BurstStatistics } from './burst/index.ts'
export type { AckRecord, SpaceName, Spaces, SpaceView } from './space/index.ts'
export type { BlockedRecord, BurstRecord, CarrierBurst, CarrierDatagram, Ecn, PacketRecord, PacketType, SegmentRecord, Signal } from './binding/index.ts'
export type {
  Admit, AdmitVerdict, AttemptFacts, Bytes, CarrierOptions, CipherName, Clock, CloseOptions, CongestionName, ConnectionOptions, DevCertificate, DevCertificateOptions, EndpointOptions, HandshakeMode, HandshakeOptions, Limits, Logger,
  PathSpec, PathStatus, PeerIdentity, Pem, SchedulerChoice, SchedulerName, ServerOptions, SessionEntry, SessionStore, StreamCodes, TlsOptions, Verify, VersionName, Waiting,
} from './config/index.ts'
export { ConnectionError, EndpointError, OptionError, PathError, QuicbraidError, ServiceError, StreamError, isQuicbraidError } from './errors/index.ts'
export type { ErrorCode } from './errors/index.ts'
