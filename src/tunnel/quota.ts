/** How many bridges there may be, in all and of one peer (tunnel.md T60). Those that are being opened count. */

export class Quota {
  readonly #total: number
  readonly #each: number
  readonly #peers = new Map<string, number>()
  #used = 0

  constructor(total: number, each: number) {
    this.#total = total
    this.#each = each
  }

  get full(): boolean {
    return this.#used >= this.#total
  }

  /** Takes a place; else the name of the limit that is reached. `peer` null: only the total counts. */
  enter(peer: string | null): 'maxBridges' | 'maxBridgesPerPeer' | null {
    if (this.full) return 'maxBridges'
    if (peer !== null) {
      const used = this.#peers.get(peer) ?? 0
      if (used >= this.#each) return 'maxBridgesPerPeer'
      this.#peers.set(peer, used + 1)
    }
    this.#used += 1
    return null
  }

  leave(peer: string | null): void {
    this.#used -= 1
    if (peer === null) return
    const used = (this.#peers.get(peer) ?? 1) - 1
    if (used > 0) this.#peers.set(peer, used)
    else this.#peers.delete(peer)
  }
}
