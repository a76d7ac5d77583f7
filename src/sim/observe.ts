/** The observable of a world: `events$` [H0], in virtual time: when a datagram's fate is known the world stands still until all have heard. */
import { watched } from '../config/index.ts'
import type { Feed } from '../config/index.ts'

export interface SimEvent {
  /** When its fate was known: at the entrance of the link, or when it left the queue. */
  atMs: number
  /** Name of the link. */
  link: string
  from: string
  to: string
  /** UDP payload. */
  bytes: number
  fate: 'delivered' | 'loss' | 'queue' | 'cut' | 'mtu' | 'nat'
  /** Null unless `delivered`. */
  deliverAtMs: number | null
}

/** `onWatched` as of `watched`. */
export function eventFeed(onWatched: (on: boolean) => void): Feed<SimEvent> {
  return watched<SimEvent>(onWatched)
}
