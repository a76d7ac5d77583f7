/** What the traversal of a connection asks of it. Types, an order that may come too late, and the error of what is off. */
import type { Engine, NativeOrder } from '../binding/index.ts'
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

/** An order from an event's handler, where nobody would catch: the engine may know of an end that is not told yet, and then it is over anyhow. @throws what else goes wrong */
export function tellIfAlive(part: NatPart, order: NativeOrder): void {
  if (part.error() !== null) return
  try {
    part.engine.tell(part.key, order)
  } catch (error) {
    const code = (error as { code?: unknown } | null)?.code
    if (code !== 'QB_CONNECTION_CLOSED' && code !== 'QB_ENDPOINT_CLOSED') throw error
  }
}

/** Who lacks it. */
export function offError(why: string): ServiceError {
  return new ServiceError('QB_TRAVERSAL_OFF', `traversal is off: ${why}; give the option \`traversal\` to connect and to the server`)
}
