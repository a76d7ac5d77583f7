/** A link of a world and its two ends. Both are names for numbers of the engine; nothing is kept here. */
import type { NativeLinkFacts, NativeWorld } from '../binding/index.ts'
import { guarded } from '../binding/index.ts'
import { checkAddress, checkDirection, checkShape } from './options.ts'
import type { Direction, LinkShape } from './options.ts'

/** One end of a link: an interface with an address. */
export class Port {
  /** Name of the host or router it belongs to. */
  readonly node: string
  readonly #native: NativeWorld
  readonly #link: number
  readonly #end: number

  /** @internal */
  constructor(native: NativeWorld, node: string, link: number, end: number) {
    this.node = node
    this.#native = native
    this.#link = link
    this.#end = end
  }

  get address(): string {
    return this.#native.address(this.#link, this.#end)
  }

  /** Interface down or up: socket errors as in a real host; routes follow. */
  setUp(up: boolean): void {
    this.#native.setPort(this.#link, this.#end, up)
  }

  /** New address, the next free one beside the old unless given; the old one is gone. @throws QB_OPTION_INVALID */
  renumber(address?: string): string {
    const wanted = address === undefined ? null : checkAddress(address)
    return guarded(() => this.#native.renumber(this.#link, this.#end, wanted))
  }
}

export interface LinkStatistics {
  delivered: number
  dropped: Readonly<Record<'loss' | 'queue' | 'cut' | 'mtu', number>>
  /** Of delivered datagrams. */
  bytes: number
}

export class Link {
  readonly name: string
  readonly a: Port
  readonly b: Port
  readonly #native: NativeWorld
  readonly #link: number

  /** @internal */
  constructor(native: NativeWorld, link: number, name: string, nodeA: string, nodeB: string) {
    this.name = name
    this.a = new Port(native, nodeA, link, 0)
    this.b = new Port(native, nodeB, link, 1)
    this.#native = native
    this.#link = link
  }

  /** Nothing is cut and both interfaces are up. */
  get up(): boolean {
    return this.#facts().up
  }

  /** Qualities from now on, in place of all that were; what is on its way keeps its course. @throws QB_OPTION_INVALID QB_OPTION_UNKNOWN */
  set(shape: LinkShape, direction: Direction = 'both'): void {
    const checked = checkShape(shape)
    guarded(() => this.#native.setLink(this.#link, JSON.stringify(checked), checkDirection(direction)))
  }

  /** Everything sent from now on vanishes without a word. */
  cut(direction: Direction = 'both'): void {
    this.#native.cutLink(this.#link, true, checkDirection(direction))
  }

  restore(direction: Direction = 'both'): void {
    this.#native.cutLink(this.#link, false, checkDirection(direction))
  }

  /** Both directions together. */
  statistics(): LinkStatistics {
    const { delivered, loss, queue, cut, mtu, bytes } = this.#facts()
    return { delivered, dropped: { loss, queue, cut, mtu }, bytes }
  }

  #facts(): NativeLinkFacts {
    return JSON.parse(this.#native.linkFacts(this.#link)) as NativeLinkFacts
  }
}
