/**
 * The link emulator of the native module: real UDP sockets, with rate, delay, queue, loss and cuts between them. For demonstrations and
 * tests; no connection of ours ever uses it. One thread in native moves the datagrams, so this file only converts.
 * Part of the N-API contract, like `native.ts`: `relayStart`, `relayCommand`, `relayStatistics`, `relayStop`.
 */
import { guarded } from './error.ts'
import { loadNative } from './load.ts'

/** One emulated link: what comes to `listen` leaves towards `target`, and the answers go back to the address that sent last. */
export interface RelayLink {
  /** `ip:port` where the client sends to; port 0 = any. */
  listen: string
  /** `ip:port` of the server. */
  target: string
  /** Each direction. @default unlimited */
  rateBitsPerSec?: number
  /** One way. @default 0 */
  delayMs?: number
  /** UDP payload that may wait for its turn, each direction; more is dropped at the tail. @default 1 MiB */
  queueBytes?: number
  /** Share of datagrams lost at random, 0 to 1. @default 0 */
  loss?: number
  /** Share of datagrams of which a bit is flipped, 0 to 1. @default 0 */
  corruption?: number
  /** Most datagrams in a row that chance loses or corrupts. @default 0 (no bound) */
  maxInARow?: number
  /** Datagrams lost by their number in this direction, 1 to 64. @default [] */
  dropToTarget?: readonly number[]
  dropToClient?: readonly number[]
  /** Datagrams with more UDP payload are lost. @default no bound */
  maxDatagramBytes?: number
  /** Our IP towards the target. @default the system's choice */
  source?: string
  /** Packet captures (pcap, link type RAW): as clients see the link, and as the target does. Whole after `stop`. @default none */
  capture?: { client: string; target: string }
}

export interface RelayOptions {
  links: readonly RelayLink[]
  /** Of the random losses. @default 1 */
  seed?: number
}

/**
 * `link`: index in `links`. A cut link drops everything both ways, what waits in its queues too, and tells nobody. `rebind`: every client
 * gets another port towards the target, and `source` if given; what still goes to the old port is lost.
 */
export type RelayCommand = { do: 'cut' | 'restore'; link: number } | { do: 'rebind'; link: number; source?: string }

export interface RelayDirection {
  /** Delivered. */
  datagrams: number
  /** Delivered, UDP payload. */
  bytes: number
  /** Datagrams that got a flipped bit. */
  corrupted: number
  /** Datagrams that were not delivered; `loss`: by chance, by list, by size. */
  dropped: { cut: number; queue: number; loss: number }
}

export interface RelayStatistics {
  /** In the order of `RelayOptions.links`. */
  links: readonly {
    /** With its real port. */
    listen: string
    up: boolean
    toTarget: RelayDirection
    toClient: RelayDirection
  }[]
}

/** The four functions as the native module exports them; options and answers are JSON. */
export interface NativeRelay {
  relayStart(options: string): unknown
  relayCommand(handle: unknown, command: string): void
  relayStatistics(handle: unknown): string
  relayStop(handle: unknown): void
}

export class Relay {
  readonly #native: NativeRelay
  readonly #handle: unknown

  /** Binds all sockets and starts. @throws QB_BIND_FAILED QB_OPTION_INVALID QB_NATIVE_MISSING */
  constructor(options: RelayOptions) {
    this.#native = loadNative() as unknown as NativeRelay
    this.#handle = guarded(() => this.#native.relayStart(JSON.stringify(options)))
  }

  command(command: RelayCommand): void {
    guarded(() => this.#native.relayCommand(this.#handle, JSON.stringify(command)))
  }

  statistics(): RelayStatistics {
    return JSON.parse(guarded(() => this.#native.relayStatistics(this.#handle))) as RelayStatistics
  }

  /** Closes the sockets and joins the thread. */
  stop(): void {
    guarded(() => this.#native.relayStop(this.#handle))
  }
}
