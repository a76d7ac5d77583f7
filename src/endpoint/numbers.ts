/** The endpoint's numbers as an object, and what is left of them when it has closed. */
import { ENDPOINT_NUMBERS, Scope } from '../binding/index.ts'
import type { Engine } from '../binding/index.ts'
import type { EndpointStatistics } from './facts.ts'

export class EndpointNumbers {
  readonly #engine: Engine
  #last: EndpointStatistics | null = null
  #threadEnded = false

  constructor(engine: Engine) {
    this.#engine = engine
  }

  /** Of a closed endpoint: the last ones. */
  statistics(): EndpointStatistics {
    return this.#last ?? this.#read()
  }

  /** Before the engine closes. */
  keep(): void {
    this.#last ??= this.#read()
  }

  /** The I/O thread can be asked no more. */
  onThreadEnded(): void {
    this.#threadEnded = true
  }

  #read(): EndpointStatistics {
    const numbers = this.#engine.numbers(Scope.ENDPOINT, 0, 0)
    const row = Object.fromEntries(ENDPOINT_NUMBERS.map((name, index) => [name, numbers?.[index] ?? 0])) as Record<(typeof ENDPOINT_NUMBERS)[number], number>
    const drops = this.#threadEnded ? {} : (this.#engine.ask(0, { ask: 'drops' }) as Record<string, number>)
    return { ...row, drops, crossings: this.#engine.crossings }
  }
}
