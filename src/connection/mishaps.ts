/** What goes wrong beside a connection: streams that nobody held any more, functions of the user's that failed. Each is warned of and told. */
import type { Logger } from '../config/index.ts'
import type { ConnectionEvent } from './facts.ts'
import type { DistributiveOmit } from './origin.ts'

export class Mishaps {
  readonly #id: string
  readonly #logger: Logger
  readonly #emit: (event: DistributiveOmit<ConnectionEvent, 'atMs'>) => void

  constructor(id: string, logger: Logger, emit: (event: DistributiveOmit<ConnectionEvent, 'atMs'>) => void) {
    this.#id = id
    this.#logger = logger
    this.#emit = emit
  }

  onDropped(id: bigint, code: bigint): void {
    this.#logger.warn?.(`stream ${id} was dropped before it had ended: it was reset and stopped; end, read or destroy() it`, { connection: this.#id, stream: id, code })
    this.#emit({ type: 'stream-dropped', id, code })
  }

  callbackFailed(callback: string, error: unknown): void {
    this.#logger.warn?.(`${callback} failed; the default was used`, { connection: this.#id, error })
    this.#emit({ type: 'callback-failed', callback, error })
  }
}
