/**
 * What an endpoint with work to do holds on to: the process, which must not end, and the engine's way back to it, which must not be
 * collected. A listening endpoint, one with connections, one that asks or serves about NATs, or one that is being closed is busy; who subscribes to `raw$` is called as long as
 * the process lives, and keeps it from nothing.
 */
import type { Engine } from '../binding/index.ts'

export class Vigil {
  readonly #engine: Engine
  #busy = false
  /** Questions to servers, and services, that somebody waits for. */
  #works = 0
  #ended = false
  #raw = false
  /** `unref()` was not called last. */
  referenced = true

  constructor(engine: Engine) {
    this.#engine = engine
  }

  keep(busy: boolean): void {
    this.#busy = busy
    this.#apply()
  }

  /** One more thing under way, until the answer is called. */
  work(): () => void {
    let over = false
    this.#works += 1
    this.#apply()
    return () => {
      if (over) return
      over = true
      this.#works -= 1
      this.#apply()
    }
  }

  /** Somebody wants datagrams that are no QUIC, or nobody any more. `open`: the engine can be told. */
  onRaw(wanted: boolean, open: boolean): void {
    this.#raw = wanted
    if (!open) return
    this.#engine.hold(this.#isBusy || wanted)
    this.#engine.tell(0, { do: 'raw', to: wanted ? 'subscriber' : 'nobody' })
  }

  end(): void {
    this.#ended = true
    this.#engine.keepAlive(false)
    this.#engine.hold(false)
  }

  get #isBusy(): boolean {
    return this.#busy || this.#works > 0
  }

  #apply(): void {
    if (this.#ended) return
    this.#engine.hold(this.#isBusy || this.#raw)
    this.#engine.keepAlive(this.referenced && this.#isBusy)
  }
}
