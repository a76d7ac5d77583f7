/**
 * Where accepted connections go: to the service that claims their protocol (a tunnel's manager), else to `incoming()`, as far as its backlog
 * goes. Also what a service of this package takes of an endpoint beside the public API: its time, randomness, logger.
 */
import type { Engine } from '../binding/index.ts'
import { Supply, unavailableOption } from '../config/index.ts'
import type { Logger, Sampling } from '../config/index.ts'
import { Connection } from '../connection/index.ts'
import type { Habitat } from './habitat.ts'

export class Newcomers extends Supply<Connection> {
  readonly #claims = new Map<string, (connection: Connection) => void>()

  /** Connections with this protocol go to `take` until the answer is called; null: they are somebody's already. */
  claim(alpn: string, take: (connection: Connection) => void): (() => void) | null {
    if (this.#claims.has(alpn)) return null
    this.#claims.set(alpn, take)
    return () => void this.#claims.delete(alpn)
  }

  /** `taken`: the user has it in hand already. */
  onUsable(connection: Connection, taken: boolean, backlog: number): void {
    const claim = this.#claims.get(connection.alpn ?? '')
    if (claim !== undefined) claim(connection)
    else if (taken) return
    else if (this.size >= backlog) Connection.refuse(connection)
    else this.push(connection)
  }

  /** Nobody comes any more; what waited is not handed out. */
  close(): void {
    this.drop()
    this.end()
  }
}

/** What services of this package take of an endpoint. */
export interface EndpointService {
  readonly habitat: Habitat
  readonly sampling: Sampling
  readonly logger: Logger
  readonly newcomers: Newcomers
  /** @throws QB_ENDPOINT_CLOSED */
  checkOpen(): void
  /** Connections that begin from now on with this protocol have parts to play (mux R50): the client asks until `Connection.reverse`, and a client's gate is shut until `Connection.openGate`. `wrongWay`: the code for streams of the wrong way. Ends when every answer for the protocol was called. @throws QB_OPTION_UNAVAILABLE */
  polarise(alpn: string, wrongWay: number): () => void
}

/** `EndpointService.polarise` of an endpoint; `isShut`: its engine can be told nothing any more. */
export function polariser(engine: Engine, features: ReadonlySet<string>, isShut: () => boolean): EndpointService['polarise'] {
  const users = new Map<string, number>()
  return (alpn, wrongWay) => {
    if (!features.has('reverse')) throw unavailableOption('reverse', undefined)
    const before = users.get(alpn) ?? 0
    users.set(alpn, before + 1)
    if (before === 0) engine.tell(0, { do: 'polarity', alpn, wrongWay })
    let over = false
    return () => {
      if (over) return
      over = true
      const left = (users.get(alpn) ?? 1) - 1
      users.set(alpn, left)
      if (left === 0 && !isShut()) engine.tell(0, { do: 'polarity', alpn, wrongWay: null })
    }
  }
}

const SERVICES = new WeakMap<object, EndpointService>()

export function offerService(endpoint: object, service: EndpointService): void {
  SERVICES.set(endpoint, service)
}

/** Undefined for what is no endpoint of this copy of the package. */
export function serviceOf(endpoint: unknown): EndpointService | undefined {
  return typeof endpoint === 'object' && endpoint !== null ? SERVICES.get(endpoint) : undefined
}
