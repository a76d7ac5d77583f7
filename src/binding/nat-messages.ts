/**
 * The JSON about NATs that crosses for what is rare: settings of a connection's traversal, orders, questions, events. Addresses are
 * `ip:port`; those that may lie behind a relay are `RELAY-OUTER` too (traversal T-1). `nat` and `kind` in the words of api 2.8.
 * Part of the N-API contract. Features: `nat` (orders to the endpoint that begin with `nat`, `stun-serve`, `nat-statistics`), `relay` (orders that begin with `relay`),
 * `traversal` (what concerns a connection). `register` and `unregister` are always there.
 */

export type NativeNatKind = 'blocked' | 'full-cone' | 'restricted-cone' | 'restricted-port' | 'symmetric' | 'dynamic'
export type NativeAddressKind = 'host' | 'mapped' | 'relayed'
/** How STUN is spoken: RFC 8489/5780, dquic 0.7 and later, dquic 0.5 (traversal T-40, T-42). */
export type NativeStunForm = 'rfc5780' | 'dquic' | 'dquic-0.5'

/** `NativeTransport.traversal`; without it no traversal frame is sent or taken. */
export interface NativeTraversal {
  profile: 'braid' | 'dquic'
  /** Punches begin by themselves (traversal T-80). */
  auto: boolean
  /** Plans are asked of JavaScript: `punch-wants-steps` (traversal T-101). */
  ownStrategy: boolean
  portSearch: boolean
  privateTargets: 'never' | 'same-site' | 'always'
  /** Networks of our interfaces, like `10.0.0.0/24`: private addresses in them are of the same site. */
  networks?: string[]
  /** Networks probed although the Internet does not reach them. Feature `traversal.allow`. */
  allow?: string[]
  /** Lower bounds than those of traversal T-97 and attacks L22. */
  probesPer60s?: number
  roundsPer60s?: number
  /** Who is asked for the outer addresses of temporary sockets, best first. */
  stun: string[]
  stunForm: NativeStunForm
}

/** An address of a connection's end (traversal T-70). */
export interface NativePunchAddress {
  seq: number
  kind: NativeAddressKind
  address: string
  /** Of kind `relayed`. */
  relay: string | null
  tier: number
  nat: NativeNatKind
}

/** A step of a plan made in JavaScript. */
export type NativePunchStep =
  /** `to`: `peer`, a port of the peer's IP, or an address whose IP the peer named. `everyMs` 0: at once; `doubling`: each wait twice the one before. */
  | { do: 'hello'; to: string | number; count: number; everyMs: number; doubling: boolean; ttl: number }
  | { do: 'tell-peer' }
  /** `orFail`: silence ends the round. */
  | { do: 'wait'; for: 'tell' | 'hello' | 'done' | 'any'; ms: number; orFail: boolean }
  /** `step`: the peer is told the address so many ports further (traversal T-96); null: the one a server saw. */
  | { do: 'new-socket'; step: number | null }
  | { do: 'collision' }
  | { do: 'port-search' }

/** To a connection. */
export type NativePunchOrder =
  | { do: 'withdraw'; seq: number }
  /** Punches the peer's address `remote` (its seq) from the best of ours. `own`: this plan is asked of JavaScript. The answer: `punch-round` events, or `punch-refused` with the same ticket. */
  | { do: 'punch'; ticket: number; remote: number; own: boolean }
  | { do: 'punch-cancel'; localSeq: number; remoteSeq: number }
  /** Answer to `punch-wants-steps`. `more`: ask again after them, else the round fails after the last one. */
  | { do: 'punch-steps'; localSeq: number; remoteSeq: number; steps: NativePunchStep[]; more: boolean }

/** To a connection, with an answer. */
export type NativePunchQuestion =
  /** Announces an address of the bound socket `local`. `portStep`: its NAT's, if known. Answer: `{seq}` or `{refused}`. */
  | { ask: 'announce'; local: string; address: string; kind: NativeAddressKind; relay: string | null; tier: number; nat: NativeNatKind; portStep: number | null }
  /** Answer: `NativePunchState`. */
  | { ask: 'traversal' }

export type NativeAnnounced = { seq: number } | { refused: 'duplicate' | 'private' | 'full' | 'off' | 'unknown-local' }

export interface NativePunchState {
  state: 'off' | 'negotiating' | 'on'
  running: number
  probesSent: number
  local: NativePunchAddress[]
  remote: NativePunchAddress[]
}

/** Of a connection (word 1 = its key). */
export type NativePunchEvent =
  /** Negotiated, or not; told once, with the end of the handshake. */
  | { type: 'traversal'; atMs: number; state: 'on' | 'off'; profile: 'braid' | 'dquic' | null; reason: string }
  | { type: 'punch-address'; atMs: number; side: 'local' | 'remote'; change: 'added' | 'removed' | 'changed'; address: NativePunchAddress }
  | { type: 'punch-round'; atMs: number; localSeq: number; remoteSeq: number; as: 'active' | 'passive'; state: 'started' | 'yielded' | 'done' | 'failed'; number: number; plan: string; probes: number; reason: string }
  | { type: 'punch-refused'; atMs: number; ticket: number; reason: 'no-pair' | 'off' | 'running' | 'direct' }
  | { type: 'punch-wants-steps'; atMs: number; localSeq: number; remoteSeq: number; context: NativePunchContext }
  /** A HELLO or DONE came through; a client opens a path there by itself. */
  | { type: 'punch-hole'; atMs: number; localSeq: number; remoteSeq: number; local: string; remote: string }
  /** OBSERVED_ADDRESS of the peer: how it sees us on this path. */
  | { type: 'observed-address'; atMs: number; path: number; address: string }

export interface NativePunchContext {
  role: 'client' | 'server'
  as: 'active' | 'passive'
  local: NativePunchAddress & { portStep: number | null }
  remote: NativePunchAddress
  rttMs: number
  /** From 1. */
  round: number
  portSearch: boolean
}

/** To the endpoint (connection 0). Tickets are JavaScript's names. */
export type NativeNatOrder =
  /** Asks one server for the outer address of a bound socket: `nat-answer` or `nat-silence`. */
  | { do: 'nat-ask'; ticket: number; local: string; server: string; form: NativeStunForm; timeoutMs: number; tries: number }
  /** Detects what NAT is before a bound socket: `nat-observation` events, then one `nat-report`. Over a carrier no fresh sockets are made, so that filter and ports stay unknown. */
  | { do: 'nat-detect'; ticket: number; local: string; servers: string[]; form: NativeStunForm; timeoutMs: number; tries: number; life: boolean }
  /** Keeps a mapping alive until `nat-cancel`: `nat-mapping` events (traversal T-46). */
  | { do: 'nat-keep'; ticket: number; local: string; server: string; form: NativeStunForm }
  | { do: 'nat-cancel'; ticket: number }
  /** A relay knows the bound socket `local` as `outer` from now on: peers dial `RELAY-OUTER`, and relayed ways may be opened from it. `local` as `nat-answer` tells it: the address at which the relay's answers come in. Again: under another `outer`, relayed paths stay. What cannot be: `register-refused`. */
  | { do: 'register'; local: string; relay: string; outer: string }
  | { do: 'unregister'; local: string; relay: string }
  /** Answers STUN requests; null: no more. `sockets`: our bound sockets as clients see them, one or all four of two IPs and two ports. */
  | { do: 'stun-serve'; config: { sockets: string[]; neighbours: string[]; forms: NativeStunForm[] } | null }
  /** Is a relay; null: no more. `agent`: our addresses as peers name them. `allow`: networks like `10.0.0.0/8` forwarded to although the Internet does not reach them. */
  | { do: 'relay-serve'; config: { agent: string[]; allow: string[]; allowPrivate: boolean; bytesPerSecond: number; burstBytes: number } | null }
  /** A client's credentials are good for so long; counts as a keep-alive, so that it is forwarded to at once (traversal T-33). Again: longer. `formerly`: its address until now, by which it is still found (traversal T-36). What cannot be: `relay-refused`. */
  | { do: 'relay-admit'; client: string; forMs: number; formerly?: string }
  | { do: 'relay-forget'; client: string }

/** To the endpoint (connection 0), with an answer: `NativeNatStatistics`. */
export type NativeNatQuestion = { ask: 'nat-statistics' }

export interface NativeNatStatistics {
  stun: { requests: number; answered: number; ignored: number } | null
  relay: { registrations: number; forwardedDatagrams: number; forwardedBytes: number; /** By reason, in the words of `Dropped::name`. */ drops: { [reason: string]: number } } | null
}

/** `test`: `mapping`, `from-other-port`, `from-other-address`, `mapping-after-contact`, `hairpin`, `life-SECONDSs`; of a fresh socket with `-socket-N` behind it. `rttMs` null: not measured. */
export interface NativeNatObservation { atMs: number; test: string; server: string; tries: number; answeredBy: string | null; mapped: string | null; rttMs: number | null }

export interface NativeNatReport {
  /** A filter that could not be tested counts as the strictest. */
  kind: NativeNatKind
  mapping: 'none' | 'endpoint-independent' | 'address' | 'address-port' | 'unknown'
  filtering: 'endpoint-independent' | 'address' | 'address-port' | 'unknown'
  hairpin: boolean | null
  ports: { allocation: 'preserving' | 'sequential' | 'random' | 'parity' | 'unknown'; step: number | null }
  /** Its mapping changes when the peer's packet came first (traversal T-53). */
  afterContact: 'keeps' | 'changes' | 'unknown'
  mappingLifeMs: number | null
  local: string
  mapped: string | null
  natted: boolean
  observations: NativeNatObservation[]
}

/** Of the endpoint (word 1 = 0). */
export type NativeNatEvent =
  /** A `register` that did nothing. */
  | { type: 'register-refused'; atMs: number; local: string; relay: string; reason: string }
  /** A `relay-admit` that did nothing: as many clients as it takes are there, or it is no relay. */
  | { type: 'relay-refused'; atMs: number; client: string; reason: 'full' | 'off' }
  /** `local`: the address at which the answer came in. */
  | { type: 'nat-answer'; atMs: number; ticket: number; local: string; mapped: string; from: string; rttMs: number; tries: number }
  | { type: 'nat-silence'; atMs: number; ticket: number; tries: number }
  | { type: 'nat-observation'; atMs: number; ticket: number; observation: NativeNatObservation }
  /** null: no server answered. */
  | { type: 'nat-report'; atMs: number; ticket: number; report: NativeNatReport | null }
  /** `mapped` null: the server is silent, what it said before may be gone. */
  | { type: 'nat-mapping'; atMs: number; ticket: number; local: string; mapped: string | null }
