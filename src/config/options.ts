/**
 * The option types of endpoints, connections and servers. Defaults are written beside each field; the engine owns those
 * that it keeps itself. Checked by `check.ts`, made ready for the engine by `endpoint.ts`, `connection.ts`, `server.ts`.
 */
import type { BlockList } from 'node:net'
import type { CarrierBurst } from '../binding/index.ts'
import type { TraversalOptions } from '../nat/index.ts'
import type { PathPolicy, PathPolicyName, Scheduler } from '../path/index.ts'
import type { Clock } from './clock.ts'

export type Bytes = Uint8Array
/** PEM text or DER bytes; a list is a chain (leaf first) or a set of anchors. */
export type Pem = string | Bytes | readonly (string | Bytes)[]

/** Takes what is worth telling a person. Methods left out are silent. */
export interface Logger {
  debug?(message: string, facts: object): void
  info?(message: string, facts: object): void
  warn?(message: string, facts: object): void
  error?(message: string, facts: object): void
}

export interface EndpointOptions {
  /** Sockets to bind, e.g. `['0.0.0.0:4433', '[::]:4433']`. @default [] (one socket per family, at the first connect that needs it) */
  local?: string | readonly string[]
  /** Accept connections, as `listen(server)`. @default none */
  server?: ServerOptions
  /** Defaults merged (`limits` field by field) under the options of every `connect` and accepted connection. @default {} */
  connection?: ConnectionOptions
  /** SO_REUSEPORT, for many processes on one port. @default false */
  reusePort?: boolean
  /** Kernel send buffer; a clamp by the kernel is a `warn`. @default 4 MiB */
  sendBufferBytes?: number
  /** Kernel receive buffer; a clamp by the kernel is a `warn`. @default 4 MiB */
  receiveBufferBytes?: number
  /** Segments per burst limit, 1 switches GSO off. @default 64 */
  maxSegments?: number
  /** Datagrams from these addresses are dropped unread and counted (`drops.blocked`), those of connections that are open included; `connect` does not go there. Rules added later hold within a second, at once after `listen`. @default none */
  blockList?: BlockList
  /** Server id written into connection ids for a load balancer (QUIC-LB, not encrypted), 1 to 15 bytes. `configuration`: the draft's config rotation, 0 to 6. `encodeLength`: the first byte tells how many follow. @default none */
  serverId?: Bytes | { id: Bytes; /** @default 0 */ configuration?: number; /** @default false */ encodeLength?: boolean }
  /** 32 bytes for tokens and stateless resets, equal on all machines of a fleet. @default random */
  secret?: Bytes
  /** Buffer pool of this endpoint: received bytes not read and sent bytes not acknowledged, over all connections. `overcommit` up to 8 lets windows add up to more than there is: then a connection may end with INTERNAL_ERROR. This build has buffers of 16 KiB and no others. @default { maxBytes: 64 MiB, bufferBytes: 16 KiB, overcommit: 1 } */
  memory?: { maxBytes?: number; bufferBytes?: number; overcommit?: number }
  /** Clock of `sample` observables. @default 100 */
  metricsIntervalMs?: number
  /** Where qlog goes: a folder, or a callback per record. @default none */
  qlog?: string | ((record: string, connection: object) => void)
  /** Key log: a file, `'env'` (SSLKEYLOGFILE) or a callback per line. @default none */
  keylog?: string | ((line: string) => void)
  /** @default silent */
  logger?: Logger
}

/** An endpoint whose datagrams the program carries. */
export interface CarrierOptions extends Omit<EndpointOptions, 'local' | 'reusePort' | 'sendBufferBytes' | 'receiveBufferBytes'> {
  /** Takes one burst (the bytes are the callee's). Result: segments accepted; nothing = all. Fewer: nothing more comes until `writable()` is called; the others are written again. A throw counts as a carrier that cannot send: the path loses the burst, as with a socket. */
  send(burst: CarrierBurst): number | void
  /** Longest datagram it carries, at least 1200. @throws QB_CARRIER_TOO_SMALL */
  maxDatagramSizeBytes: number
  /** Our address when a datagram names none. @default '[100::1]:1' (for IPv4 remotes '192.0.0.8:1') */
  local?: string
  /** @default the process's monotonic clock */
  clock?: Clock
  /** With a clock of the user's: seeds all randomness, TLS included, so that runs repeat. @default none */
  seed?: number
}

export interface TlsOptions {
  /** Protocols, in order of preference; required for a server and for connect. */
  alpn?: string | readonly string[]
  /** Own certificate chain (PEM or DER, in memory). @throws QB_TLS_IDENTITY */
  cert?: Pem
  /** Its key. @throws QB_TLS_IDENTITY */
  key?: Pem
  /** Trust anchors. @default Node's bundled roots */
  ca?: Pem
  /** `sha256//BASE64` (public key) or 64 hex digits (certificate). With pins and no `ca`, a pin alone is trust. @default none */
  pins?: readonly string[]
  /**
   * `'default'`: chain, name and time. `'none'`: nothing (a `warn`). A function replaces the chain check while the handshake waits for it; the
   * peer's signature and `pins` are checked all the same. Of servers it judges clients, with `clientAuth`. @default 'default'
   */
  verify?: 'default' | 'none' | Verify
  /** Limit of a `verify` function, within `limits.handshakeTimeoutMs`; a late or missing answer refuses. @default 5000 */
  verifyTimeoutMs?: number
  /** @default ['aes-128-gcm', 'aes-256-gcm', 'chacha20-poly1305'] */
  ciphers?: readonly CipherName[]
}

export type CipherName = 'aes-128-gcm' | 'aes-256-gcm' | 'chacha20-poly1305'

export interface PeerIdentity {
  /** DER, leaf first */
  chain: readonly Bytes[]
  fingerprint: string
  pin: string
  /** names in the leaf */
  names: readonly string[]
  /** the name asked for */
  serverName: string | null
}

/**
 * Judges a peer that has proved its key. Returning (or resolving with) nothing accepts; a throw, a rejection and any other answer refuse.
 * `defaultError`: why `'default'` would refuse, null if it would accept.
 */
export type Verify = (peer: PeerIdentity & { defaultError: string | null }) => void | Promise<void>

export type HandshakeMode = 'single' | 'stagger' | 'race' | 'shared' | 'independent'

export interface HandshakeOptions {
  mode: HandshakeMode
  /** `stagger`. @default 150 */
  staggerMs?: number
  /** More candidates are not tried. @default 4 */
  maxCandidates?: number
}

export type SchedulerName = 'min-rtt' | 'round-robin' | 'weighted' | 'backup' | 'redundant' | 'blest' | 'ecf' | 'deadline'

export interface SchedulerChoice {
  name: SchedulerName
  /** `deadline`: most extra bytes, share. @default 0.05 */
  maxExtraRatio?: number
  /** `deadline`: a packet is late when it waits so long for its acknowledgement. @default what is usual on its path */
  deadlineMs?: number
}

export type VersionName = 'v1' | 'v2'
export type CongestionName = 'cubic' | 'newreno' | 'bbr3' | 'lia' | 'olia' | 'balia'
export type PathStatus = 'available' | 'backup'

export interface PathSpec {
  /** IP or IP:port of ours; another than the endpoint's opens a socket of its own. @default any */
  local?: string
  /** @default the connection's peer address */
  remote?: string
  /** Bind to a device by name (Linux). No such device, or not allowed: QB_BIND_FAILED with ENODEV, EPERM. @default none */
  interface?: string
  /** Advice to both ends. @default 'available' */
  status?: PathStatus
  /** Its share under `weighted` against those of other paths, 0.001 ... 1000. @default 1 */
  weight?: number
}

/** Turns errors into stream codes and back. */
export interface StreamCodes {
  /** @default codes pass as they are; without a code `cancelCode` */
  toCode?(reason: unknown, side: 'read' | 'write'): number | bigint
  toReason?(code: bigint, side: 'read' | 'write'): unknown
  /** @default 0x10c */
  cancelCode?: number
}

/**
 * Tickets and NEW_TOKEN tokens, key `name:port|alpn`. Methods may be asynchronous; one that throws or takes longer than a second costs a
 * full handshake and a `warn`.
 */
export interface SessionStore {
  get(key: string): SessionEntry[] | Promise<SessionEntry[]>
  /** An empty list: nothing is left of the name. */
  set(key: string, entries: SessionEntry[]): void | Promise<void>
}

export interface SessionEntry {
  kind: 'ticket' | 'token'
  bytes: Bytes
  /** False: worth something to the endpoint that stored it only (the TLS library does not hand the bytes out). */
  portable: boolean
  expiresUnixMs: number
}

export interface ConnectionOptions extends TlsOptions {
  /** SNI and name to check. @default the host of `remote` */
  serverName?: string
  /** Version of the first Initial; 'reserved' is one that no server has, so that it answers with its own. @default the first of `versions` */
  firstVersion?: VersionName | 'reserved'
  /** Initial paths; the first is tried first. @default one path, chosen by the system */
  paths?: readonly PathSpec[]
  /** Client only: opens and abandons paths by itself once the handshake is confirmed. @default 'manual' */
  pathPolicy?: PathPolicyName | PathPolicy
  /** 'auto' offers the IETF extension; 'require' fails without it (QB_MULTIPATH_REFUSED); 'shared-space' (experimental) offers our own mode with one packet-number space over all paths. @default 'auto' */
  multipath?: 'auto' | 'off' | 'require' | 'shared-space'
  /** Concurrent paths wanted. @default 8 */
  maxPaths?: number
  /** @default 'single' with one candidate, else 'stagger' */
  handshake?: HandshakeMode | HandshakeOptions
  /** @default 'min-rtt' */
  scheduler?: SchedulerName | SchedulerChoice | Scheduler
  /** @default 'cubic' */
  congestion?: CongestionName
  /** Where PATH_ACK of a path goes. @default 'same' */
  ackPath?: 'same' | 'fastest'
  /** Lets the peer ask for fewer or earlier acknowledgements, and asks it where it allows the same (draft-ietf-quic-ack-frequency). @default true */
  ackFrequency?: boolean
  /** Failover contract. @default { maxStallMs: 300, abandonAfterMs: 10000 } */
  failover?: { maxStallMs?: number; abandonAfterMs?: number }
  limits?: Limits
  /** QUIC versions, the preferred one first. @default ['v1', 'v2'] */
  versions?: readonly VersionName[]
  /** Client: send 0-RTT when a ticket is stored. Server: take it. @default false */
  earlyData?: boolean
  /** Where tickets and tokens for later connections are kept. @default one in-process store per endpoint (256 names, 4 entries each) */
  sessions?: SessionStore
  /** Datagrams (RFC 9221) we accept, 0 = off. @default 65535 */
  maxDatagramFrameBytes?: number
  streamCodes?: StreamCodes
  /** Spin bit (RFC 9000 §17.4): a truth for observers, noise, or nothing. @default 'random' */
  spin?: 'off' | 'random' | 'on'
  /** The fixed bit of packets may be 0 once both ends have said so (RFC 9287). @default true */
  greaseQuicBit?: boolean
  /** The peer is told not to come from another address by its own will; what a NAT does is followed (RFC 9000 §18.2). @default false */
  disableActiveMigration?: boolean
  /** Slow start ends when round trips grow longer (HyStart++, RFC 9406); `cubic` and `newreno`. @default true */
  hystart?: boolean
  /** @default false (off: no traversal frame is ever sent) */
  traversal?: false | TraversalOptions
}

/** A client that wants in. Nothing of it is proved but, where it says so, its address. */
export interface AttemptFacts {
  remote: string
  local: string
  /** The name it asks for. */
  serverName: string | null
  /** Protocols it offers, the preferred one first. */
  alpn: readonly string[]
  /** The address is proved (Retry or NEW_TOKEN). */
  validated: boolean
}

/** `'retry'` makes a client prove its address and come again; one that has is accepted. */
export type AdmitVerdict = 'accept' | 'refuse' | 'retry' | 'ignore'
export type Admit = (attempt: AttemptFacts) => AdmitVerdict | Promise<AdmitVerdict>

export interface ServerOptions extends Omit<ConnectionOptions, 'serverName' | 'firstVersion' | 'paths' | 'handshake' | 'pathPolicy'> {
  /** Identities by SNI; `*.example.net` and `*` allowed; merged over `cert`/`key`. @default {} */
  sni?: Readonly<Record<string, { cert: Pem; key: Pem }>>
  /** Client certificates, checked against `ca` / `pins` / `verify`. @default 'none' */
  clientAuth?: 'none' | 'request' | 'require'
  /** Retry (address validation): always, or when many attempts are half open, or never. @default 'auto' */
  retry?: 'always' | 'auto' | 'never'
  /** Verdict per attempt; a throw, a rejection, anything else than a verdict and no answer within 5 s refuse. Not asked while a loop over `attempts()` runs. @default accept */
  admit?: Admit
  /** Complete connections nobody took from `incoming()`; beyond: CONNECTION_REFUSED. @default 256 */
  backlog?: number
  /** Accepted connections alive at once, in all and from one IPv4 address or one IPv6 network of 64 bits; beyond: CONNECTION_REFUSED. @default { total: 100000, perAddress: 1000 } */
  maxConnections?: { total?: number; perAddress?: number }
  /** Take Initials of one connection from several addresses (for `race`, `shared`). @default true */
  multiAddressHandshake?: boolean
  /** Addresses offered in preferred_address, one of each family at most; the endpoint must be reachable there (`local` binds them). @default none */
  preferredAddress?: readonly string[]
  /** Give clients tokens that prove their address in a later connection (RFC 9000 §8.1.3). @default true */
  newTokens?: boolean
  /** Allow server data before the client's Finished: it may go to whoever replays a first flight. Not with `clientAuth`. @default false */
  halfRttData?: boolean
}

export interface Limits {
  /** @default 10000 */
  handshakeTimeoutMs?: number
  /** Smaller of both ends counts; 0 = none. @default 30000 */
  idleTimeoutMs?: number
  /** PING on a silent connection; 0 = off. @default 0 */
  keepAliveMs?: number
  /** Peer-opened streams at once. @default 100 */
  bidirectionalStreams?: number
  /** @default 100 */
  unidirectionalStreams?: number
  /** First value of a stream's window. @default 256 KiB */
  streamWindowBytes?: number
  /** What autotuning may reach. @default 8 MiB */
  maxStreamWindowBytes?: number
  /** @default 512 KiB */
  connectionWindowBytes?: number
  /** @default 16 MiB */
  maxConnectionWindowBytes?: number
  /** Unsent bytes `write` accepts per stream. @default 256 KiB */
  sendBufferBytes?: number
  /** Unsent bytes `write` accepts per connection. @default 8 MiB */
  connectionSendBufferBytes?: number
  /** @default 25 */
  maxAckDelayMs?: number
  /** First datagram size; PMTU discovery raises it. @default 1200 */
  initialMtuBytes?: number
  /** @default 1452 (1472 over IPv4), and 16352 to addresses of the host's own (127.0.0.0/8, ::1) */
  maxMtuBytes?: number
  /** Of all ids that an endpoint issues, 8 to 20: what `bind` is given, in `connection.limits`. @default 8, with `serverId` 9 more than that has (at most 20) */
  connectionIdBytes?: number
}

export interface CloseOptions {
  /** Application code. @default 0 */
  code?: number | bigint
  /** At most 1024 UTF-8 bytes. @default '' */
  reason?: string
  /** How long accepted bytes may take to be acknowledged. @default 2000 */
  drainMs?: number
}

export interface DevCertificateOptions {
  /** @default ['localhost', '127.0.0.1', '127.0.0.2', '::1'] */
  names?: readonly string[]
  /** @default 'p256' */
  kind?: 'p256' | 'ed25519'
  /** @default 14 */
  days?: number
}

export interface DevCertificate {
  cert: string
  key: string
  /** openssl style hex */
  fingerprint: string
  /** `sha256//...` */
  pin: string
}
