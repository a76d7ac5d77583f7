/**
 * Ports that the gateway holds open for sockets of one endpoint, as long as somebody watches: asked for once for all of its connections, renewed
 * at half their lifetime and when this host's addresses change, asked for again after a refusal, released in the end. What goes wrong is told, never thrown.
 */
import { doubling } from '../config/index.ts'
import type { Backoff, Cancel, Clock, Logger } from '../config/index.ts'
import type { InterfaceWatch } from '../path/index.ts'
import { reasonOf } from './port-mapper.ts'
import type { PortMapper, PortMapping } from './port-mapper.ts'

/** 'failed': there is none, and it is tried again later; 'lost': it was there. */
export interface PortState {
  readonly state: 'mapped' | 'failed' | 'lost'
  /** `ip:port` at the gateway; null unless mapped. */
  readonly external: string | null
  readonly reason: string
}

type Watch = (state: PortState) => void

interface Kept {
  readonly internal: readonly string[]
  readonly watchers: Set<Watch>
  told: PortState | null
  mapping: PortMapping | null
  /** When the gateway forgets it, on our clock. */
  untilMs: number
  readonly backoff: Backoff
  timer: unknown
  /** A question is under way. */
  asking: boolean
  gone: boolean
}

/** As RFC 6886 section 3.3 recommends. */
const LIFETIME_MS = 7_200_000
const LEAST_WAIT_MS = 30_000
const RETRY_MS = { first: 30_000, most: 900_000 }

export class PortMappings {
  readonly #load: (() => Promise<PortMapper>) | null
  readonly #clock: Clock
  readonly #logger: Logger
  readonly #interfaces: InterfaceWatch
  /** By the addresses of the socket. */
  readonly #kept = new Map<string, Kept>()
  #mapper: Promise<PortMapper> | null = null
  #stopListening: Cancel | null = null
  #ended = false

  constructor(load: (() => Promise<PortMapper>) | null, { clock, logger, interfaces }: { clock: Clock; logger: Logger; interfaces: InterfaceWatch }) {
    this.#load = load
    this.#clock = clock
    this.#logger = logger
    this.#interfaces = interfaces
  }

  /** There is somebody to ask. @throws (reject) QB_OPTION_INVALID where a package is missing */
  async ready(): Promise<void> {
    await this.#gateway()
  }

  /** Keeps a port open for the socket that hears at these addresses; `watch` hears what it is now, if that is known, and every change. */
  watch(internal: readonly string[], watch: Watch): Cancel {
    if (this.#ended) return () => {}
    const key = internal.join(' ')
    let kept = this.#kept.get(key)
    if (kept === undefined) {
      kept = { internal, watchers: new Set(), told: null, mapping: null, untilMs: 0, backoff: doubling(RETRY_MS.first, RETRY_MS.most), timer: null, asking: false, gone: false }
      this.#kept.set(key, kept)
      this.#stopListening ??= this.#interfaces.listen(() => this.#onMove())
      void this.#ask(kept)
    }
    const held = kept
    // Each counts, also if two are the same function.
    const own: Watch = (state) => watch(state)
    held.watchers.add(own)
    if (held.told !== null) own(held.told)
    return () => {
      held.watchers.delete(own)
      if (held.watchers.size > 0 || held.gone) return
      this.#kept.delete(key)
      this.#drop(held)
      if (this.#kept.size === 0) this.#quiet()
    }
  }

  end(): void {
    this.#ended = true
    for (const kept of this.#kept.values()) this.#drop(kept)
    this.#kept.clear()
    this.#quiet()
  }

  #quiet(): void {
    this.#stopListening?.()
    this.#stopListening = null
  }

  #gateway(): Promise<PortMapper> {
    if (this.#load === null) return Promise.reject(new Error('there is no gateway'))
    this.#mapper ??= this.#load()
    return this.#mapper
  }

  /** Another network may have another gateway. */
  #onMove(): void {
    for (const kept of this.#kept.values()) {
      kept.backoff.reset()
      void this.#ask(kept)
    }
  }

  async #ask(kept: Kept): Promise<void> {
    if (kept.asking || kept.gone) return
    kept.asking = true
    this.#clock.clearTimeout(kept.timer)
    try {
      const mapper = await this.#gateway()
      const mapping = await mapper.map({ internal: kept.internal, protocol: 'udp', lifetimeMs: LIFETIME_MS, external: kept.mapping?.external ?? null })
      this.#onMapped(kept, mapping)
    } catch (error) {
      this.#onFailure(kept, reasonOf(error))
    } finally {
      kept.asking = false
    }
  }

  #onMapped(kept: Kept, mapping: PortMapping): void {
    if (kept.gone) return this.#release(mapping)
    kept.mapping = mapping
    kept.untilMs = this.#clock.now() + mapping.lifetimeMs
    kept.backoff.reset()
    this.#again(kept, Math.max(mapping.lifetimeMs / 2, LEAST_WAIT_MS))
    this.#tell(kept, { state: 'mapped', external: mapping.external, reason: '' })
  }

  /** What the gateway still holds stays told until its time is over. */
  #onFailure(kept: Kept, reason: string): void {
    if (kept.gone) return
    const wait = kept.backoff.next() ?? RETRY_MS.most
    const leftMs = kept.mapping === null ? 0 : kept.untilMs - this.#clock.now()
    this.#again(kept, leftMs > 0 ? Math.min(wait, leftMs) : wait)
    if (leftMs > 0) return
    const lost = kept.mapping !== null
    kept.mapping = null
    this.#logger.warn?.('the gateway maps no port', { internal: kept.internal, reason })
    this.#tell(kept, { state: lost ? 'lost' : 'failed', external: null, reason })
  }

  #again(kept: Kept, ms: number): void {
    kept.timer = this.#clock.setTimeout(() => void this.#ask(kept), ms)
  }

  /** Only what is new. */
  #tell(kept: Kept, state: PortState): void {
    if (kept.told?.external === state.external && kept.told.reason === state.reason) return
    kept.told = state
    for (const watch of Array.from(kept.watchers)) watch(state)
  }

  #drop(kept: Kept): void {
    kept.gone = true
    this.#clock.clearTimeout(kept.timer)
    if (kept.mapping !== null) this.#release(kept.mapping)
  }

  #release(mapping: PortMapping): void {
    mapping.release().catch((error: unknown) => {
      this.#logger.debug?.('the gateway did not take a port back; it ends by itself', { external: mapping.external, reason: reasonOf(error) })
    })
  }
}
