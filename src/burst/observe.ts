/** `trace$` [H0] tick: the engine records bursts only while somebody is subscribed; completes when the connection ends. */
import { watched } from '../config/index.ts'
import type { Feed, Observable } from '../config/index.ts'
import type { BlockedRecord, BurstRecord } from '../binding/index.ts'

export class BurstFeed {
  readonly #trace: Feed<BurstRecord | BlockedRecord>

  constructor(onWatched: (on: boolean) => void) {
    this.#trace = watched(onWatched)
  }

  get trace$(): Observable<BurstRecord | BlockedRecord> {
    return this.#trace.values$
  }

  emit(record: BurstRecord | BlockedRecord): void {
    this.#trace.emit(record)
  }

  end(): void {
    this.#trace.end()
  }
}
