/** A host of a world: addresses, and endpoints that run the real transport on them. */
import type { NativeModule } from '../binding/index.ts'
import type { EndpointOptions } from '../config/index.ts'
import { bindWith } from '../endpoint/index.ts'
import type { Endpoint, Habitat } from '../endpoint/index.ts'

/** What links attach to. */
export interface Attachable {
  readonly name: string
}

/** What a host asks of its world. */
export interface HostOwner {
  addresses(node: number): readonly string[]
  /** The native module as it is on this host. */
  moduleOf(node: number): NativeModule
  habitatOf(node: number): Partial<Habitat>
  /** Keeps the endpoint alive as long as the world. */
  onBound(endpoint: Endpoint): void
  crash(node: number, words: string): void
}

export class Host implements Attachable {
  readonly name: string
  readonly #owner: HostOwner
  readonly #node: number

  /** @internal */
  constructor(owner: HostOwner, node: number, name: string) {
    this.name = name
    this.#owner = owner
    this.#node = node
  }

  /** In the order of its links. */
  get addresses(): readonly string[] {
    return this.#owner.addresses(this.#node)
  }

  /** The real core on this host; `local` defaults to all its addresses, port 4433 (or the next free one). @throws as `Endpoint.bind` */
  async bind(options: EndpointOptions = {}): Promise<Endpoint> {
    const endpoint = bindWith(this.#owner.moduleOf(this.#node), options, this.#owner.habitatOf(this.#node))
    this.#owner.onBound(endpoint)
    return endpoint
  }

  /** Kills its endpoints without a word: the others hear nothing any more. */
  crash(): void {
    this.#owner.crash(this.#node, `the host ${this.name} has crashed`)
  }
}
