/** The door `quicbraid/js-quic`: class names, events and options of @matrixai/quic 2 on our public API (api §6). Knows `src/index.ts` and nothing else of the package. */
export { QUICClient } from './client.ts'
export { QUICConnection } from './connection.ts'
export { QUICEventTarget } from './event-target.ts'
export { QUICServer } from './server.ts'
export { QUICSocket } from './socket.ts'
export { QUICStream } from './stream.ts'
export * as errors from './errors.ts'
export * as events from './events.ts'
export * as native from './codes.ts'
export * as utils from './utils.ts'
export type { PromiseCancellable, TimedContext } from './cancellable.ts'
export type {
  ClientCryptoOps, CodeToReason, ConnectionMetadata, FacadeLogger, QUICClientConfigInput, QUICClientCrypto, QUICClientOptions, QUICConfig, QUICServerConfigInput, QUICServerCrypto, QUICServerOptions,
  QUICSocketOptions, ReasonToCode, ResolveHostname, ServerCryptoOps, SocketAddressOptions, StopOptions, StreamCodeToReason, StreamReasonToCode, TLSVerifyCallback,
} from './types.ts'
