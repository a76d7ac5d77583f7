/**
 * A private end while it is enabled: does what the preconnector says is due, on one endpoint, and owns what comes of it: the timer, the attempt, the
 * accepted connections. Ended once; then another is made.
 */
import { deferHandled } from '../config/index.ts'
import type { Cancel, ConnectionOptions, Timing } from '../config/index.ts'
import type { Connection } from '../connection/index.ts'
import type { Endpoint, EndpointService } from '../endpoint/index.ts'
import { ServiceError } from '../errors/index.ts'
import { InterfaceWatch } from '../path/index.ts'
import { attempt } from './attempt.ts'
import type { Reached } from './attempt.ts'
import { ReverseCode } from './codes.ts'
import type { DiallerLedger } from './dialler-ledger.ts'
import { explained, outlookOf } from './explain.ts'
import { Line } from './line.ts'
import type { LineOwner, ReverseHandler } from './line.ts'
import { PINGS_PER_IDLE, REVERSE_ALPN, serviceOfEndpoint } from './options.ts'
import type { CheckedConnect } from './options.ts'
import { polarise } from './polarity.ts'
import { Preconnector } from './preconnector.ts'
import type { Member } from './preconnector.ts'
import type { LineStep, PreconnectChange } from './types.ts'

export interface KeeperOwner {
  readonly options: CheckedConnect
  readonly handler: ReverseHandler
  readonly ledger: DiallerLedger
  onChange(change: PreconnectChange): void
}

/** Requests at once on a connection, unless `connection.limits.bidirectionalStreams` says otherwise. */
const STREAMS = 100
/** Why an attempt is given up for another. */
const MOVED = new ServiceError('QB_REVERSE_SHUTDOWN', 'the network has changed; the attempt begins anew', { by: 'local' })
/** Connections that only end what is under way; beyond, the oldest is cut. */
const MAX_DRAINING = 64

export class Keeper {
  readonly #owner: KeeperOwner
  readonly #endpoint: Endpoint
  readonly #service: EndpointService
  readonly #timing: Timing
  readonly #preconnector: Preconnector
  readonly #interfaces: InterfaceWatch
  readonly #depolarise: () => void
  readonly #lineOwner: LineOwner
  /** Oldest first. */
  readonly #lines = new Map<Line, Member>()
  #stopTimer: Cancel = () => {}
  /** While something is missing. */
  #stopWatch: Cancel | null = null
  #attempt: { stop: AbortController; step: LineStep; over: Promise<void> } | null = null
  #ended = false

  constructor(owner: KeeperOwner, endpoint: Endpoint) {
    this.#owner = owner
    this.#endpoint = endpoint
    this.#service = serviceOfEndpoint(endpoint)
    const { habitat } = this.#service
    this.#timing = habitat.timing
    this.#interfaces = new InterfaceWatch(habitat.interfaces, habitat.clock)
    const { pool, retry, pingMs } = owner.options
    this.#preconnector = new Preconnector({
      pool, retry,
      random: () => Buffer.from(habitat.random(4)).readUInt32BE() / 2 ** 32,
      onChange: (change) => owner.onChange(change),
    })
    this.#lineOwner = {
      handler: owner.handler, ledger: owner.ledger, timing: this.#timing, pingMs,
      onLost: (line, reason, error) => this.#onLost(line, reason, error),
      onClosed: (line) => this.#onClosed(line),
      callbackFailed: (error, connection) => this.#service.logger.warn?.('the handler of reverse requests failed', { service: owner.options.service, connection: connection.id, error }),
    }
    this.#depolarise = polarise(this.#service)
  }

  start(): void {
    this.#preconnector.enable(this.#owner.ledger.now())
    // In this turn, when whoever called has subscribed.
    void Promise.resolve().then(() => this.#pump())
  }

  /** Nothing of it is left when this resolves. Called once. */
  async end(drainMs: number, reason: string): Promise<void> {
    this.#ended = true
    const { options: { service, endpoint }, ledger } = this.#owner
    this.#stopTimer()
    this.#stopWatch?.()
    this.#attempt?.stop.abort(new ServiceError('QB_REVERSE_SHUTDOWN', `service ${service}: ${reason}`, { by: 'local' }))
    this.#preconnector.stop(reason, ledger.now())
    const lines = [...this.#lines.keys()]
    await Promise.all([this.#attempt?.over, ...lines.map((line) => line.drain(drainMs))])
    // One that was accepted in the very turn of the end.
    await Promise.all([...this.#lines.keys()].map(({ connection }) => connection.closed))
    this.#depolarise()
    if (endpoint === null) await this.#endpoint.close({ drainMs: 0 })
  }

  /** Does what is due, and waits for what is due later. */
  #pump(): void {
    this.#stopTimer()
    if (this.#ended) return
    const nowMs = this.#owner.ledger.now()
    const due = this.#preconnector.poll(nowMs)
    this.#watchNetwork(this.#preconnector.state === 'FULL' ? 'not' : 'watch')
    if (due === 'dial') {
      const [stop, over] = [new AbortController(), deferHandled<void>()]
      this.#attempt = { stop, step: 'CONNECTING', over: over.promise }
      void this.#dial(stop.signal).then(over.resolve)
    } else if (due !== null) {
      // Whole milliseconds: a rest that no clock can measure would never be over.
      this.#stopTimer = this.#timing.after(Math.ceil(due - nowMs), () => this.#pump())
    }
  }

  #watchNetwork(how: 'watch' | 'not'): void {
    if (how === 'not') {
      this.#stopWatch?.()
      this.#stopWatch = null
    } else this.#stopWatch ??= this.#interfaces.listen(() => this.#onNetwork())
  }

  /** What nobody has answered yet may go ways that are no more. */
  #onNetwork(): void {
    this.#preconnector.onNetwork(this.#owner.ledger.now())
    if (this.#attempt?.step === 'CONNECTING') this.#attempt.stop.abort(MOVED)
    else this.#pump()
  }

  /** Never rejects. */
  async #dial(signal: AbortSignal): Promise<void> {
    const { options: { remote, service, pool, connectTimeoutMs }, ledger } = this.#owner
    const { options, streams } = dialOptions(this.#owner.options)
    let last: Connection | null = null
    try {
      const reached = await attempt({
        remote, service, pool, streams, timeoutMs: connectTimeoutMs, timing: this.#timing,
        connect: (limit) => this.#connect(options, limit),
        tell: (step, connection) => {
          last = connection
          if (this.#attempt !== null) this.#attempt.step = step
          ledger.step(connection, step, step === 'CONNECTING' ? remote : '')
        },
      }, signal)
      this.#onReached(reached)
      this.#attempt = null
    } catch (error) {
      this.#attempt = null
      const told = explained(error, service, remote)
      if (this.#ended) return ledger.step(last, 'FAILED', told.message)
      if (error === MOVED) {
        ledger.step(last, 'FAILED', MOVED.message)
        this.#preconnector.onWithdrawn(ledger.now())
      } else {
        ledger.failed(last, told)
        this.#preconnector.onFailed(told, outlookOf(told), ledger.now())
      }
    }
    this.#pump()
  }

  /** @throws (reject) as `Endpoint.connect` */
  async #connect(options: ConnectionOptions, signal: AbortSignal): Promise<Connection> {
    return this.#endpoint.connect(this.#owner.options.remote, { ...options, signal })
  }

  #onReached(reached: Reached): void {
    if (this.#ended) return reached.connection.destroy(undefined, { code: ReverseCode.SHUTDOWN })
    const { maxPerKey } = reached.accept
    const line = new Line(reached, this.#lineOwner)
    this.#lines.set(line, this.#preconnector.onAccepted(this.#owner.ledger.now(), maxPerKey === 0 ? Infinity : maxPerKey))
    this.#tellMembers()
    line.start()
    // Whoever was told of it may have stopped this end.
    if (this.#ended) line.destroy(ReverseCode.SHUTDOWN, 'the private end is being stopped')
  }

  #onLost(line: Line, reason: string, error: Error | null): void {
    const { options: { service, remote }, ledger } = this.#owner
    const member = this.#lines.get(line)
    this.#tellMembers()
    if (member === undefined || this.#ended) return
    ledger.lost()
    this.#preconnector.onLost(member, reason, error === null ? null : explained(error, service, remote), ledger.now())
    const draining = [...this.#lines.keys()].filter((other) => other.draining)
    if (draining.length > MAX_DRAINING) draining[0]?.destroy(ReverseCode.SHUTDOWN, 'too many connections are draining')
    this.#pump()
  }

  #onClosed(line: Line): void {
    this.#lines.delete(line)
    this.#tellMembers()
  }

  #tellMembers(): void {
    const lines = [...this.#lines.keys()]
    const serving = lines.filter((line) => line.serving)
    this.#owner.ledger.members(this, serving.map(({ connection }) => connection), lines.length - serving.length)
  }
}

/** No stream of the public end before its ACCEPT (V22); identity on both ends; the idle timeout is three PINGs (V45). */
function dialOptions({ connection, identity, pingMs, connectTimeoutMs }: CheckedConnect): { options: ConnectionOptions; streams: number } {
  const own = { idleTimeoutMs: PINGS_PER_IDLE * pingMs, keepAliveMs: pingMs, handshakeTimeoutMs: connectTimeoutMs, ...connection.limits }
  const streams = connection.limits?.bidirectionalStreams ?? STREAMS
  const limits = { ...own, bidirectionalStreams: 0, unidirectionalStreams: 0 }
  return { options: { ...connection, cert: identity.cert, key: identity.key, alpn: REVERSE_ALPN, earlyData: false, limits }, streams }
}
