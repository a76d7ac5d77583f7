/** What paths ask of their connection. */
import type { Engine } from '../binding/index.ts'
import type { Explanation } from '../connection/index.ts'

export interface PathOwner {
  readonly engine: Engine
  readonly key: number
  readonly role: 'client' | 'server'
  readonly features: ReadonlySet<string>
  readonly metricsIntervalMs: number
  /** The peer's address, for specs that name none. */
  remote(): string
  /** Paths that `ready()` waits for. */
  readonly wantedPaths: number
  /** What calls throw once the connection has ended. */
  error(): Error | null
  explain(about: 'paths'): Explanation
}
