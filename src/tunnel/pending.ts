/** TCP connections of a client tunnel that wait for a stream: in order, so many at most, each for so long at most (tunnel.md T11-T14). What goes too far is cut. */
import type { Cancel } from '../config/index.ts'
import type { BridgeReason } from './codes.ts'
import type { Entry, Ledger } from './ledger.ts'
import { cutSocket } from './tcp.ts'
import type { TcpSocket } from './tcp.ts'

/** A TCP connection that wants to be joined, and where to. */
export interface Errand {
  readonly socket: TcpSocket
  readonly entry: Entry
  /** Null: where its tunnel leads. */
  readonly target: { readonly port: number; readonly host: string | null } | null
  /** What the TCP peer is told before anything else (null: it is joined), or at the end instead of a RST. */
  readonly answer: Answer | null
}

export type Answer = (reason: BridgeReason | null) => Uint8Array | null

export interface Waiter extends Errand {
  readonly sinceMs: number
}

interface Place extends Waiter {
  leave: () => void
}

export interface PendingOptions {
  readonly ledger: Ledger
  readonly max: number
  readonly timeoutMs: number
  after(ms: number, run: () => void): Cancel
  /** The last one has left. */
  onEmpty(): void
}

export class Pending {
  readonly #options: PendingOptions
  readonly #places = new Set<Place>()

  constructor(options: PendingOptions) {
    this.#options = options
  }

  get size(): number {
    return this.#places.size
  }

  /** False: the socket has gone, or there was no room, and it is cut. */
  add(errand: Errand): boolean {
    const { socket, entry } = errand
    const { ledger, max, timeoutMs, after } = this.#options
    if (socket.destroyed) {
      ledger.ended(entry, 'tcp')
      return false
    }
    if (this.#places.size >= max) {
      ledger.failed('pending.overflow')
      ledger.ended(entry, 'overflow')
      dismiss(errand, 'overflow')
      return false
    }
    const onGone = (): void => this.#drop(place, 'tcp')
    const stop = after(timeoutMs, () => {
      ledger.failed('pending.timeout')
      this.#drop(place, 'timeout')
    })
    const place: Place = {
      ...errand, sinceMs: ledger.now(),
      leave: () => {
        this.#places.delete(place)
        ledger.pending -= 1
        stop()
        socket.off('error', onGone)
        socket.off('close', onGone)
      },
    }
    this.#places.add(place)
    ledger.pending += 1
    socket.on('error', onGone)
    socket.on('close', onGone)
    ledger.tell(entry, 'pending', null)
    return true
  }

  /** The oldest. */
  take(): Waiter | null {
    for (const place of this.#places) {
      place.leave()
      this.#options.ledger.took('pending', this.#options.ledger.now() - place.sinceMs)
      return place
    }
    return null
  }

  /** Cuts all. */
  clear(reason: BridgeReason): void {
    for (const place of this.#places) this.#drop(place, reason)
  }

  #drop(place: Place, reason: BridgeReason): void {
    if (!this.#places.has(place)) return
    place.leave()
    dismiss(place, reason)
    this.#options.ledger.ended(place.entry, reason)
    if (this.#places.size === 0) this.#options.onEmpty()
  }
}

/** An end before the beginning: in words, for those who speak to us, else RST. Words that cannot be had or said are none. */
export function dismiss({ socket, answer }: Errand, reason: BridgeReason): void {
  try {
    const words = socket.destroyed ? null : (answer?.(reason) ?? null)
    if (words === null) return cutSocket(socket)
    socket.on('error', () => {})
    socket.end(words, () => socket.destroy())
  } catch {
    cutSocket(socket)
  }
  return undefined
}
