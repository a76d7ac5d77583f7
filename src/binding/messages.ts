/**
 * The JSON that crosses for what is rare: options, orders, questions, events. Part of the N-API contract.
 * Absent fields mean the engine's default. Error codes are a number below 2^53, else a decimal string.
 */

import type { NativeNatEvent, NativeNatOrder, NativeNatQuestion, NativePunchEvent, NativePunchOrder, NativePunchQuestion, NativeTraversal } from './nat-messages.ts'
import type { Signal } from './numbers.ts'
import type { NativePlan, NativeSchedulerView } from './scheduling.ts'

export type JsonCode = number | string

/** PEM text, or DER in base64. */
export type JsonPem = string | { der: string }

/** What the engine refuses or reports; `src/binding/error.ts` makes our classes of it. */
export interface NativeError {
  code: string
  message: string
  errorCode?: JsonCode | null
  codeName?: string | null
  by?: 'local' | 'peer' | 'timeout' | 'reset' | null
  layer?: 'application' | 'transport' | null
  path?: number | null
  field?: string | null
  value?: unknown
}

export interface NativeEndpointOptions {
  /** `ip:port` each; none: sockets are bound at the first connect that needs the family. */
  local: string[]
  reusePort?: boolean
  sendBufferBytes?: number
  receiveBufferBytes?: number
  maxSegments?: number
  memory?: { maxBytes?: number; bufferBytes?: number; overcommit?: number }
  /** Hex of 32 bytes. */
  secret?: string
  /** Feature `blockList`. */
  block?: NativeBlockRule[]
  /** Feature `serverId`. */
  serverId?: NativeServerId
  /** Of every id issued here, 8 unless something is said. Feature `connectionIdBytes`. */
  connectionIdBytes?: number
  keylog?: boolean
  qlog?: boolean
}

/** From one address to another, or the first bits of an address. */
export type NativeBlockRule = [string, string] | [string, number]

/** `id` in hex. */
export interface NativeServerId { id: string; configuration: number; tellsLength: boolean }

export interface NativeTls {
  alpn: string[]
  cert?: JsonPem[]
  key?: JsonPem
  ca?: JsonPem[] | 'default'
  pins?: string[]
  verify?: 'default' | 'none'
  /** JavaScript judges the peer's chain: a `verify` event comes and the handshake waits for the order `verdict`. The number tells one function from another. */
  judge?: number
  ciphers?: string[]
  clientAuth?: 'none' | 'request' | 'require'
  /** Clients: use a ticket's early keys. Servers: take early data. */
  earlyData?: boolean
  sni?: { [name: string]: { cert: JsonPem[]; key: JsonPem } }
}

export interface NativeTransport {
  multipath?: 'auto' | 'off' | 'require' | 'shared-space'
  maxPaths?: number
  scheduler?: { name: string; maxExtraRatio?: number; deadlineMs?: number }
  /** JavaScript plans: `plan` events come, each waits for the order `plan`. Feature `scheduler.plan`. */
  plans?: boolean
  congestion?: string
  ackPath?: 'same' | 'fastest'
  ackFrequency?: boolean
  failover?: { maxStallMs?: number; abandonAfterMs?: number }
  limits: {
    handshakeTimeoutMs?: number
    idleTimeoutMs?: number
    keepAliveMs?: number
    bidirectionalStreams?: number
    unidirectionalStreams?: number
    streamWindowBytes?: number
    maxStreamWindowBytes?: number
    connectionWindowBytes?: number
    maxConnectionWindowBytes?: number
    /** Always given: JavaScript keeps count with the same numbers. */
    sendBufferBytes: number
    connectionSendBufferBytes: number
    maxAckDelayMs?: number
    initialMtuBytes?: number
    maxMtuBytes?: number
  }
  versions?: string[]
  /** Largest DATAGRAM frame we take, 0 = none. */
  maxDatagramFrameBytes?: number
  /** Clients: version of the first Initial, 'reserved' for 0x?a?a?a?a (feature `firstVersion`). */
  firstVersion?: string
  spin?: 'off' | 'random' | 'on'
  greaseQuicBit?: boolean
  disableActiveMigration?: boolean
  hystart?: boolean
  /** Feature `traversal`. */
  traversal?: NativeTraversal
}

export interface NativePathSpec {
  /** `ip:port`, port 0 = any; absent = any of the remote's family. */
  local?: string
  /** `ip:port` or `RELAY-OUTER`; absent = the connection's. */
  remote?: string
  interface?: string
  status?: 'available' | 'backup'
  weight?: number
}

export interface NativeConnect {
  /** Hex; the connection's name in logs and qlog. */
  id: string
  /** Addresses of the one server, best first; `RELAY-OUTER` needs a `register` before. */
  remotes: string[]
  serverName: string
  tls: NativeTls
  transport: NativeTransport
  /** At least one entry; the first is tried first. */
  paths: NativePathSpec[]
  handshake: { mode: string; staggerMs?: number; maxCandidates?: number }
  /** Offer a ticket, if the engine has one for the server; those that come are kept either way. */
  ticket: boolean
  /** Hex; what a `token` event of an earlier connection to this server brought. */
  token?: string
}

export interface NativeServer {
  tls: NativeTls
  transport: NativeTransport
  retry?: 'always' | 'auto' | 'never'
  maxConnections?: { total?: number; perAddress?: number }
  multiAddressHandshake?: boolean
  /** `ip:port`, one of each family at most. */
  preferredAddress?: string[]
  newTokens?: boolean
  halfRttData?: boolean
}

export interface NativeDevCertificateOptions { names: string[]; kind: 'p256' | 'ed25519'; days: number }
export interface NativeDevCertificate { cert: string; key: string; fingerprint: string; pin: string }

export type NativeOrder =
  | NativePunchOrder
  | NativeNatOrder
  /** Sends what was accepted, waits for its acknowledgement at most `drainMs`, then CONNECTION_CLOSE. `drainMs` 0 closes now. */
  | { do: 'close'; layer: 'application' | 'transport'; code: JsonCode; reason: string; drainMs: number }
  /** The answer is a `path` event or `path-failed` with the same ticket. */
  | { do: 'open-path'; ticket: number; spec: NativePathSpec }
  /** Gives up an opening path: no event for the ticket follows. */
  | { do: 'cancel-path'; ticket: number }
  | { do: 'abandon-path'; path: number; code: JsonCode }
  | { do: 'path-status'; path: number; status: 'available' | 'backup' }
  /** 0.001 … 1000, 1 if nothing was said. Feature `scheduler.weighted`. */
  | { do: 'path-weight'; path: number; weight: number }
  /** Answer to a `plan` event; null: the plan before goes on. */
  | { do: 'plan'; plan: NativePlan | null }
  /** Moves a path to another address of ours. The answer is a `path-migrated` event with the same ticket. Feature `migrate`. */
  | { do: 'migrate-path'; ticket: number; path: number; spec: NativePathSpec }
  /** The path stays where it is; a move under way is answered as failed. */
  | { do: 'cancel-migration'; path: number }
  /** What the program wrote at once has crossed: a first flight that waited for early data goes. Without it, it goes a little later. */
  | { do: 'begin' }
  /** PING on a path, or on all; the answer is `pong` or `ping-failed` with the same ticket. */
  | { do: 'ping'; ticket: number; path: number | null }
  /** To the endpoint (connection 0): whether an `attempt` event asks for each newcomer. */
  | { do: 'admission'; mode: 'ask' | 'open' }
  /** To the endpoint (connection 0): whether RAW records are made; until then such datagrams are dropped and counted. */
  | { do: 'raw'; to: 'subscriber' | 'nobody' }
  /** To the endpoint (connection 0): who is not heard from now on, in place of those before. Feature `blockList`. */
  | { do: 'block'; rules: NativeBlockRule[] }
  /** To the endpoint (connection 0): of connections that begin from now on, of either role, those with this protocol are polarised (mux R50): the client asks, and a client's gate is shut. `wrongWay` null: they are ordinary ones. Feature `reverse`. */
  | { do: 'polarity'; alpn: string; wrongWay: JsonCode | null }
  /** The ends change parts, once. What the end that does not ask opens from then on is refused by the engine, with `wrongWay`. */
  | { do: 'reverse' }
  /** Streams of the peer that were held come out, in order of id; later ones as they come. */
  | { do: 'open-gate' }
  /** The peer may have so many streams open at once from now on (MAX_STREAMS); fewer than before change nothing. */
  | { do: 'grant-streams'; direction: 'bidirectional' | 'unidirectional'; count: number }
  /** Answer to a `verify` event, once; `reason`: for the error of a refusal. */
  | { do: 'verdict'; answer: 'accept' | 'refuse'; reason: string }
  /** Bits of `Trace`. */
  | { do: 'trace'; mask: number }

export type NativeQuestion =
  | NativePunchQuestion
  | NativeNatQuestion
  /** Answer: `NativeExplanation`. With `paths` only what concerns paths. */
  | { ask: 'explain'; about: 'connection' | 'paths' }
  /** Answer: `true` if a key update begins, `false` if one is under way. */
  | { ask: 'update-key' }
  /** Answer: `NativeSpace`, or null (no such path). */
  | { ask: 'space'; space: 'initial' | 'handshake' | 'application'; path: number }
  /** Answer: a burst or blocked record, for `bursts.plan`. Feature `plan`. */
  | { ask: 'plan'; path: number }

export interface NativeExplanation {
  lines: string[]
  paths: { id: number; blocked: Signal[]; wakeAtMs: number | null; timer: string | null; reason: string }[]
}

export interface NativeSpace {
  state: 'waiting-for-keys' | 'open' | 'discarded'
  largestSent: number | null
  largestAcknowledged: number | null
  largestReceived: number | null
  received: [number, number][]
}

export interface NativeAcks {
  space: 'initial' | 'handshake' | 'application'
  /** Path id of the space; 0 for initial and handshake. */
  path: number
  atMs: number
  ranges: [number, number][]
  ackDelayMs: number
  via: number
  newlyAcknowledged: number
  lost: number[]
  rttMs: number | null
  ecn: { ect0: number; ect1: number; ce: number } | null
}

export interface NativePathFacts {
  state: 'opening' | 'validating' | 'open' | 'abandoning' | 'abandoned'
  suspect: boolean
  status: 'available' | 'backup'
  peerStatus: 'available' | 'backup' | 'unknown'
  reason: string
  atMs: number
}

export interface NativeHandshakeStep {
  type: 'attempt' | 'flight' | 'first-answer' | 'locked' | 'unlocked' | 'muted' | 'failed' | 'retry' | 'version-negotiation' | 'tls-finished'
  attempt: number
  local: string
  remote: string
  reason: string
  /** Of flights. */
  datagrams?: number
  bytes?: number
  packets?: ('initial' | '0rtt' | 'handshake' | '1rtt')[]
}

export interface NativePeer {
  /** Base64 of DER, leaf first. */
  chain: string[]
  fingerprint: string
  pin: string
  names: string[]
}

export interface NativeCloseInfo {
  by: 'local' | 'peer' | 'timeout' | 'reset'
  layer: 'application' | 'transport'
  errorCode: JsonCode
  codeName: string
  reason: string
  path: number | null
  /** null: an orderly end. */
  error: NativeError | null
}

/** Payload of `Record.EVENT`. Connection events carry their key in word 1. */
export type NativeEvent =
  | NativePunchEvent
  | NativeNatEvent
  /** The peer began a handshake and was accepted; first record of its key. */
  | { type: 'connection'; atMs: number; id: string; remote: string; local: string; serverName: string | null; /** It was this attempt. */ attempt: number | null }
  /** The handshake waits for the order `verdict`; at most `handshakeTimeoutMs`. Only with `judge`, and not where a ticket stands for the word given before. */
  | { type: 'verify'; atMs: number; peer: NativePeer; serverName: string | null; defaultError: string | null }
  /** What a client's handshake did with its address pairs since the last such event (multipath MP-97). `attempt`: place in the order given, from 0. */
  | { type: 'handshake'; atMs: number; steps: NativeHandshakeStep[] }
  /** Handshake complete; STREAMS records come before it. `id` as given to `connect` or told by `connection`. `polarised`: the ends of its protocol have parts to play. */
  | {
      type: 'opened'; atMs: number; id: string; remote: string; local: string; serverName: string | null; peer: NativePeer | null; polarised?: true
      info: {
        ms: number; alpn: string; cipher: string; version: 'v1' | 'v2'; resumed: boolean; retry: boolean
        multipath: 'pending' | 'ietf' | 'shared-space' | 'none'; mode: string; winner: { local: string; remote: string }
        datagramsSent: number; datagramsReceived: number; coalesced: number
      }
    }
  /** Servers with `halfRttData`: streams and messages may be used before `opened` (STREAMS records come before it). */
  | { type: 'half-rtt'; atMs: number; alpn: string | null; serverName: string | null; polarised?: true }
  | { type: 'pong'; atMs: number; ticket: number; path: number; rttMs: number }
  | { type: 'ping-failed'; atMs: number; ticket: number; error: NativeError }
  | { type: 'confirmed'; atMs: number }
  | { type: 'key-update'; atMs: number }
  /** The server gave tickets for later connections; they stay in the engine of this endpoint. */
  | { type: 'tickets'; atMs: number; count: number }
  /** 0-RTT. Clients: 'sent' right after `connect`, when early data may be sent (STREAMS records come before it), then what became of it. Servers: 'accepted', before any early stream, or 'rejected'. */
  | { type: 'early'; atMs: number; status: 'sent' | 'accepted' | 'rejected'; alpn: string | null; serverName: string | null; polarised?: true }
  /** The server gave a token for a later connection; hex, as it goes into `NativeConnect`. */
  | { type: 'token'; atMs: number; bytes: string }
  /** With `plans`: once before `opened` (or `half-rtt`), then at RTT pace while there is data and after path events, at most 200 a second. The next comes after the order `plan`. */
  | { type: 'plan'; atMs: number; view: NativeSchedulerView }
  | { type: 'multipath'; atMs: number; mode: 'pending' | 'ietf' | 'shared-space' | 'none'; reason: string }
  | { type: 'blocked'; atMs: number; by: 'streams-bidi' | 'streams-uni' | 'connection-credit' | 'path-ids' | 'path-cids' }
  /** Any change of a path, with the facts after it. The first one of an id makes the path known. `ticket`: of the `open-path` it belongs to. */
  | {
      type: 'path'; atMs: number; path: number; local: string; remote: string; interface: string | null; ticket: number | null
      facts: NativePathFacts
      change: { type: string; by?: 'local' | 'peer' | 'timer'; reason: string; status?: 'available' | 'backup'; local?: string; remote?: string; errno?: string; mtuBytes?: number } | null
    }
  /** An `open-path` (or a path of the options: ticket null) cannot go on yet. `path`: the id it will have. */
  | { type: 'path-waiting'; atMs: number; path: number; ticket: number | null; for: 'handshake' | 'peer-cids' | 'path-id-limit' | 'socket'; reason: string }
  | { type: 'path-failed'; atMs: number; ticket: number; error: NativeError }
  /** What came of a `migrate-path`; error null: the path has moved, its facts were told before. */
  | { type: 'path-migrated'; atMs: number; ticket: number; error: NativeError | null }
  /** The end for the application: CONNECTION_CLOSE was sent or received, or time ran out. Last record of its key. Before it every receiving part whose bytes had all arrived is handed over whole, whatever `AHEAD_BYTES` says. */
  | { type: 'closed'; atMs: number; info: NativeCloseInfo }
  // Of the endpoint (word 1 = 0):
  | { type: 'bound' | 'unbound'; atMs: number; local: string; reason: string }
  | { type: 'buffer-clamped'; atMs: number; local: string; wantedBytes: number; gotBytes: number }
  | { type: 'refused' | 'retried'; atMs: number; remote: string; reason: string }
  /** A client wants in and waits for `admit`, at most 5 s; then it is refused. */
  | { type: 'attempt'; atMs: number; attempt: number; remote: string; local: string; serverName: string | null; alpn: string[]; validated: boolean }
  /** It is over without a connection. */
  | { type: 'attempt-over'; atMs: number; attempt: number }
  /** The thread has ended. With an error: it broke. Last record of the endpoint. */
  | { type: 'endpoint-closed'; atMs: number; error: NativeError | null }

export interface NativeCarrierOptions {
  /** `ip:port`: our address when a datagram names none; none: `[100::1]:1` and `192.0.0.8:1`. */
  local?: string
  /** Everything random follows from it. */
  seed?: number
}
