/**
 * Handles that nobody can reach any more (mux R40, R43): the garbage collector tells their connection, and what has not ended of the
 * stream is reset and stopped, so that the peer gets its credit back. A handle is reachable from all its faces (`tie`) and from whoever waits for
 * something of it; the parts themselves hold a face only while it waits for something (`Loose`). In a simulated world
 * nothing is watched: what happens there follows from the seed, never from the collector.
 */

/** From a face to the handle it was made by. */
const OWNER = Symbol('quicbraid.stream')

/** Whoever holds `face` holds `handle`. */
export function tie<T extends object>(face: T, handle: object): T {
  return Object.defineProperty(face, OWNER, { value: handle })
}

/** A face as its part holds it: strongly while something is under way, else weakly, so that a dropped one can be noticed. */
export class Loose<T extends object> {
  readonly #weak: WeakRef<T> | null
  #strong: T | null

  constructor(face: T, watched: boolean) {
    this.#weak = watched ? new WeakRef(face) : null
    this.#strong = watched ? null : face
  }

  /** Undefined: it was collected, nobody misses it. */
  get face(): T | undefined {
    return this.#strong ?? this.#weak?.deref()
  }

  /** Something waits for an answer. */
  hold(): void {
    if (this.#strong === null) this.#strong = this.#weak?.deref() ?? null
  }

  /** Nothing does. */
  release(): void {
    if (this.#weak !== null) this.#strong = null
  }
}
