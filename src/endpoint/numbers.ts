/** The endpoint's numbers as an object, and what is left of them when it has closed. */
import { DROP_REASONS, ENDPOINT_NUMBERS, Scope } from '../binding/index.ts'
import type { Engine } from '../binding/index.ts'
import type { Connection } from '../connection/index.ts'
import type { Endpoint } from './endpoint.ts'
import type { EndpointStatistics } from './facts.ts'
import { Prometheus } from './prometheus/index.ts'

export class EndpointNumbers {
  readonly #engine: Engine
  readonly #prometheus = new Prometheus()
  #last: EndpointStatistics | null = null

  constructor(engine: Engine) {
    this.#engine = engine
  }

  /** Of a closed endpoint: the last ones. */
  statistics(): EndpointStatistics {
    return this.#last ?? this.#read()
  }

  /** Of `endpoint`, as Prometheus text. */
  text(endpoint: Endpoint): string {
    return this.#prometheus.text(endpoint)
  }

  add(connection: Connection): void {
    this.#prometheus.add(connection)
  }

  /** It has ended: its numbers are the last ones. */
  remove(connection: Connection): void {
    this.#prometheus.remove(connection)
  }

  /** Before the engine closes. */
  keep(): void {
    this.#last ??= this.#read()
  }

  #read(): EndpointStatistics {
    const numbers = this.#engine.numbers(Scope.ENDPOINT, 0, 0)
    const dropped = this.#engine.numbers(Scope.DROPS, 0, 0)
    const row = Object.fromEntries(ENDPOINT_NUMBERS.map((name, index) => [name, numbers?.[index] ?? 0])) as Record<(typeof ENDPOINT_NUMBERS)[number], number>
    const drops = Object.fromEntries(DROP_REASONS.flatMap((name, index) => ((dropped?.[index] ?? 0) > 0 ? [[name, dropped?.[index] ?? 0]] : [])))
    return { ...row, drops, crossings: this.#engine.crossings }
  }
}
