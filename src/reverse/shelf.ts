/** The accepted connections of one key, or of all, and the choice among them (reverse.md V41, V46). Knows nothing of requests. */
import type { Member } from './member.ts'

/** How old may be what is known of paths when it decides: so much, and more for many, so that looking costs less than a thousandth of the time. */
const LOOK_MS = 50
const LOOK_MS_EACH = 2

export class Shelf {
  readonly #now: () => number
  /** Live ones; few, and looked through from one end to the other: a list that is always sorted would cost more. */
  readonly #live: Member[] = []
  /** Not live yet. */
  opening = 0
  /** Not live any more, and not closed. */
  draining = 0
  #lookedAtMs = 0

  constructor(now: () => number) {
    this.#now = now
  }

  get live(): readonly Member[] {
    return this.#live
  }

  /** Nothing of it is left. */
  get isBare(): boolean {
    return this.#live.length === 0 && this.opening === 0 && this.draining === 0
  }

  add(member: Member): void {
    this.#live.push(member)
  }

  /** Whether it was there. */
  remove(member: Member): boolean {
    const at = this.#live.indexOf(member)
    if (at === -1) return false
    this.#live.splice(at, 1)
    return true
  }

  /** The best that has stream credit: paths in order before others, then fewest open streams, then lowest round-trip time. */
  best(): Member | null {
    const live = this.#live
    const [only] = live
    if (live.length <= 1) return only?.takes === true ? only : null
    this.#look()
    let best: Member | null = null
    let least = 0
    for (const member of live) {
      if (!member.takes) continue
      const { open } = member
      if (best !== null && !isBetter(member, open, best, least)) continue
      best = member
      least = open
    }
    return best
  }

  #look(): void {
    const now = this.#now()
    if (now - this.#lookedAtMs < LOOK_MS + LOOK_MS_EACH * this.#live.length) return
    this.#lookedAtMs = now
    for (const member of this.#live) member.look()
  }
}

function isBetter(member: Member, open: number, best: Member, least: number): boolean {
  if (member.healthy !== best.healthy) return member.healthy
  return open === least ? member.rttMs < best.rttMs : open < least
}
