/** A relay: clients register with it over QUIC, peers reach them through it, and it answers STUN (traversal T-30 to T-35, T-42). Forwarding is the engine's. */
import type { Observable } from '../config/index.ts'
import { unavailableOption } from '../config/index.ts'
import type { Endpoint } from '../endpoint/index.ts'
import type { RelayOptions, RelayStatistics } from './types.ts'

export class Relay implements AsyncDisposable {
  private constructor() {}

  /** On an endpoint of its own, or on one that is given, whose server side it takes. @throws QB_OPTION_INVALID QB_OPTION_UNKNOWN QB_BIND_FAILED QB_TLS_IDENTITY */
  static async listen(_options: RelayOptions, _endpoint?: Endpoint): Promise<Relay> {
    throw unavailableOption('Relay', undefined)
  }

  /** Where clients register and peers dial: `ip:port`. */
  get address(): string {
    return ''
  }

  /** [H1] sample */
  get metrics$(): Observable<RelayStatistics> {
    throw unavailableOption('Relay', undefined)
  }

  statistics(): RelayStatistics {
    throw unavailableOption('Relay', undefined)
  }

  async close(): Promise<void> {}

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }
}
