/** Options and numbers of relays (api 2.8). Types only. */
import type { PeerIdentity, TlsOptions } from '../config/index.ts'
import type { StunDialect } from '../nat/index.ts'

/** Who wants to register. */
export interface RelayClient {
  /** As the relay sees it. */
  address: string
  token: Uint8Array | null
  /** The certificate that it showed; null: none. */
  peer: PeerIdentity | null
}

export interface RelayOptions {
  /** Not with an endpoint of your own. @default '0.0.0.0:4434' */
  listen?: string
  /** Identity. With `ca`, `pins` or a `verify` function clients are asked for certificates, which must then be good; `authorize` sees who showed one. */
  tls: TlsOptions
  /** Who may register; a throw or a rejection refuses, as does no answer within 5 s. Required: a relay is never open. */
  authorize: (client: RelayClient) => void | Promise<void>
  /** Second address for RFC 5780 answers, other IP and port; bound if the relay makes its own endpoint. @default none */
  alternate?: string
  /** @default 100e6 */
  rateBitsPerSecPerClient?: number
  /** How long a registration is good without a renewal, at most 600000. @default 60000 */
  registrationMs?: number
  /** @default false */
  allowPrivateTargets?: boolean
}

export interface RelayStatistics {
  /** Clients that are registered. */
  registrations: number
  forwardedDatagrams: number
  forwardedBytes: number
  drops: Readonly<Record<'unregistered' | 'private' | 'rate' | 'too-large' | 'loop', number>>
}

/** A registration that stands. */
export interface Registration {
  /** `RELAY-OUTER`: what peers dial. Follows a mapping that changes. */
  readonly address: string
  /** Ends it. */
  stop(): Promise<void>
}

export interface StunServerOptions {
  /** Not with an endpoint of your own. @default '0.0.0.0:3478' */
  listen?: string
  /** Another IP of ours with another port, for RFC 5780: then it answers at both IPs with both ports. @default none */
  alternate?: string
  /** Other servers that answer from theirs in our place, at most 8 (traversal T-43, T-44). @default [] */
  neighbours?: readonly string[]
  /** @default all */
  dialects?: readonly StunDialect[]
}

export interface StunStatistics {
  requests: number
  answered: number
  /** No answer: too many of one network, more bytes than came, no such address of ours. */
  ignored: number
}
