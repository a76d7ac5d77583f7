/** The observables of messages. `maxDatagramSize$` [H1] tick · `status$` [H0] tick, its records cross only while somebody watches. */
import { Trace } from '../binding/index.ts'
import { hot, watched } from '../config/index.ts'
import type { Feed } from '../config/index.ts'

export interface DatagramStatus {
  id: number
  /** Acknowledged by the peer's transport · its packet is believed lost · it never left. */
  status: 'acknowledged' | 'lost' | 'abandoned'
  /** Path that carried it; null: it never left. */
  path: number | null
}

export class DatagramFeeds {
  readonly size: Feed<number> = hot(1)
  readonly status: Feed<DatagramStatus>

  constructor(trace: (bit: number, on: boolean) => void) {
    this.status = watched((on) => trace(Trace.DATAGRAMS, on))
    this.size.emit(0)
  }

  end(): void {
    this.size.end()
    this.status.end()
  }
}
