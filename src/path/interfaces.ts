/**
 * The addresses of this host, and when they change. Read from the system once a second while somebody listens (there is no portable
 * notice of changes), and at once when a path has trouble; the source and the clock are given, so that a simulated host has its own.
 * One for each endpoint. Never decides anything.
 */
import { networkInterfaces } from 'node:os'
import type { Cancel, Clock } from '../config/index.ts'
import { canonicalHost } from './policy/reach.ts'
import type { InterfaceAddress } from './policy/types.ts'

/** Between two readings. */
export const INTERFACE_POLL_MS = 1000
/** Least time between two readings, however often somebody asks. */
const LEAST_GAP_MS = 100
/** Addresses of one host that are looked at; more are left out. */
const MAX_ADDRESSES = 256

/** Reads all addresses of a host, in a stable order. May throw: then what was known stays. */
export type InterfaceSource = () => readonly InterfaceAddress[]

/** Of the system: devices that are up and running; libuv leaves out the others. */
export const systemInterfaces: InterfaceSource = () =>
  Object.entries(networkInterfaces()).flatMap(([name, addresses]) => (addresses ?? []).map(({ address }) => ({ name, address, up: true })))

export class InterfaceWatch {
  readonly #source: InterfaceSource
  readonly #clock: Clock
  readonly #listeners = new Set<() => void>()
  #known: readonly InterfaceAddress[] = []
  #text = ''
  #readAtMs = -Infinity
  #timer: unknown = null

  constructor(source: InterfaceSource, clock: Clock) {
    this.#source = source
    this.#clock = clock
  }

  /** As of the last reading; empty before the first. */
  get current(): readonly InterfaceAddress[] {
    return this.#known
  }

  /** Reads at once, then calls `changed` after each change, until the answer is called. */
  listen(changed: () => void): Cancel {
    // Each listener counts, also if two are the same function.
    const listener = (): void => changed()
    this.look()
    this.#listeners.add(listener)
    this.#wait(INTERFACE_POLL_MS)
    return () => {
      this.#listeners.delete(listener)
      if (this.#listeners.size === 0) this.#stop()
    }
  }

  /** Something may have changed: reads now, unless that was done a moment ago; then soon. */
  look(): void {
    const since = this.#clock.now() - this.#readAtMs
    if (since >= LEAST_GAP_MS) return this.#read()
    if (this.#listeners.size === 0) return undefined
    this.#stop()
    return this.#wait(LEAST_GAP_MS - since)
  }

  #read(): void {
    this.#readAtMs = this.#clock.now()
    let read: readonly InterfaceAddress[]
    try {
      read = this.#source().slice(0, MAX_ADDRESSES).map(({ name, address, up }) => ({ name, address: canonicalHost(address), up }))
    } catch {
      return
    }
    const text = JSON.stringify(read)
    if (text === this.#text) return
    this.#text = text
    this.#known = Object.freeze(read.map((item) => Object.freeze(item)))
    for (const listener of this.#listeners) listener()
  }

  #wait(ms: number): void {
    if (this.#timer !== null) return
    this.#timer = this.#clock.setTimeout(() => {
      this.#timer = null
      this.#read()
      if (this.#listeners.size > 0) this.#wait(INTERFACE_POLL_MS)
    }, ms)
  }

  #stop(): void {
    if (this.#timer === null) return
    this.#clock.clearTimeout(this.#timer)
    this.#timer = null
  }
}
