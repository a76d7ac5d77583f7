/** The ports that the gateway holds open for the sockets of one connection: what `PortMappings` of the endpoint tells, as addresses to announce. IPv4 only; loopback has no gateway. */
import type { Cancel } from '../config/index.ts'
import { familyOf } from '../config/index.ts'
import type { Candidate } from './address-book.ts'
import type { PortMappings, PortState } from './port-mappings.ts'

interface Watched {
  internal: string
  state: PortState | null
  stop: Cancel
}

export class PortWatch {
  readonly #mappings: PortMappings
  readonly #onState: (local: string, state: PortState) => void
  /** By bound address. */
  readonly #watched = new Map<string, Watched>()

  constructor(mappings: PortMappings, onState: (local: string, state: PortState) => void) {
    this.#mappings = mappings
    this.#onState = onState
  }

  /** The gateway has answered, or was silent. */
  get isSettled(): boolean {
    return [...this.#watched.values()].every(({ state }) => state !== null)
  }

  /** A bound socket, and where it hears. */
  watch(local: string, hosts: readonly string[]): void {
    const fitting = hosts.filter((host) => familyOf(host) === 4 && !host.startsWith('127.'))
    const internal = fitting.join(' ')
    if ((this.#watched.get(local)?.internal ?? '') === internal) return
    this.leave(local)
    if (fitting.length === 0) return
    const watched: Watched = { internal, state: null, stop: () => {} }
    this.#watched.set(local, watched)
    watched.stop = this.#mappings.watch(fitting, (state) => {
      watched.state = state
      this.#onState(local, state)
    })
  }

  leave(local: string): void {
    this.#watched.get(local)?.stop()
    this.#watched.delete(local)
  }

  /** Open to everybody, so they come before what servers see (traversal T-75). */
  candidates(): Candidate[] {
    return [...this.#watched].flatMap(([local, { state }]): Candidate[] => (state === null || state.external === null ? [] : [{ local, address: state.external, kind: 'mapped', relay: null, tier: 0, nat: 'full-cone', portStep: null }]))
  }

  end(): void {
    for (const local of Array.from(this.#watched.keys())) this.leave(local)
  }
}
