/**
 * Kinds of NAT that Linux itself can be, as rules of nftables: RFC 4787's mappings and filters, ways to give ports, and what people call them.
 * Pure. Used by `topology.ts`.
 */

/** On what a mapping, or leave to answer, depends (RFC 4787 sections 4.1 and 5). */
export type Dependence = 'endpoint-independent' | 'address' | 'address-port'

export interface NatTraits {
  mapping: Dependence
  filtering: Dependence
  ports: 'preserving' | 'random' | 'sequential'
  /** A bare masquerade: a flow that the peer began keeps its port from ours, so that ours is mapped anew (RFC 4787 section 8). */
  tracker: boolean
}

/** Names of the eight kinds of the reference table, of `random` (masquerade with `random`: like symmetric), and of `blocked` (no UDP). */
export type RealNatKind = 'none' | 'full-cone' | 'addr-restricted' | 'port-restricted' | 'symmetric' | 'linux' | 'adm-apdf' | 'apdm-apdf-sequential' | 'random' | 'blocked'

const traits = (mapping: Dependence, filtering: Dependence, ports: NatTraits['ports'], tracker = false): NatTraits => ({ mapping, filtering, ports, tracker })

/** What each kind is; null: no translation. */
export const REAL_NATS: Readonly<Record<RealNatKind, NatTraits | null>> = {
  none: null,
  'full-cone': traits('endpoint-independent', 'endpoint-independent', 'preserving'),
  'addr-restricted': traits('endpoint-independent', 'address', 'preserving'),
  'port-restricted': traits('endpoint-independent', 'address-port', 'preserving'),
  symmetric: traits('address-port', 'address-port', 'random'),
  linux: traits('endpoint-independent', 'address-port', 'preserving', true),
  'adm-apdf': traits('address', 'address-port', 'random'),
  'apdm-apdf-sequential': traits('address-port', 'address-port', 'sequential'),
  random: traits('address-port', 'address-port', 'random'),
  blocked: null,
}

/** The eight kinds of the reference table, in its order. */
export const REFERENCE_KINDS: readonly RealNatKind[] = ['none', 'full-cone', 'addr-restricted', 'port-restricted', 'symmetric', 'linux', 'adm-apdf', 'apdm-apdf-sequential']

export interface RuleOptions {
  kind: RealNatKind
  /** The router's outer address, and that of a host behind it which is not translated. */
  outer: string
  open: string
  /** How often everything was forgotten: ports are of another range each time. */
  turn: number
  /** Flows of another zone are not known. */
  zone: number
  /** Seconds that a mapping lives which nothing refreshes. */
  timeoutS: number
}

/** Ports to give where they are not kept: a range for each turn. */
const RANGE = 4096
const FIRST_PORT = 20_000
const RANGES = 10

/** The whole ruleset of a router between `lan` and `wan`; loading it replaces the one before at once. */
export function ruleset(options: RuleOptions): string {
  const { kind, open, zone } = options
  const natted = REAL_NATS[kind]
  const rules = natted === null ? plainRules(kind, open) : natRules(kind, natted, options)
  return `table ip nat
delete table ip nat
table ip nat {
  chain zone { type filter hook prerouting priority raw; ct zone set ${zone}; }
${rules}
}
`
}

function plainRules(kind: RealNatKind, open: string): string {
  return `  chain through { type filter hook forward priority filter; policy drop;
    ${kind === 'blocked' ? 'meta l4proto udp drop' : `ip saddr ${open} accept; ip daddr ${open} accept`}
  }`
}

function natRules(kind: RealNatKind, natted: NatTraits, { outer, open, turn, timeoutS }: RuleOptions): string {
  const kept = `flags dynamic,timeout; timeout ${timeoutS}s; size 65535;`
  // A packet that begins a flow in vain must leave no trace, else the next one out is mapped to another port.
  const silence = natted.tracker ? '' : '  chain own { type filter hook input priority filter; iifname "wan" ct state new drop; }'
  return `  map inner { type inet_service : ipv4_addr . inet_service; ${kept} }
  map given { type ipv4_addr . inet_service . ipv4_addr : inet_service; ${kept} }
  set asked { type inet_service . ipv4_addr; ${kept} }
  chain leave { type nat hook postrouting priority srcnat;
    ${mappingRules(kind, natted, outer, turn).map((rule) => `oifname "wan" meta l4proto udp ${rule}`).join('\n    ')}
    oifname "wan" masquerade
  }
  chain learn { type filter hook postrouting priority 110;
    oifname "wan" meta l4proto udp update @inner { udp sport : ct original ip saddr . ct original proto-src }
    oifname "wan" meta l4proto udp update @given { ct original ip saddr . ct original proto-src . ip daddr : udp sport }
    oifname "wan" meta l4proto udp update @asked { udp sport . ip daddr }
  }
  chain enter { type nat hook prerouting priority dstnat;
    ${filterRule(natted, outer)}
  }
  chain through { type filter hook forward priority filter;
    ip saddr ${open} drop
    ip daddr ${open} drop
    iifname "wan" ct status dnat accept
    iifname "wan" ct state new drop
  }
${silence}`
}

/** Evaluated once a flow, the first that applies. The kernel gives the flows of one source one port; `random` and chosen ports do without that. */
function mappingRules(kind: RealNatKind, { mapping, ports }: NatTraits, outer: string, turn: number): string[] {
  const first = FIRST_PORT + RANGE * (turn % RANGES)
  if (mapping === 'endpoint-independent') return [turn === 0 ? 'masquerade' : `masquerade to :${first}-${first + RANGE - 1}`]
  if (ports === 'sequential') return [`snat ip to ${outer} : numgen inc mod ${RANGE} map { ${Array.from({ length: RANGE }, (_, index) => `${index} : ${first + index}`).join(', ')} }`]
  const fresh = `masquerade ${kind === 'random' ? 'random' : 'fully-random'}`
  return mapping === 'address' ? [`snat ip to ${outer} : ip saddr . udp sport . ip daddr map @given`, fresh] : [fresh]
}

/** Who may begin: with leave to answer by address and port, the connection tracker says it all. */
function filterRule({ filtering }: NatTraits, outer: string): string {
  if (filtering === 'address-port') return ''
  const leave = filtering === 'address' ? 'udp dport . ip saddr @asked ' : ''
  return `iifname "wan" ip daddr ${outer} meta l4proto udp ${leave}dnat ip to udp dport map @inner`
}
