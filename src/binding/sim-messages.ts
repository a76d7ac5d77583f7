/** What crosses about a simulated world: nodes, links, translators, what became of datagrams. Part of the N-API contract. */

export interface NativeWorldOptions {
  /** Whole, 0 … 2^53. */
  seed: number
  /** Keep datagrams and keys for exports. */
  record: boolean
}

/** What is absent is perfect. */
export interface NativeLinkShape {
  delayMs?: number
  jitterMs?: number
  rateBitsPerSec?: number
  rateTrace?: readonly { atMs: number; bitsPerSec: number }[]
  queue?: { kind: 'taildrop'; bytes: number } | { kind: 'codel'; targetMs?: number; intervalMs?: number; bytes?: number }
  loss?: number | { kind: 'gilbert-elliott'; goodToBad: number; badToGood: number; lossGood?: number; lossBad?: number } | { kind: 'list'; drop: readonly number[] }
  duplicate?: number
  corrupt?: number
  reorder?: { probability: number; byMs: number }
  mtuBytes?: number
  ecnMark?: boolean
}

/** What is absent is the default of docs/spec/api.md §2.7. */
export interface NativeNat {
  mapping?: 'endpoint-independent' | 'address' | 'address-port'
  filtering?: 'endpoint-independent' | 'address' | 'address-port'
  ports?: 'preserving' | 'sequential' | 'random' | 'parity'
  hairpin?: boolean
  timeoutMs?: number
  linux?: boolean
  blocked?: boolean
}

export interface NativeLink {
  a: number
  b: number
  /** The end is the inside of a translator. */
  insideA?: boolean
  insideB?: boolean
  shape: NativeLinkShape
  addressA?: string
  addressB?: string
}

/** Datagrams by what became of them, both ways together. */
export interface NativeLinkFacts {
  up: boolean
  delivered: number
  loss: number
  queue: number
  cut: number
  mtu: number
  /** Delivered ones. */
  bytes: number
}

export interface NativeSimEvent {
  atMs: number
  link: number
  from: string
  to: string
  bytes: number
  fate: 'delivered' | 'loss' | 'queue' | 'cut' | 'mtu' | 'nat'
  deliverAtMs: number | null
}

/** One attachment of a node; `name`: `eth0`, `eth1`, ... in the order of its links. */
export interface NativeInterface {
  name: string
  address: string
  up: boolean
}

/** PEM. */
export interface NativeIdentity {
  cert: string
  key: string
}
