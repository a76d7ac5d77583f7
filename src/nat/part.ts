/** What the traversal of a connection asks of it. Types only, but for the error of what is off. */
import type { Engine } from '../binding/index.ts'
import type { Logger, Sampling, TlsOptions } from '../config/index.ts'
import { ServiceError } from '../errors/index.ts'
import type { Surroundings } from '../path/index.ts'
import type { NatAgent } from './agent.ts'
import type { TraversalOptions } from './types.ts'

export interface NatPart {
  readonly engine: Engine
  readonly key: number
  readonly role: 'client' | 'server'
  readonly sampling: Sampling
  readonly logger: Logger
  readonly surroundings: Surroundings
  /** Of the endpoint. */
  readonly agent: NatAgent
  /** null: off. */
  readonly traversal: TraversalOptions | null
  readonly relayTls: TlsOptions | null
  /** Of the path last used. */
  local(): string
  /** What calls throw once the connection has ended. */
  error(): Error | null
  /** A function of the user's failed. */
  callbackFailed(callback: string, error: unknown): void
}

/** Who lacks it. */
export function offError(why: string): ServiceError {
  return new ServiceError('QB_TRAVERSAL_OFF', `traversal is off: ${why}; give the option \`traversal\` to connect and to the server`)
}
