/**
 * An endpoint over a carrier of the user's: decides when the engine takes its turns, and hands bursts to `send` one by one. Everything runs
 * on the JavaScript thread; the user's functions are called outside of the engine, so that they may do what they like.
 *
 *   receive() ─▶ the machine at once ─▶ a turn when the event loop comes round: timers, engine, records, bursts ─▶ a timer for the next
 */
import { createHash } from 'node:crypto'
import { CarrierCore, Taken } from '../binding/index.ts'
import type { CarrierBurst, CarrierDatagram, NativeEndpoint, NativeModule } from '../binding/index.ts'
import { REAL_TIME, backgroundClock, checkCarrierOptions, checkDatagrams, show, stayAlive, timingOf, unavailableOption } from '../config/index.ts'
import type { Cancel, CarrierChoice, CarrierOptions, Clock, EndpointOptions, Logger } from '../config/index.ts'
import type { Endpoint } from './endpoint.ts'
import type { Habitat } from './habitat.ts'

const NS_PER_MS = 1e6
/** Bursts of one turn; what is left goes with the next one. */
const BURSTS_PER_TURN = 64
/** Node's timers are no finer: what is due sooner waits for the event loop to come round. */
const FINEST_MS = 1
/** While the carrier takes nothing, what can only be sent is looked at so often. */
const BLOCKED_MS = 10
/** Datagrams that come while a scheduler is asked for a burst. */
const LATE = 1024
/** A carrier that fails is told of so often. */
const WARNING_MS = 1000
const FOREVER_MS = 2_147_483_647
/** Time of day at the start of what repeats: 2025-01-01, as in simulated worlds. */
const UNIX_MS = 1_735_689_600_000

/** An endpoint whose datagrams the program carries. */
export interface CarrierEndpoint extends Endpoint {
  /** Datagrams that have come; their bytes are copied. Never throws for what bytes contain. After the end nothing happens. @throws QB_OPTION_INVALID for what is no list of datagrams */
  receive(datagrams: readonly CarrierDatagram[]): void
  /** The carrier takes more. */
  writable(): void
}

type Bind = (module: NativeModule, options?: EndpointOptions, habitat?: Partial<Habitat>) => Endpoint

/** @throws as `Endpoint.carrier` */
export function openCarrier(module: NativeModule, options: CarrierOptions, bind: Bind): CarrierEndpoint {
  const choice = checkCarrierOptions(options)
  if (!module.features().includes('carrier')) throw unavailableOption('carrier', undefined)
  const loop = new CarrierLoop(module, choice)
  const endpoint = bind(loop.module(module), choice.endpoint, loop.habitat())
  return Object.assign(endpoint, {
    receive: (datagrams: readonly CarrierDatagram[]) => loop.receive(datagrams),
    writable: () => loop.writable(),
  })
}

class CarrierLoop {
  readonly #core: CarrierCore
  readonly #choice: CarrierChoice
  readonly #clock: Clock
  readonly #logger: Logger
  readonly #zeroMs: number
  readonly #zeroUnixMs: number
  #nowNs = 0
  #wake: () => void = () => {}
  #stirred = false
  #polling = false
  #ended = false
  /** The carrier has taken less than it was given. */
  #blocked = false
  /** Calls of `writable`: one within `send` counts. */
  #openings = 0
  #late: CarrierDatagram[] = []
  #timer: unknown = null
  #release: Cancel | null = null
  #warnedMs = -Infinity
  #drawn = 0

  constructor(module: NativeModule, choice: CarrierChoice) {
    const { local, clock, seed, endpoint } = choice
    this.#choice = choice
    this.#clock = clock ?? backgroundClock
    this.#logger = endpoint.logger ?? {}
    this.#zeroMs = this.#clock.now()
    this.#zeroUnixMs = seed === undefined ? REAL_TIME.unixMs() : UNIX_MS
    this.#core = new CarrierCore(module, { ...(local === undefined ? {} : { local }), ...(seed === undefined ? {} : { seed }) })
  }

  /** The native module as this endpoint sees it. */
  module(module: NativeModule): NativeModule {
    return {
      ...module,
      contract: () => module.contract(),
      // There are no sockets to share or to tie to a device; the machine is on this thread: a scheduler can be asked for every burst.
      features: () => [...module.features().filter((name) => name !== 'interface' && name !== 'reusePort'), 'scheduler.pick'],
      createEndpoint: (options: string, wake: () => void): NativeEndpoint => {
        this.#wake = wake
        return this.#core.createEndpoint(options, { nowNs: () => this.#time(), stir: () => this.#stir(), keepAlive: (on) => this.#keepAlive(on) })
      },
    }
  }

  habitat(): Partial<Habitat> {
    const { clock, seed, maxDatagramBytes } = this.#choice
    const own = clock === undefined ? {} : { clock, timing: timingOf(clock, this.#zeroMs, this.#zeroUnixMs) }
    // A carrier has no interfaces that come and go.
    return { driver: 'carrier', interfaces: () => [], portMapper: null, maxDatagramBytes, ...own, ...(seed === undefined ? {} : { random: (bytes: number) => this.#random(seed, bytes) }) }
  }

  receive(datagrams: readonly CarrierDatagram[]): void {
    const checked = checkDatagrams(datagrams)
    if (this.#ended || checked.length === 0) return
    // A scheduler that is asked for a burst should call nothing; if it does, it is not disturbed.
    if (this.#polling) this.#late.push(...checked.slice(0, LATE - this.#late.length))
    else this.#core.receive(this.#time(), checked)
    this.#stir()
  }

  writable(): void {
    this.#openings += 1
    this.#blocked = false
    this.#stir()
  }

  /** A turn when the event loop comes round. */
  #stir(): void {
    if (this.#stirred || this.#ended) return
    this.#stirred = true
    REAL_TIME.soon(() => this.#turn())
  }

  #turn(): void {
    if (this.#ended) return
    this.#stirred = false
    this.#disarm()
    try {
      this.#takeTurn()
    } catch (error) {
      // The engine has broken, as a thread would by a panic: its last record says so.
      this.#core.breakDown(error instanceof Error ? error.message : String(error))
      this.#end()
      this.#wake()
    }
  }

  #takeTurn(): void {
    const late = this.#late
    this.#late = []
    if (late.length > 0) this.#core.receive(this.#time(), late)
    const { news, ended } = this.#core.turn(this.#time())
    if (ended) this.#end()
    if (news) this.#wake()
    if (!ended) this.#arm(this.#transmit())
  }

  /** Hands out what there is to send, within a budget; how many bursts. */
  #transmit(): number {
    let taken: number = Taken.NOTHING
    let sent = 0
    while (!this.#blocked && sent < BURSTS_PER_TURN) {
      const burst = this.#poll(taken)
      taken = Taken.NOTHING
      if (burst === null) break
      sent += 1
      taken = this.#send(burst)
    }
    this.#core.settle(this.#time(), taken)
    return sent
  }

  #poll(taken: number): CarrierBurst | null {
    this.#polling = true
    try {
      return this.#core.poll(this.#time(), taken)
    } finally {
      this.#polling = false
    }
  }

  /** Segments that the carrier took, or `Taken.FAILED`. */
  #send(burst: CarrierBurst): number {
    const { segments, remote } = burst
    const openings = this.#openings
    try {
      const taken = this.#choice.send(burst)
      if (taken === undefined) return segments
      if (typeof taken === 'object' && taken !== null && 'then' in taken) {
        // What is only known later is too late to be of use: all of it counts as taken.
        Promise.resolve(taken).catch((error: unknown) => this.#warn(remote, error))
        return segments
      }
      if (typeof taken !== 'number' || !(taken >= 0)) throw new TypeError(`send answered ${show(taken)}; answer the number of segments taken, or nothing`)
      if (taken >= segments) return segments
      this.#blocked = this.#openings === openings
      return Math.floor(taken)
    } catch (error) {
      this.#warn(remote, error)
      return Taken.FAILED
    }
  }

  #warn(remote: string, error: unknown): void {
    const now = this.#nowNs / NS_PER_MS
    if (now - this.#warnedMs < WARNING_MS) return
    this.#warnedMs = now
    try {
      this.#logger.warn?.('the carrier could not send; the path lost a burst', { remote, error })
    } catch {
      // A logger that throws has nobody to tell.
    }
  }

  /** The next turn, when it is due. `sent`: bursts that went in this one. */
  #arm(sent: number): void {
    if (this.#ended || this.#stirred) return
    const at = this.#core.nextTurnNs()
    if (sent === BURSTS_PER_TURN) return this.#stir()
    if (at === Infinity) return
    let ms = (at - this.#time()) / NS_PER_MS
    if (this.#blocked) ms = Math.max(ms, BLOCKED_MS)
    else if (ms <= 0) ms = sent > 0 ? 0 : FINEST_MS
    if (ms === 0 || (ms < FINEST_MS && this.#choice.clock === undefined)) return this.#stir()
    this.#timer = this.#clock.setTimeout(() => this.#turn(), Math.min(ms, FOREVER_MS))
  }

  #disarm(): void {
    if (this.#timer !== null) this.#clock.clearTimeout(this.#timer)
    this.#timer = null
  }

  #end(): void {
    this.#ended = true
    this.#disarm()
    this.#keepAlive(false)
  }

  /** Whether a process that waits for nothing else goes on; timers of endpoints do not see to that. */
  #keepAlive(on: boolean): void {
    if (on === (this.#release !== null) || (on && this.#ended)) return
    this.#release?.()
    this.#release = on ? stayAlive() : null
  }

  /** ns since the start; a clock that fails or goes back stands still. */
  #time(): number {
    try {
      const ns = Math.round((this.#clock.now() - this.#zeroMs) * NS_PER_MS)
      if (ns > this.#nowNs) this.#nowNs = ns
    } catch (error) {
      this.#warn('the clock', error)
    }
    return this.#nowNs
  }

  #random(seed: number, bytes: number): Uint8Array {
    this.#drawn += 1
    return createHash('sha256').update(`quicbraid carrier ${seed} ${this.#drawn}`).digest().subarray(0, bytes)
  }
}
