/**
 * The eight kinds of NAT that hosts on the Internet mostly stand behind, in the words of RFC 4787, and the reference table: which pairs of them get a
 * direct path (traversal §7). The same kinds and the same table as in `native/qsim` (`NatKind`, `tests/traversal/main.rs`). Pure.
 */
import type { NatOptions } from '../../sim/index.ts'

export type MatrixNat = 'none' | 'full-cone' | 'addr-restricted' | 'port-restricted' | 'symmetric' | 'linux' | 'adm-apdf' | 'apdm-apdf-sequential'

/** null: no translator at all. */
const KINDS: Readonly<Record<MatrixNat, NatOptions | null>> = {
  none: null,
  'full-cone': { filtering: 'endpoint-independent' },
  'addr-restricted': { filtering: 'address' },
  'port-restricted': { filtering: 'address-port' },
  symmetric: { mapping: 'address-port', filtering: 'address-port', ports: 'random' },
  linux: { linux: true },
  'adm-apdf': { mapping: 'address', filtering: 'address-port', ports: 'random' },
  'apdm-apdf-sequential': { mapping: 'address-port', filtering: 'address-port', ports: 'sequential' },
}

/** In the order of the reference table. */
export const MATRIX_NATS: readonly MatrixNat[] = Object.keys(KINDS) as MatrixNat[]

/** Filters by address and port, but keeps one port for all peers. */
export const CONES: readonly MatrixNat[] = ['full-cone', 'addr-restricted', 'port-restricted']

/** What its translator is like; null: there is none. */
export function natOptions(kind: MatrixNat): NatOptions | null {
  return KINDS[kind]
}

/** Lets in who has been sent something by address, or anybody. */
const OPEN: ReadonlySet<MatrixNat> = new Set(['none', 'full-cone', 'addr-restricted'])
/** One port for all peers, if one's own datagram goes first. */
const KEEPING: ReadonlySet<MatrixNat> = new Set(['port-restricted', 'linux'])

/**
 * What the reference table says: 41 pairs by opening at the same time, port-restricted with linux by ordering, port-restricted with a sequential one by
 * a foretold port. A search of ports adds every NAT that maps each peer anew, with one that keeps its port.
 */
export function isReached(a: MatrixNat, b: MatrixNat, search: 'off' | 'on' = 'off'): boolean {
  if (OPEN.has(a) || OPEN.has(b)) return true
  if (KEEPING.has(a) || KEEPING.has(b)) {
    if (search === 'on' || (KEEPING.has(a) && KEEPING.has(b))) return true
    return (a === 'port-restricted' && b === 'apdm-apdf-sequential') || (b === 'port-restricted' && a === 'apdm-apdf-sequential')
  }
  return false
}
