/** What people see of ways through NATs (api 2.8): options, addresses, reports, strategies, events. Types only; checks stand in `src/config/traversal.ts`. */
import type { Observable, TlsOptions, Waiting } from '../config/index.ts'
import type { Path } from '../path/index.ts'

export interface TraversalOptions {
  /** Wire profile (traversal T-60). 'dquic' is experimental. @default 'braid' */
  profile?: 'braid' | 'dquic'
  /** Relays, `name:port`, the preferred one first, at most 8; a relayed path (status backup) opens at once. @default [] */
  relays?: readonly string[]
  /** Shown to relays, at most 1024 bytes. @default none */
  relayToken?: Uint8Array
  /** Trust for relays, and what we show them. @default the connection's */
  relayTls?: TlsOptions
  /** Servers for address discovery, `name:port`, at most 8. @default the relays */
  stun?: readonly string[]
  /** Where our addresses come from; 'port-mapping' (of the gateway, NAT-PMP or UPnP) needs the package `@achingbrain/nat-port-mapper`. @default ['host', 'stun', 'observed', 'relay'] */
  sources?: readonly AddressSource[]
  /** Punch by itself when both ends have addresses. @default true */
  auto?: boolean
  /** @default the matrix of traversal §7 */
  strategy?: PunchStrategy
  /** Opt in to the 300 x 800 port search (traversal T-97). @default false */
  portSearch?: boolean
  /** Probe addresses that are not globally routable. @default 'same-site' (traversal T-79) */
  privateTargets?: 'never' | 'same-site' | 'always'
  /** Bounds (traversal T-97, attacks L22); may only be lowered. @default { probesPer60s: 80 (1000 with portSearch), roundsPer60s: 5 } */
  budget?: { probesPer60s?: number; roundsPer60s?: number }
}

export type AddressSource = 'host' | 'stun' | 'observed' | 'relay' | 'port-mapping'
export type NatKind = 'blocked' | 'full-cone' | 'restricted-cone' | 'restricted-port' | 'symmetric' | 'dynamic'
/** On what it depends, in the words of RFC 4787. */
export type Behaviour = 'endpoint-independent' | 'address' | 'address-port' | 'unknown'

/** What stands between a socket and the Internet. */
export interface NatReport {
  kind: NatKind
  mapping: Behaviour
  filtering: Behaviour
  /** Hosts inside reach each other by their outside addresses; null: not known. */
  hairpin: boolean | null
  ports: { allocation: 'preserving' | 'sequential' | 'random' | 'parity' | 'unknown'; step: number | null }
  /** Whether the mapping stays when the peer's packet came first (traversal T-53). */
  afterContact: 'keeps' | 'changes' | 'unknown'
  /** null = not measured */
  mappingLifeMs: number | null
  local: string
  mapped: string | null
  natted: boolean
  observations: readonly NatObservation[]
}

/** One question to a server, and its answer. */
export interface NatObservation {
  atMs: number
  test: string
  server: string
  tries: number
  answeredBy: string | null
  mapped: string | null
  rttMs: number | null
}

/** How STUN is spoken: RFC 8489/5780; dquic 0.7 and later; dquic 0.5 (traversal T-40, T-42). */
export type StunDialect = 'rfc5780' | 'dquic' | 'dquic-0.5'

export interface NatProbeOptions {
  /** `name:port`, 1 to 8; the first is the one that is asked most. */
  servers: readonly string[]
  /** @default 'rfc5780' */
  dialect?: StunDialect
  /** Of one try. @default 300 */
  timeoutMs?: number
  /** Of the questions that decide, before silence counts. @default 3 */
  tries?: number
  /** Also measure the mapping's life (minutes). @default false */
  life?: boolean
}

/** An address at which one end may be reached. */
export interface Address {
  kind: 'host' | 'mapped' | 'relayed'
  address: string
  /** relay for kind 'relayed' */
  relay: string | null
  /** Only addresses of one tier are paired (traversal T-64). */
  tier: number
  nat: NatKind | 'unknown'
  seq: number
}

/** Who has which addresses, of one connection (traversal §6). */
export interface AddressBook {
  /** [H1] tick */
  readonly local$: Observable<readonly Address[]>
  /** [H1] tick */
  readonly remote$: Observable<readonly Address[]>
  /** Tells the peer an address of ours. @throws QB_TRAVERSAL_OFF QB_OPTION_INVALID (no address, or known already) QB_PUNCH_FORBIDDEN (private, traversal T-79) QB_PUNCH_BUDGET (16 are told) */
  announce(address: string, options?: { /** @default 0 */ tier?: number; /** @default 'full-cone' */ nat?: NatKind }): Address
  /** Its punches end. Unknown numbers change nothing. @throws QB_TRAVERSAL_OFF */
  withdraw(seq: number): void
}

/** What a strategy may look at. */
export interface PunchContext {
  role: 'client' | 'server'
  local: Address
  remote: Address
  /** Of our socket; null: not known yet. */
  report: NatReport | null
  relayRttMs: number | null
  /** Which attempt at this pair, from 1. */
  round: number
  /** From 0 to 1. */
  random(): number
}

/** Steps run in order; within budgets; the round ends at the first HELLO or DONE of the peer. */
export type PunchStep =
  /** `to`: 'peer' (the address it named last), a port of its IP as text, or an address whose IP it named. */
  | { do: 'hello'; to: string; /** 1 to 64 @default 1 */ count?: number; /** @default 0 (at once) */ everyMs?: number; /** @default 64 */ ttl?: number }
  /** PUNCH_ME_NOW, over the connection. */
  | { do: 'tell-peer' }
  | { do: 'wait'; for: 'tell' | 'hello' | 'done' | 'any'; ms: number; /** Silence ends the round. @default false */ orFail?: boolean }
  /** Goes on from a socket made for this round. `step`: the peer is told its outer address so many ports further (traversal T-96). */
  | { do: 'new-socket'; /** @default none */ step?: number }
  /** One HELLO to each of these ports of the peer's IP, at most 64. */
  | { do: 'predict'; ports: readonly number[] }
  /** Opens 800 ports for the peer, which searches (traversal T-90, T-95); needs portSearch. */
  | { do: 'collision' }
  /** 300 sockets of ours (traversal T-90 to T-93); needs portSearch. */
  | { do: 'port-search' }

/** A throw ends the round as failed. */
export type PunchStrategy = (context: PunchContext) => Iterable<PunchStep> | AsyncIterable<PunchStep>

export type TraversalEvent = { atMs: number } & (
  | { type: 'address'; change: 'added' | 'removed' | 'changed'; side: 'local' | 'remote'; address: Address }
  | { type: 'nat'; report: NatReport }
  | { type: 'relay'; relay: string; state: 'registered' | 'lost' | 'refused' }
  | { type: 'port-mapping'; /** the socket */ local: string; /** 'failed' is tried again later */ state: 'mapped' | 'failed' | 'lost'; /** at the gateway, `ip:port` */ external: string | null; /** for people */ reason: string }
  | { type: 'round'; state: 'started' | 'done' | 'failed'; /** local and remote seq, e.g. '0-2' */ punch: string; as: 'active' | 'passive'; /** Name of what is tried, e.g. 'A6' (traversal §7) */ plan: string; probes: number; reason: string }
  | { type: 'upgraded' | 'fell-back'; /** path ids */ from: number; to: number; afterMs: number }
)

export interface Puncher {
  /** Resolves with the direct path that it opened, or that was there. @throws QB_PUNCH_FAILED QB_PUNCH_BUDGET QB_PUNCH_FORBIDDEN QB_TRAVERSAL_OFF */
  punch(remote: Address, options?: Waiting & { strategy?: PunchStrategy }): Promise<Path>
  /** Rounds under way. */
  readonly running: number
  readonly probesSent: number
}

/** Ways through NATs for one connection. */
export interface Traversal {
  /** 'off': not asked for, or the peer did not offer it; calls then throw QB_TRAVERSAL_OFF */
  readonly state: 'off' | 'negotiating' | 'on'
  readonly profile: 'braid' | 'dquic' | null
  readonly addresses: AddressBook
  readonly puncher: Puncher
  /** [H256] tick */
  readonly events$: Observable<TraversalEvent>
  /** First direct path. @throws QB_TRAVERSAL_OFF QB_PUNCH_FAILED (nothing left to try), the connection's error */
  direct(options?: Waiting): Promise<Path>
}
