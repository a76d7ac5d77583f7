/** `reverseHttp2Connect`: the private end over TCP. When it dials is the preconnector's to say (reverse.md §2, §3, §5); this does it and owns the sessions. */
import { constants } from 'node:http2'
import type { IncomingHttpHeaders, ServerHttp2Session, ServerHttp2Stream } from 'node:http2'
import { REAL_TIME, backgroundClock, checkCall, hot, invalidOption } from '../../config/index.ts'
import type { Cancel, Observable } from '../../config/index.ts'
import { ServiceError } from '../../errors/index.ts'
import { outlookOf } from '../explain.ts'
import { Preconnector } from '../preconnector.ts'
import type { Member } from '../preconnector.ts'
import type { DiallerStatistics, PreconnectChange, PreconnectState } from '../types.ts'
import { dialHttp2, serverHandshake } from './dial.ts'
import { explained } from './explain.ts'
import { DialLedger, dialText } from './ledger.ts'
import { checkHttp2Connect } from './options.ts'
import type { CheckedHttp2Connect, ReverseHttp2ConnectOptions, ReverseHttp2Dialler, ReverseHttp2Handler } from './options.ts'

const DRAIN_MS = 2000
const SILENT_PINGS = 3

/** Starts at once. @throws QB_OPTION_INVALID QB_OPTION_UNKNOWN QB_REVERSE_NOT_SUPPORTED */
export function reverseHttp2Connect(options: ReverseHttp2ConnectOptions, handler: ReverseHttp2Handler): ReverseHttp2Dialler {
  const checked = checkHttp2Connect(options)
  if (typeof handler !== 'function') throw invalidOption('handler', handler, 'a function (stream, headers, rawHeaders)')
  serverHandshake()
  const dialler = new Dialler(checked, handler)
  dialler.enable()
  return dialler
}

class Dialler implements ReverseHttp2Dialler {
  readonly #options: CheckedHttp2Connect
  readonly #handler: ReverseHttp2Handler
  readonly #states = hot<PreconnectChange>(1)
  readonly #preconnector: Preconnector
  readonly #ledger = new DialLedger()
  /** Those that say GOAWAY and end are in it, too. */
  readonly #sessions = new Map<ServerHttp2Session, { member: Member; stopPing: Cancel }>()
  #stopTimer: Cancel = () => {}
  #attempt: { abort: AbortController; over: Promise<void> } | null = null
  #stopping: Promise<void> | null = null
  #disposed = false

  constructor(options: CheckedHttp2Connect, handler: ReverseHttp2Handler) {
    this.#options = options
    this.#handler = handler
    this.#preconnector = new Preconnector({ pool: options.pool, retry: options.retry, random: Math.random, onChange: (change) => this.#states.emit(change) })
  }

  get state(): PreconnectState {
    return this.#preconnector.state
  }

  get size(): number {
    return this.#preconnector.live
  }

  statistics(): DiallerStatistics {
    return this.#ledger.statistics(this.size, Math.max(0, this.#sessions.size - this.size))
  }

  prometheus(): string {
    return dialText(`${this.#options.host}:${this.#options.port}`, this.state, this.statistics())
  }

  get state$(): Observable<PreconnectChange> {
    return this.#states.values$
  }

  enable(): void {
    if (this.#disposed) throw new ServiceError('QB_REVERSE_SHUTDOWN', 'this private end has been disposed of; call reverseHttp2Connect again', { by: 'local' })
    if (this.#stopping !== null || this.state !== 'STOP') return
    this.#preconnector.enable(backgroundClock.now())
    // In this turn, when whoever called has subscribed.
    queueMicrotask(() => this.#pump())
  }

  stop(options: { drainMs?: number } = {}): Promise<void> {
    checkCall(options, ['drainMs'])
    const { drainMs = DRAIN_MS } = options
    if (typeof drainMs !== 'number' || !(drainMs >= 0)) throw invalidOption('drainMs', drainMs, 'a number of milliseconds')
    this.#stopping ??= this.#stop(drainMs).finally(() => {
      this.#stopping = null
    })
    return this.#stopping
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#disposed = true
    await this.stop()
    this.#states.end()
  }

  async #stop(drainMs: number): Promise<void> {
    this.#stopTimer()
    this.#preconnector.stop('stopped', backgroundClock.now())
    this.#attempt?.abort.abort(new ServiceError('QB_REVERSE_SHUTDOWN', 'stopped', { by: 'local' }))
    await Promise.all([this.#attempt?.over, ...Array.from(this.#sessions.keys(), (session) => drained(session, drainMs))])
  }

  #pump(): void {
    this.#stopTimer()
    const nowMs = backgroundClock.now()
    const due = this.#preconnector.poll(nowMs)
    if (due === 'dial') {
      const abort = new AbortController()
      this.#attempt = { abort, over: this.#dial(abort.signal) }
    } else if (due !== null) this.#stopTimer = REAL_TIME.after(Math.max(1, Math.ceil(due - nowMs)), () => this.#pump())
  }

  /** Never rejects. */
  async #dial(signal: AbortSignal): Promise<void> {
    const sinceMs = backgroundClock.now()
    this.#ledger.attempts += 1
    try {
      const session = await dialHttp2(this.#options, (made) => made.on('stream', (stream: ServerHttp2Stream, headers: IncomingHttpHeaders, _: number, raw?: readonly string[]) => this.#onStream(stream, headers, raw)), REAL_TIME.after, signal)
      this.#attempt = null
      this.#ledger.accepted(backgroundClock.now() - sinceMs)
      this.#onReached(session)
    } catch (error) {
      this.#attempt = null
      if (signal.aborted) return
      const told = explained(error, `${this.#options.host}:${this.#options.port}`)
      this.#ledger.failed(told)
      this.#preconnector.onFailed(told, outlookOf(told), backgroundClock.now())
    }
    this.#pump()
  }

  #onReached(session: ServerHttp2Session): void {
    const member = this.#preconnector.onAccepted(backgroundClock.now())
    const { host, port, pingMs } = this.#options
    let heardMs = backgroundClock.now()
    let problem: Error | null = null
    const stopPing = REAL_TIME.every(pingMs, () => {
      if (backgroundClock.now() - heardMs >= SILENT_PINGS * pingMs) return session.destroy(new ServiceError('QB_REVERSE_TIMEOUT', `${host}:${port} has not answered for ${SILENT_PINGS * pingMs} ms`, { by: 'timeout' }))
      if (!session.destroyed) session.ping((error) => void (error === null && (heardMs = backgroundClock.now())))
    })
    this.#sessions.set(session, { member, stopPing })
    session.on('error', (error) => {
      problem = error
    })
    session.on('goaway', () => this.#onLost(member, 'the public end takes this connection out of its pool', null))
    session.once('close', () => {
      stopPing()
      this.#sessions.delete(session)
      this.#onLost(member, problem === null ? 'the public end closed the connection' : problem.message, problem)
    })
  }

  #onLost(member: Member, reason: string, error: Error | null): void {
    if (this.state === 'STOP') return
    const before = this.size
    this.#preconnector.onLost(member, reason, error, backgroundClock.now())
    this.#ledger.lost += before - this.size
    this.#pump()
  }

  #onStream(stream: ServerHttp2Stream, headers: IncomingHttpHeaders, raw: readonly string[] | undefined): void {
    const ledger = this.#ledger
    ledger.requests += 1
    ledger.requestsOpen += 1
    stream.on('error', () => {})
    stream.once('close', () => {
      ledger.requestsOpen -= 1
      if (stream.aborted || stream.rstCode !== constants.NGHTTP2_NO_ERROR) ledger.requestsFailed += 1
    })
    const fail = (): void => {
      if (!stream.closed) stream.close(constants.NGHTTP2_INTERNAL_ERROR)
    }
    try {
      void Promise.resolve(this.#handler(stream, headers, raw ?? [])).catch(fail)
    } catch {
      fail()
    }
  }
}

/** GOAWAY, and the end of what is under way; not for ever. */
export function drained(session: { closed: boolean; destroyed: boolean; close(): void; destroy(): void; once(event: 'close', run: () => void): unknown }, drainMs: number): Promise<void> {
  if (session.destroyed) return Promise.resolve()
  return new Promise((resolve) => {
    const stop = REAL_TIME.after(drainMs, () => session.destroy())
    session.once('close', () => {
      stop()
      resolve()
    })
    if (!session.closed) session.close()
  })
}
