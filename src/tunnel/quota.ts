/** How many bridges, or flows, there may be, in all and of one peer (tunnel.md T60, T75). Those that are being opened count. */

/** The names of the limits. */
export interface QuotaNames<Name extends string> {
  total: Name
  each: Name
}

export class Quota<Name extends string = string> {
  readonly #total: number
  readonly #each: number
  readonly #names: QuotaNames<Name>
  readonly #peers = new Map<string, number>()
  #used = 0

  constructor(total: number, each: number, names: QuotaNames<Name>) {
    this.#total = total
    this.#each = each
    this.#names = names
  }

  get full(): boolean {
    return this.#used >= this.#total
  }

  /** Takes a place; else the name of the limit that is reached. `peer` null: only the total counts. */
  enter(peer: string | null): Name | null {
    if (this.full) return this.#names.total
    if (peer !== null) {
      const used = this.#peers.get(peer) ?? 0
      if (used >= this.#each) return this.#names.each
      this.#peers.set(peer, used + 1)
    }
    this.#used += 1
    return null
  }

  /** A place that is not taken yet. */
  seat(peer: string | null): Seat<Name> {
    return new Seat(this, peer)
  }

  leave(peer: string | null): void {
    this.#used -= 1
    if (peer === null) return
    const used = (this.#peers.get(peer) ?? 1) - 1
    if (used > 0) this.#peers.set(peer, used)
    else this.#peers.delete(peer)
  }
}

/** One place: taken at most once, given back at most once, in whatever order. */
export class Seat<Name extends string = string> {
  readonly #quota: Quota<Name>
  readonly #peer: string | null
  #state: 'free' | 'taken' | 'over' = 'free'

  constructor(quota: Quota<Name>, peer: string | null) {
    this.#quota = quota
    this.#peer = peer
  }

  /** As `Quota.enter`. */
  take(): Name | null {
    if (this.#state !== 'free') return null
    const limit = this.#quota.enter(this.#peer)
    if (limit === null) this.#state = 'taken'
    return limit
  }

  leave(): void {
    if (this.#state === 'taken') this.#quota.leave(this.#peer)
    this.#state = 'over'
  }
}
