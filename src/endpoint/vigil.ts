/**
 * What an endpoint with work to do holds on to: the process, which must not end, and the engine's way back to it, which must not be
 * collected. A listening endpoint, one with connections, or one that is being closed is busy; who subscribes to `raw$` is called as long as
 * the process lives, and keeps it from nothing.
 */
import type { Engine } from '../binding/index.ts'

export class Vigil {
  readonly #engine: Engine
  #busy = false
  #raw = false
  /** `unref()` was not called last. */
  referenced = true

  constructor(engine: Engine) {
    this.#engine = engine
  }

  keep(busy: boolean): void {
    this.#busy = busy
    this.#engine.hold(busy || this.#raw)
    this.#engine.keepAlive(this.referenced && busy)
  }

  /** Somebody wants datagrams that are no QUIC, or nobody any more. `open`: the engine can be told. */
  onRaw(wanted: boolean, open: boolean): void {
    this.#raw = wanted
    if (!open) return
    this.#engine.hold(this.#busy || wanted)
    this.#engine.tell(0, { do: 'raw', to: wanted ? 'subscriber' : 'nobody' })
  }

  end(): void {
    this.#engine.keepAlive(false)
    this.#engine.hold(false)
  }
}
