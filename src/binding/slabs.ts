/**
 * The memory that drains fill: blocks of 256 KiB that readers may borrow parts of (`borrow()`) until they release them. A block is
 * filled again only where nothing of it is lent. It is JavaScript's own memory, so that a view of it is safe to touch whenever and
 * whatever has ended meanwhile. Decides which block, and which part of it, the next drain fills. Never knows what the bytes mean.
 */

/** Bytes a block has. */
export const SLAB_BYTES = 262_144
/** A drain needs room for the longest event (`EVENT_BYTES`). */
const LEAST_BYTES = 131_072
/** Blocks that are lent at a time; beyond them readers get copies. */
const MOST_LENT = 16
/** Free blocks that are kept. */
const SPARE = 4
/** Smaller pieces are copied: a block should not wait for them. */
const LEAST_LOAN_BYTES = 4_096

export class Slab {
  readonly buffer: Buffer = Buffer.alloc(SLAB_BYTES)
  /** Parts of it that are lent. */
  loans = 0
  /** A part of it is out of everybody's sight without having been released: it is never filled again. */
  lost = false
}

export class Slabs {
  #slab = new Slab()
  /** Where the next drain begins in it. */
  #from = 0
  /** End of what was lent of the present batch, in the region. */
  #lentTo = 0
  #region: Buffer = this.#slab.buffer
  #spare: Slab[] = []
  /** Blocks with loans, the present one apart. */
  #away = 0

  /** What a drain may fill: at least `LEAST_BYTES`. */
  region(): Buffer {
    // A program may detach what it has borrowed. That costs it its bytes, and us a block.
    if (this.#slab.lost || this.#region.length === 0) this.#replace()
    else if (this.#lentTo > 0 || this.#from > 0) this.#move()
    return this.#region
  }

  /** Lends a part of the region just filled; null: it is to be copied. */
  lend(start: number, end: number): { slab: Slab; at: number } | null {
    if (end - start < LEAST_LOAN_BYTES || this.#away >= MOST_LENT) return null
    this.#slab.loans += 1
    this.#lentTo = Math.max(this.#lentTo, end)
    return { slab: this.#slab, at: this.#from + start }
  }

  /** One part of a block comes back. */
  giveBack(slab: Slab): void {
    slab.loans -= 1
    if (slab.loans > 0 || slab === this.#slab) return
    this.#away -= 1
    if (!slab.lost && this.#spare.length < SPARE && slab.buffer.length > 0) this.#spare.push(slab)
  }

  /** A part will never come back, though somebody may still look at it. */
  lose(slab: Slab): void {
    slab.lost = true
    this.giveBack(slab)
  }

  #move(): void {
    const end = this.#from + this.#lentTo
    if (this.#slab.loans === 0) this.#fill(0)
    else if (end <= SLAB_BYTES - LEAST_BYTES) this.#fill(end)
    else this.#replace()
  }

  #replace(): void {
    if (this.#slab.loans > 0) this.#away += 1
    do this.#slab = this.#spare.pop() ?? new Slab()
    while (this.#slab.buffer.length === 0)
    this.#fill(0)
  }

  #fill(from: number): void {
    this.#from = from
    this.#lentTo = 0
    this.#region = from === 0 ? this.#slab.buffer : this.#slab.buffer.subarray(from)
  }
}
