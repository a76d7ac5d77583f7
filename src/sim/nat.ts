/** An address translator of a world: a name for a number of the engine, with two sides to attach links to. */
import type { NativeWorld } from '../binding/index.ts'
import type { Attachable } from './host.ts'
import { checkNat } from './options.ts'
import type { NatOptions } from './options.ts'

export class Nat {
  readonly name: string
  /** Any number of links; what is behind them is not seen from outside. */
  readonly inside: Attachable
  /** What leaves has an address of this side. */
  readonly outside: Attachable
  readonly #native: NativeWorld
  readonly #node: number

  /** @internal */
  constructor(native: NativeWorld, node: number, name: string) {
    this.name = name
    this.inside = { name: `${name}.inside` }
    this.outside = { name: `${name}.outside` }
    this.#native = native
    this.#node = node
  }

  /** Forgets all mappings; what is sent from now on gets other outside ports. */
  rebind(): void {
    this.#native.rebind(this.#node)
  }

  /** From now on, in place of all options that were; mappings stay. @throws QB_OPTION_INVALID QB_OPTION_UNKNOWN */
  set(options: NatOptions): void {
    this.#native.setNat(this.#node, JSON.stringify(checkNat(options)))
  }

  /** Addresses with ports, the oldest first. */
  mappings(): readonly { inside: string; outside: string }[] {
    const pairs = JSON.parse(this.#native.mappings(this.#node)) as [string, string][]
    return pairs.map(([inside, outside]) => ({ inside, outside }))
  }
}
