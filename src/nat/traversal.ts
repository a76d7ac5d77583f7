/**
 * Ways through NATs of one connection as people hold it: what is negotiated, who has which addresses, holes that are punched, and what
 * became of it. The engine punches (traversal §7); which addresses are announced is decided by `announcer.ts`.
 */
import type { NativeEvent } from '../binding/index.ts'
import type { Observable, Waiting } from '../config/index.ts'
import type { Path, PathSet } from '../path/index.ts'
import { NatFeeds } from './observe.ts'
import { offError } from './part.ts'
import type { NatPart } from './part.ts'
import type { Address, AddressBook, Puncher, Traversal, TraversalEvent } from './types.ts'

export class ConnectionTraversal implements Traversal {
  readonly #part: NatPart
  readonly #paths: PathSet
  readonly #feeds = new NatFeeds()
  readonly addresses: AddressBook
  readonly puncher: Puncher
  #state: 'off' | 'negotiating' | 'on'
  #profile: 'braid' | 'dquic' | null = null
  #why = 'it was not asked for'

  constructor(part: NatPart, paths: PathSet) {
    this.#paths = paths
    this.#part = part
    this.#state = part.traversal === null ? 'off' : 'negotiating'
    const feeds = this.#feeds
    this.addresses = { get local$() { return feeds.local$ }, get remote$() { return feeds.remote$ }, announce: (): Address => this.#off(), withdraw: () => this.#off() }
    this.puncher = { punch: async (): Promise<Path> => this.#off(), running: 0, probesSent: 0 }
  }

  get state(): 'off' | 'negotiating' | 'on' {
    return this.#state
  }

  get profile(): 'braid' | 'dquic' | null {
    return this.#profile
  }

  get events$(): Observable<TraversalEvent> {
    return this.#feeds.events$
  }

  async direct(_options: Waiting = {}): Promise<Path> {
    return this.#off()
  }

  onEvent(event: NativeEvent): void {
    if (event.type !== 'traversal') return
    this.#state = event.state
    this.#profile = event.profile
    if (event.state === 'off') this.#why = event.reason
  }

  /** The set of paths, or one of them, has changed. */
  onPath(): void {
    void this.#paths
  }

  end(): void {
    this.#feeds.end()
  }

  #off(): never {
    throw this.#part.error() ?? offError(this.#why)
  }
}

export function createTraversal(part: NatPart, paths: PathSet): ConnectionTraversal {
  return new ConnectionTraversal(part, paths)
}
