/** The only room that calls the native module: its contract, loading, errors, and the ring both ways. */
export type { BlockedRecord, BurstRecord, Ecn, PacketRecord, PacketType, SegmentRecord } from './burst-records.ts'
export { CarrierCore, isEcn } from './carrier.ts'
export type { CarrierBurst, CarrierDatagram, CarrierHost } from './carrier.ts'
export { Engine } from './engine.ts'
export { codeFromJson, fromNative, guarded } from './error.ts'
export type { ConnectionSink, EndpointSink } from './inbox.ts'
export { loadNative } from './load.ts'
export type {
  JsonCode, JsonPem, NativeAcks, NativeBlockRule, NativeCloseInfo, NativeConnect, NativeDevCertificate, NativeEndpointOptions, NativeError, NativeEvent, NativeExplanation, NativeHandshakeStep, NativeOrder, NativePathFacts,
  NativePathSpec, NativePeer, NativeQuestion, NativeServer, NativeServerId, NativeSpace, NativeTls, NativeTransport,
} from './messages.ts'
export type * from './nat-messages.ts'
export type { NativeIdentity, NativeInterface, NativeLink, NativeLinkFacts, NativeLinkShape, NativeNat, NativeSimEvent, NativeWorldOptions } from './sim-messages.ts'
export { AHEAD_BYTES, Command, DataFlag, StepEnd, Taken, Trace } from './native.ts'
export type { NativeEndpoint, NativeModule, NativeWorld } from './native.ts'
export { BLOCK_REASONS, CONNECTION_NUMBERS, DROP_REASONS, ENDPOINT_NUMBERS, PATH_NUMBERS, SIGNALS, Scope } from './numbers.ts'
export type { BlockReason, Signal } from './numbers.ts'
export type { NativePick, NativePlan, NativeSchedulerView } from './scheduling.ts'
export type { Consumer, Outbox } from './outbox.ts'
export { Relay } from './relay.ts'
export type { Slab, Slabs } from './slabs.ts'
export type { RelayCommand, RelayDirection, RelayLink, RelayOptions, RelayStatistics } from './relay.ts'
