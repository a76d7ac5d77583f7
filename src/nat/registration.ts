/**
 * One socket of ours registered with one relay (traversal T-35): a QUIC connection from that socket, the outer address by STUN at the
 * same time, REGISTER as soon as both ends of the stream are there, renewals before it runs out, another try after a loss. Shared by all who
 * hold it; the last to let go ends it. What relayed ways are is the engine's.
 *
 *   entering ──REGISTER sent, outer known──▶ asked ──REGISTERED──▶ registered ──connection ends──▶ lost ──a while──▶ entering
 *                                              └──REFUSED──▶ refused (over)
 */
import { deferHandled, doubling, invalidOption, splitPort } from '../config/index.ts'
import type { Backoff, Cancel, Clock, ConnectionOptions, Deferred, Logger, TlsOptions } from '../config/index.ts'
import type { Connection } from '../connection/index.ts'
import { isQuicbraidError, ServiceError } from '../errors/index.ts'
import type { BidirectionalStream } from '../stream/index.ts'
import type { AgentOwner } from './agent.ts'
import type { StunDesk } from './desk.ts'
import type { Mappings } from './mappings.ts'
import { encodeRelayFrame, RELAY_ALPN, RelayCode, RelayReader } from './relay-protocol.ts'
import type { RelayFrame } from './relay-protocol.ts'

/** What a relay is shown, and judged by. */
export interface RelayTerms {
  token: Uint8Array | null
  tls: TlsOptions
}

export type RelayState = 'entering' | 'asked' | 'registered' | 'lost' | 'refused' | 'ended'

/** A registration as one of its holders has it. */
export interface Lease {
  /** `ip:port` of the relay. */
  readonly relay: string
  /** Of ours, as the relay's answers come in; null: not known yet. */
  readonly local: string | null
  /** As the relay sees us; null: not known yet. */
  readonly outer: string | null
  readonly state: RelayState
  /** Relayed ways may be opened. @throws (reject) what ended the try */
  asked(): Promise<void>
  /** The relay has said yes. @throws (reject) QB_RELAY_REFUSED, what ended the try */
  granted(): Promise<void>
  release(): void
}

/** STUN beside the handshake; what is later is told by REGISTERED. */
const PATIENCE = { timeoutMs: 500, tries: 4 }
const KEEP_ALIVE_MS = 10_000
const IDLE_MS = 30_000
const BACK_OFF_MS = 1000
const MAX_BACK_OFF_MS = 30_000
const LEAST_RENEWAL_MS = 1000
/** What endpoints set for their own connections and a registration must not have. */
const PLAIN: ConnectionOptions = {
  alpn: RELAY_ALPN, traversal: false, multipath: 'off', pathPolicy: 'manual', handshake: 'single', scheduler: 'min-rtt', earlyData: false, pins: [], verify: 'default',
  limits: { idleTimeoutMs: IDLE_MS, keepAliveMs: KEEP_ALIVE_MS, bidirectionalStreams: 0, unidirectionalStreams: 0 },
}

export class StandingRegistration {
  readonly relay: string
  readonly #owner: AgentOwner
  readonly #desk: StunDesk
  readonly #mappings: Mappings
  readonly #clock: Clock
  readonly #logger: Logger
  readonly #terms: RelayTerms
  readonly #serverName: string
  /** The bound socket, where one was asked for; else the first that fits. */
  readonly #socket: () => Promise<string>
  readonly #onEnd: () => void
  readonly #watchers = new Set<(state: RelayState) => void>()
  #holders = 0
  #state: RelayState = 'entering'
  /** As the socket is bound. */
  #bound: string | null = null
  #local: string | null = null
  #outer: string | null = null
  #asked: Deferred<void> = deferHandled()
  #granted: Deferred<void> = deferHandled()
  #connection: Connection | null = null
  #stream: BidirectionalStream | null = null
  #try: AbortController | null = null
  #timer: unknown = null
  #stopKeeping: Cancel | null = null
  readonly #backoff: Backoff = doubling(BACK_OFF_MS, MAX_BACK_OFF_MS)

  constructor(owner: AgentOwner, desk: StunDesk, mappings: Mappings, place: { name: string; relay: string; socket: () => Promise<string>; terms: RelayTerms; onEnd: () => void }) {
    this.#owner = owner
    this.#desk = desk
    this.#mappings = mappings
    this.#clock = owner.clock
    this.#logger = owner.logger
    this.relay = place.relay
    this.#serverName = splitPort(place.name)?.host ?? ''
    this.#socket = place.socket
    this.#terms = place.terms
    this.#onEnd = place.onEnd
  }

  /** `watch` hears of every state from now on. */
  hold(watch: (state: RelayState) => void): Lease {
    this.#holders += 1
    this.#watchers.add(watch)
    if (this.#holders === 1 && this.#try === null) void this.#enter()
    return new Holding(this, () => {
      this.#watchers.delete(watch)
      this.#holders -= 1
      if (this.#holders === 0) this.end()
    })
  }

  get state(): RelayState {
    return this.#state
  }

  get local(): string | null {
    return this.#local
  }

  get outer(): string | null {
    return this.#outer
  }

  get asked(): Promise<void> {
    return this.#asked.promise
  }

  get granted(): Promise<void> {
    return this.#granted.promise
  }

  /** Nobody wants it any more, or the endpoint has closed. */
  end(engine: 'there' | 'gone' = 'there'): void {
    if (this.#state === 'ended') return
    if (engine === 'gone') this.#outer = null
    const wasRefused = this.#state === 'refused'
    this.#state = 'ended'
    this.#leave()
    if (!wasRefused) this.#settle(new ServiceError('QB_RELAY_REFUSED', `the registration with ${this.relay} was ended here; register again`, { value: this.relay }))
    this.#onEnd()
  }

  async #enter(): Promise<void> {
    const attempt = (this.#try = new AbortController())
    const { signal } = attempt
    try {
      const connecting = this.#connect(signal)
      const asking = this.#askOuter(connecting, signal)
      const connection = await connecting
      if (signal.aborted) return connection.destroy()
      this.#connection = connection
      const stream = (this.#stream = await connection.openBidirectional())
      this.#register()
      void asking.then((answer) => {
        if (answer !== null && !signal.aborted) this.#learn(answer.local, answer.mapped)
      })
      await this.#listen(connection, stream, signal)
      const { error, reason } = await connection.closed
      throw error ?? new ServiceError('QB_RELAY_REFUSED', `the relay ${this.relay} ended the registration${reason === '' ? '' : ` (${reason})`}; it takes no more clients, or is going`, { value: this.relay })
    } catch (error) {
      if (!signal.aborted) this.#onFailure(error)
    } finally {
      attempt.abort()
    }
  }

  async #connect(signal: AbortSignal): Promise<Connection> {
    const { endpoint } = this.#owner
    const bound = endpoint.local.length === 0 ? null : await this.#socket()
    const named = bound === null || /^(?:0\.0\.0\.0|\[::\]):/.test(bound) ? {} : { paths: [{ local: bound }] }
    return endpoint.connect(this.relay, { ...PLAIN, ...this.#terms.tls, ...named, serverName: this.#serverName, signal })
  }

  /** How the relay sees the socket; null: it does not say. Never rejects. */
  async #askOuter(connecting: Promise<Connection>, signal: AbortSignal): Promise<{ local: string; mapped: string } | null> {
    try {
      const local = await Promise.race([this.#socket(), connecting.then(({ local }) => local)])
      this.#bound = local
      return await this.#desk.ask(local, this.relay, 'rfc5780', PATIENCE, signal)
    } catch {
      // Its reply says it, too.
      return null
    }
  }

  /** Asks, or asks again. */
  #register(): void {
    const stream = this.#stream
    if (stream === null) return
    try {
      stream.write(encodeRelayFrame({ type: 'register', token: this.#terms.token }))
    } catch {
      // The connection has ended; whoever reads from it hears that.
    }
  }

  async #listen(connection: Connection, stream: BidirectionalStream, signal: AbortSignal): Promise<void> {
    const reader = new RelayReader()
    try {
      for await (const batch of stream) {
        if (signal.aborted) return
        for (const bytes of batch) for (const frame of reader.read(bytes)) this.#onFrame(connection, frame)
      }
    } catch (error) {
      // The end of the connection says more; what the relay must not send ends it here.
      if (!isQuicbraidError(error)) connection.destroy(error as Error, { code: RelayCode.FAULT, reason: 'not the protocol of a relay' })
    }
    connection.destroy(undefined, { code: RelayCode.DONE })
  }

  #onFrame(connection: Connection, frame: RelayFrame): void {
    if (frame.type === 'refused') {
      this.#over(refusal(this.relay, frame.reason))
      connection.destroy(undefined, { code: RelayCode.DONE })
    } else if (frame.type === 'registered') {
      this.#backoff.reset()
      this.#learn(this.#local ?? connection.local, frame.outer)
      this.#granted.resolve()
      this.#wait(Math.max(LEAST_RENEWAL_MS, frame.forMs / 2), () => this.#register())
      this.#become('registered')
    }
  }

  /** The relay sees the socket so. */
  #learn(local: string, outer: string): void {
    if (this.#local === local && this.#outer === outer) return
    const known = this.#outer !== null
    if (this.#local !== null && this.#local !== local) this.#tell('unregister')
    this.#local = local
    this.#outer = outer
    this.#tell('register')
    this.#stopKeeping ??= this.#mappings.watch(this.#bound ?? local, this.relay, 'rfc5780', (mapped) => this.#onMapping(mapped))
    if (known && this.#state === 'registered') return this.#notify()
    this.#asked.resolve()
    if (this.#state !== 'registered') this.#become('asked')
  }

  /** Keep-alives say what the mapping is. */
  #onMapping(mapped: string | null): void {
    if (mapped === null || mapped === this.#outer || this.#local === null || this.#stream === null) return
    this.#register()
    this.#learn(this.#local, mapped)
  }

  #onFailure(error: unknown): void {
    if (this.#state === 'refused' || this.#state === 'ended') return
    if (isQuicbraidError(error) && (error.code === 'QB_OPTION_INVALID' || error.code === 'QB_ENDPOINT_CLOSED')) return this.#over(error)
    const settled = [this.#asked, this.#granted]
    this.#leave()
    this.#asked = deferHandled()
    this.#granted = deferHandled()
    for (const deferred of settled) deferred.reject(error)
    this.#logger.debug?.('a registration was lost', { relay: this.relay, error })
    this.#become('lost')
    // Somebody may have let go of it when it heard.
    if (this.#holders === 0) return
    this.#wait(this.#backoff.next() ?? MAX_BACK_OFF_MS, () => {
      this.#become('entering')
      void this.#enter()
    })
  }

  /** Not again. */
  #over(error: unknown): void {
    this.#leave()
    this.#settle(error)
    this.#become('refused')
  }

  /** Nothing of it is left in the engine. */
  #leave(): void {
    const connection = this.#connection
    if (this.#timer !== null) this.#clock.clearTimeout(this.#timer)
    this.#timer = null
    this.#try?.abort(new ServiceError('QB_RELAY_REFUSED', `the registration with ${this.relay} has ended`, { value: this.relay }))
    this.#try = null
    this.#stopKeeping?.()
    this.#stopKeeping = null
    this.#tell('unregister')
    this.#local = null
    this.#outer = null
    this.#connection = null
    this.#stream = null
    void connection?.close({ code: RelayCode.DONE })
  }

  #settle(error: unknown): void {
    this.#asked.reject(error)
    this.#granted.reject(error)
  }

  #become(state: RelayState): void {
    if (this.#state === state || this.#state === 'ended') return
    this.#state = state
    this.#notify()
  }

  #notify(): void {
    for (const watch of Array.from(this.#watchers)) watch(this.#state)
  }

  #wait(ms: number, run: () => void): void {
    if (this.#timer !== null) this.#clock.clearTimeout(this.#timer)
    this.#timer = this.#clock.setTimeout(() => {
      this.#timer = null
      run()
    }, ms)
  }

  #tell(what: 'register' | 'unregister'): void {
    const { engine } = this.#owner
    if (this.#local === null || this.#outer === null) return
    if (what === 'register') engine.tell(0, { do: 'register', local: this.#local, relay: this.relay, outer: this.#outer })
    else engine.tell(0, { do: 'unregister', local: this.#local, relay: this.relay })
  }
}

class Holding implements Lease {
  readonly #standing: StandingRegistration
  #letGo: (() => void) | null

  constructor(standing: StandingRegistration, letGo: () => void) {
    this.#standing = standing
    this.#letGo = letGo
  }

  get relay(): string {
    return this.#standing.relay
  }

  get local(): string | null {
    return this.#standing.local
  }

  get outer(): string | null {
    return this.#standing.outer
  }

  get state(): RelayState {
    return this.#standing.state
  }

  asked(): Promise<void> {
    return this.#standing.asked
  }

  granted(): Promise<void> {
    return this.#standing.granted
  }

  release(): void {
    const letGo = this.#letGo
    this.#letGo = null
    letGo?.()
  }
}

function refusal(relay: string, reason: string): ServiceError {
  const shown = reason.replaceAll(/[^\x20-\x7e]/g, '?')
  return new ServiceError('QB_RELAY_REFUSED', `the relay ${relay} refused to register us${shown === '' ? '' : ` (${shown})`}; check relayToken and relayTls`, { value: { relay, reason } })
}

/** A relay's address must have a port. @throws QB_OPTION_INVALID */
export function checkRelay(name: unknown, field: string): string {
  if (typeof name !== 'string' || (splitPort(name)?.port ?? 0) === 0) throw invalidOption(field, name, "a relay's 'name:port' or address with a port")
  return name
}
