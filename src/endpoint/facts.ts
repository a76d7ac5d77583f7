/** What endpoints tell. Types only. */
import type { ENDPOINT_NUMBERS } from '../binding/index.ts'

export type EndpointEvent = { atMs: number } & (
  | { type: 'bound' | 'unbound'; local: string; reason: string }
  | { type: 'buffer-clamped'; local: string; wantedBytes: number; gotBytes: number }
  | { type: 'refused' | 'retried'; remote: string; reason: string }
)

/** A datagram that is no QUIC. */
export interface RawDatagram {
  bytes: Uint8Array
  remote: string
  /** Where it arrived. */
  local: string
  /** When it was read. */
  atMs: number
}

export interface EndpointStatistics extends Record<(typeof ENDPOINT_NUMBERS)[number], number> {
  /** Drops by reason, e.g. `shortInitial`, `unknownConnection`, `blocked`. */
  drops: Readonly<Record<string, number>>
  /** Calls across N-API. */
  crossings: number
}
