/** What one endpoint keeps for later connections: a keeper for each store that options named, and a store of its own for the others. */
import type { Logger, SessionStore, Timing } from '../config/index.ts'
import { SessionKeeper } from './keeper.ts'
import type { TakenSession } from './keeper.ts'
import { memoryStore } from './memory.ts'

export class SessionKeepers {
  readonly #keepers = new WeakMap<SessionStore, SessionKeeper>()
  readonly #own = memoryStore()
  readonly #realm: Uint8Array
  readonly #logger: Logger
  readonly #timing: Timing

  /** `realm` tells the tickets of this endpoint from those of others. */
  constructor(realm: Uint8Array, logger: Logger, timing: Timing) {
    this.#realm = realm
    this.#logger = logger
    this.#timing = timing
  }

  /** What a new connection to `name` may use, and where what it is given goes. */
  async take(store: SessionStore | undefined, name: string): Promise<{ session: TakenSession; place: { putToken(bytes: Uint8Array): Promise<void>; putTickets(count: number): Promise<void> } }> {
    const keeper = this.#of(store)
    const session = await keeper.take(name)
    return { session, place: { putToken: (bytes) => keeper.putToken(name, bytes), putTickets: (count) => keeper.putTickets(name, count) } }
  }

  #of(store: SessionStore = this.#own): SessionKeeper {
    const known = this.#keepers.get(store)
    if (known !== undefined) return known
    const keeper = new SessionKeeper(store, this.#realm, this.#logger, this.#timing)
    this.#keepers.set(store, keeper)
    return keeper
  }
}
