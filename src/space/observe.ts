/** `acks$` of each space [H0] tick: the engine records ACKs only while somebody is subscribed; completes when the connection ends. */
import { filter, map } from 'rxjs'
import { watched } from '../config/index.ts'
import type { Feed, Observable } from '../config/index.ts'
import type { NativeAcks } from '../binding/index.ts'

/** One ACK of the peer for a space. */
export interface AckRecord {
  atMs: number
  ranges: readonly (readonly [number, number])[]
  ackDelayMs: number
  /** path it arrived on */
  via: number
  newlyAcknowledged: number
  lost: readonly number[]
  rttMs: number | null
  ecn: { ect0: number; ect1: number; ce: number } | null
}

export class AckFeed {
  readonly #acks: Feed<NativeAcks>

  constructor(onWatched: (on: boolean) => void) {
    this.#acks = watched(onWatched)
  }

  /** Those of one space. */
  of(space: NativeAcks['space'], path: number): Observable<AckRecord> {
    return this.#acks.values$.pipe(
      filter((acks) => acks.space === space && acks.path === path),
      map(({ space: _space, path: _path, ...record }) => record),
    )
  }

  emit(acks: NativeAcks): void {
    this.#acks.emit(acks)
  }

  end(): void {
    this.#acks.end()
  }
}
