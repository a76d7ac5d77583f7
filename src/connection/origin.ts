/** Where a connection comes from, and what it asks of its endpoint. Types only. */
import type { Engine } from '../binding/index.ts'
import type { KeptOptions, Logger, Sampling } from '../config/index.ts'
import type { Bursts } from '../burst/index.ts'
import type { DatagramOwner } from '../datagram/index.ts'
import type { Endpoint } from '../endpoint/index.ts'
import type { NatAgent, NatPart } from '../nat/index.ts'
import type { PathSet, Surroundings } from '../path/index.ts'
import type { Spaces } from '../space/index.ts'
import type { Connection } from './connection.ts'

/** What a connection asks of its endpoint. */
export interface ConnectionOwner {
  readonly endpoint: Endpoint
  readonly engine: Engine
  readonly features: ReadonlySet<string>
  readonly sampling: Sampling
  readonly logger: Logger
  readonly surroundings: Surroundings
  readonly agent: NatAgent
  onOpened(connection: Connection): void
  onClosed(connection: Connection): void
}

/** Where it comes from. */
export interface ConnectionOrigin {
  key: number
  id: string
  role: 'client' | 'server'
  remote: string
  /** Clients: all addresses of the server. */
  remotes: readonly string[]
  local: string
  serverName: string | null
  kept: KeptOptions
  /** Clients: where what the server gives is put. */
  sessions: SessionPlace | null
}

/** What the parts of a connection ask of it, taken together. */
export type PartOwner = NatPart & DatagramOwner & ConstructorParameters<typeof PathSet>[0] & ConstructorParameters<typeof Bursts>[0] & ConstructorParameters<typeof Spaces>[0]

export type DistributiveOmit<T, K extends PropertyKey> = T extends unknown ? Omit<T, K> : never

/** What a server gives for later connections to it; each resolves when it is stored. */
export interface SessionPlace {
  putToken(bytes: Uint8Array): Promise<void>
  putTickets(count: number): Promise<void>
}
