/**
 * Keeps the engine's copy of a `net.BlockList` up to date: Node tells nobody of a new rule, so the rules are read again every second and
 * whenever the server side starts. An endpoint without a list pays nothing.
 */
import type { BlockList } from 'node:net'
import type { Engine } from '../binding/index.ts'
import { blockRules, isBlocked } from '../config/index.ts'
import type { Clock, Logger } from '../config/index.ts'

/** A rule that is added holds from so much later on, at the latest. */
const INTERVAL_MS = 1000

export class Blocking {
  readonly #list: BlockList
  readonly #engine: Engine
  readonly #clock: Clock
  readonly #logger: Logger
  #timer: unknown = null
  #rules: string

  constructor(list: BlockList, engine: Engine, clock: Clock, logger: Logger) {
    this.#list = list
    this.#engine = engine
    this.#clock = clock
    this.#logger = logger
    this.#rules = list.rules.join()
    this.#timer = lookAgain(new WeakRef(this), clock)
  }

  /** Nobody is heard from there. */
  has(host: string): boolean {
    return isBlocked(this.#list, host)
  }

  /** Tells the engine of rules that have come or gone. */
  refresh(): void {
    const rules = this.#list.rules.join()
    if (rules === this.#rules) return
    this.#rules = rules
    try {
      this.#engine.tell(0, { do: 'block', rules: blockRules(this.#list) })
    } catch (error) {
      this.#logger.warn?.('the block list could not be read again; what was blocked before still is', { error })
    }
  }

  /** The timer's turn. */
  again(): void {
    if (this.#timer === null) return
    this.refresh()
    this.#timer = lookAgain(new WeakRef(this), this.#clock)
  }

  end(): void {
    this.#clock.clearTimeout(this.#timer)
    this.#timer = null
  }
}

/** The timer holds nobody: an endpoint that nobody has any more can be collected. */
function lookAgain(blocking: WeakRef<Blocking>, clock: Clock): unknown {
  return clock.setTimeout(() => blocking.deref()?.again(), INTERVAL_MS)
}
