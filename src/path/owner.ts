/** What paths ask of their connection. */
import type { Engine } from '../binding/index.ts'
import type { Clock, Logger, Sampling } from '../config/index.ts'
import type { Explanation } from '../connection/index.ts'
import type { InterfaceWatch } from './interfaces.ts'
import type { PathPolicy, PathPolicyName } from './policy/index.ts'
import type { Scheduler } from './scheduler/index.ts'

/** The world of an endpoint, as path policies see it. */
export interface Surroundings {
  readonly clock: Clock
  readonly interfaces: InterfaceWatch
}

export interface PathOwner {
  /** Whose paths they are, for those who watch from outside. */
  readonly connection: object
  readonly engine: Engine
  readonly key: number
  readonly role: 'client' | 'server'
  readonly features: ReadonlySet<string>
  readonly sampling: Sampling
  /** The peer's address, for specs that name none. */
  remote(): string
  /** Addresses of the server that `connect` was given or found. */
  readonly remotes: readonly string[]
  /** Paths that `ready()` waits for. */
  readonly wantedPaths: number
  readonly policy: PathPolicyName | PathPolicy
  /** The user's own. */
  readonly scheduler: Scheduler | null
  /** A policy opens no more. */
  readonly maxPaths: number
  readonly surroundings: Surroundings
  readonly logger: Logger
  /** When paths may move. */
  confirmed(): Promise<void>
  /** What calls throw once the connection has ended. */
  error(): Error | null
  explain(about: 'paths'): Explanation
  /** A function of the user's failed. */
  callbackFailed(callback: string, error: unknown): void
}
