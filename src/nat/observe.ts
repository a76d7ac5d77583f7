/** The observables of ways through NATs: `local$`, `remote$` [H1] tick, `events$` [H256] tick; all complete when the connection ends. */
import { hot } from '../config/index.ts'
import type { Feed, Observable } from '../config/index.ts'
import type { Address, TraversalEvent } from './types.ts'

export class NatFeeds {
  readonly #local: Feed<readonly Address[]> = hot(1)
  readonly #remote: Feed<readonly Address[]> = hot(1)
  readonly #events: Feed<TraversalEvent> = hot(256)

  constructor() {
    this.#local.emit([])
    this.#remote.emit([])
  }

  get local$(): Observable<readonly Address[]> {
    return this.#local.values$
  }

  get remote$(): Observable<readonly Address[]> {
    return this.#remote.values$
  }

  get events$(): Observable<TraversalEvent> {
    return this.#events.values$
  }

  addresses(side: 'local' | 'remote', addresses: readonly Address[]): void {
    const feed = side === 'local' ? this.#local : this.#remote
    feed.emit(addresses)
  }

  emit(event: TraversalEvent): void {
    this.#events.emit(event)
  }

  end(): void {
    this.#local.end()
    this.#remote.end()
    this.#events.end()
  }
}
