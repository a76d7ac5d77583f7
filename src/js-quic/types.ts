/** Options and callbacks of the façade, by the names that js-quic gives them. What each does here stands in docs/guide/coming-from-js-quic.md. Types only. */
import type { QUICSocket } from './socket.ts'

export type Pems = string | readonly string[] | Uint8Array | readonly Uint8Array[]

/** Judges the peer's chain (DER, leaf first); `ca`: the anchors of the configuration. A code, a throw or a rejection refuses. */
export type TLSVerifyCallback = (certs: Uint8Array[], ca: Uint8Array[]) => PromiseLike<number | undefined | void>

export interface QUICConfig {
  /** PEM. @default Node's bundled roots */
  ca?: Pems | undefined
  /** PEM. @default none */
  key?: Pems | undefined
  /** PEM, leaf first. @default none */
  cert?: Pems | undefined
  /** No effect. */
  sigalgs?: string | undefined
  /** @default true for clients, false for servers */
  verifyPeer: boolean
  /** In the place of the chain check; not asked without `verifyPeer`. @default none */
  verifyCallback?: TLSVerifyCallback | undefined
  /** File for the keys of the socket's connections, for debugging. @default none */
  logKeys?: string | undefined
  /** No effect. */
  grease: boolean
  /** PING on a silent connection, milliseconds. @default none */
  keepAliveIntervalTime?: number | undefined
  /** Milliseconds; 0 = none. @default 0 */
  maxIdleTimeout: number
  /** No effect: the size is discovered. */
  maxRecvUdpPayloadSize: number
  /** No effect: the size is discovered. */
  maxSendUdpPayloadSize: number
  /** Bytes. @default 10 MiB */
  initialMaxData: number
  /** Bytes. The largest of the three counts for all streams. @default 1 MiB */
  initialMaxStreamDataBidiLocal: number
  initialMaxStreamDataBidiRemote: number
  initialMaxStreamDataUni: number
  /** Streams of the peer's at once. @default 100 */
  initialMaxStreamsBidi: number
  initialMaxStreamsUni: number
  /** Bytes. @default 24 MiB */
  maxConnectionWindow: number
  /** Bytes. @default 16 MiB */
  maxStreamWindow: number
  /** Take datagrams; both lengths have no effect. @default [false, 0, 0] */
  enableDgram: [boolean, number, number]
  /** @default true */
  disableActiveMigration: boolean
  /** ALPN. @default ['quic'] */
  applicationProtos: string[]
  /** In force only where a program says true itself. @default false */
  enableEarlyData: boolean
  /** No effect. */
  readableChunkSize: number
}

export type QUICClientConfigInput = Partial<QUICConfig>
export type QUICServerConfigInput = Partial<QUICConfig> & { key: Pems; cert: Pems }

/** Not needed: randomness and tokens are made natively. */
export interface ClientCryptoOps { randomBytes(data: ArrayBuffer): Promise<void> }
/** Not needed. */
export interface ServerCryptoOps {
  sign(key: ArrayBuffer, data: ArrayBuffer): Promise<ArrayBuffer>
  verify(key: ArrayBuffer, data: ArrayBuffer, signature: ArrayBuffer): Promise<boolean>
}
export interface QUICClientCrypto { ops: ClientCryptoOps }
export interface QUICServerCrypto { key: ArrayBuffer; ops: ServerCryptoOps }

/** A name to an IP address. */
export type ResolveHostname = (hostname: string) => string | PromiseLike<string>

/** From the reason of a cancelled or aborted stream to the code that goes out. */
export type ReasonToCode = (type: 'read' | 'write', reason?: unknown) => number
/** From the peer's code to what reading or writing rejects with. */
export type CodeToReason = (type: 'read' | 'write', code: number) => unknown
export type StreamReasonToCode = ReasonToCode
export type StreamCodeToReason = CodeToReason

/** Any logger with these methods; each may be missing. */
export interface FacadeLogger {
  debug?(message: string): void
  info?(message: string): void
  warn?(message: string): void
  error?(message: string): void
}

export interface StopOptions {
  /** @default true */
  isApp?: boolean
  /** @default 0 */
  errorCode?: number
  /** UTF-8. @default empty */
  reason?: Uint8Array
  /** false: wait until all streams are closed. @default true */
  force?: boolean
}

export interface SocketAddressOptions {
  /** IP or name. @default '::' */
  host?: string
  /** @default 0, any */
  port?: number
  /** @default false */
  reuseAddr?: boolean
  /** @default false */
  ipv6Only?: boolean
}

export interface QUICSocketOptions {
  resolveHostname?: ResolveHostname | undefined
  logger?: FacadeLogger | undefined
  /** Not in js-quic: a file for the keys of all connections of the socket. @default none */
  logKeys?: string | undefined
}

interface SharedOptions {
  resolveHostname?: ResolveHostname | undefined
  reasonToCode?: ReasonToCode | undefined
  codeToReason?: CodeToReason | undefined
  logger?: FacadeLogger | undefined
  /** Shared with others; must have been started. @default one of its own */
  socket?: QUICSocket | undefined
}

export interface QUICServerOptions extends SharedOptions {
  config: QUICServerConfigInput
  crypto?: QUICServerCrypto | object | undefined
  /** Limit of the handshake, milliseconds. @default none */
  minIdleTimeout?: number | undefined
}

export interface QUICClientOptions extends SharedOptions {
  /** IP or name; a wildcard is this host. */
  host: string
  port: number
  /** Name to ask for and to check. @default host */
  serverName?: string | undefined
  /** @default '::' */
  localHost?: string | undefined
  /** @default 0, any */
  localPort?: number | undefined
  reuseAddr?: boolean | undefined
  ipv6Only?: boolean | undefined
  config?: QUICClientConfigInput | undefined
  crypto?: QUICClientCrypto | object | undefined
}

export interface ConnectionMetadata {
  localHost: string
  localPort: number
  remoteHost: string
  remotePort: number
  /** DER, leaf first. */
  localCertsChain: Uint8Array[]
  localCACertsChain: Uint8Array[]
  remoteCertsChain: Uint8Array[]
}
