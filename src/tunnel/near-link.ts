/**
 * The life of one client tunnel, whatever it carries: dials, asks, dials again, ends (tunnel.md §2, §4a, T61). What is joined to the connection is
 * the concern of its work: TCP in `near.ts`, UDP in `near-udp.ts`.
 *
 *   opening ──first answer──▶ open ──connection lost──▶ away ──dialled again──▶ open
 *      │ failed                 │ close()                │ gave up, or no `reconnect`
 *      └──────────────────────▶ closing ──nothing joined──▶ closed
 */
import { Backoff, deferHandled } from '../config/index.ts'
import type { Cancel, ConnectionOptions, Deferred, Timing } from '../config/index.ts'
import type { CloseInfo, Connection } from '../connection/index.ts'
import { ServiceError } from '../errors/index.ts'
import type { BidirectionalStream } from '../stream/index.ts'
import { writeAll } from './bridge.ts'
import { TunnelCode, tunnelError } from './codes.ts'
import type { BridgeReason } from './codes.ts'
import type { Ledger } from './ledger.ts'
import type { CheckedConnect } from './options.ts'
import { ACCEPT, RequestKind, encodeRequest } from './request.ts'

/** How long a connection that is closed in order may take. */
const DRAIN_MS = 500

/** What client tunnels share. */
export interface LinkOwner {
  readonly ledger: Ledger
  readonly timing: Timing
  connect(remote: string, pseudoPort: number, options: ConnectionOptions, signal: AbortSignal): Promise<Connection>
  random(): number
}

/** What a tunnel does with its connection. */
export interface LinkWork {
  /** Asked first on each connection. */
  readonly hello: RequestKind
  /** Joined or being joined. */
  readonly size: number
  /** There is a connection, or it has been agreed to: joins what waits. */
  pump(): void
  /** On each connection, when the server has agreed. @throws when it is of no use */
  agreed(connection: Connection): void
  /** Accepts nobody any more, and lets those go who wait. */
  stop(reason: BridgeReason): void
  /** Ends what is joined, at once. */
  cut(code: bigint, reason: BridgeReason): void
  /** The connection is gone. What is joined hears of it by its stream, and goes on if that is complete. */
  lost(): void
  /** A stream for the goodbye; null: none is needed, since nothing can be lost by an end. */
  parting(connection: Connection, signal: AbortSignal): Promise<BidirectionalStream> | null
  /** Everything has ended; once. */
  over(): void
}

export class NearLink {
  readonly #id: number
  readonly #pseudoPort: number
  readonly #owner: LinkOwner
  readonly #options: CheckedConnect
  readonly #work: LinkWork
  readonly #opened: Deferred<void> = deferHandled()
  readonly #closed: Deferred<{ error: Error | null }> = deferHandled()
  readonly #backoff: Backoff | null
  #state: 'opening' | 'open' | 'away' | 'closing' | 'closed' = 'opening'
  #connection: Connection | null = null
  /** Ends the attempt to connect that is under way. */
  #attempt: AbortController | null = null
  #stopPause: Cancel = () => {}
  /** Why the tunnel ends. */
  #endWith: Error | null = null
  #forced = false
  /** The server has said yes, so that a goodbye makes sense. */
  #agreed = false
  #parting: AbortController | null = null
  #parted = false
  /** Code of the error by which it was told lost. */
  #lostBy: unknown = null

  constructor(id: number, pseudoPort: number, options: CheckedConnect, owner: LinkOwner, work: LinkWork) {
    this.#id = id
    this.#pseudoPort = pseudoPort
    this.#options = options
    this.#owner = owner
    this.#work = work
    this.#backoff = options.reconnect === null ? null : new Backoff(options.reconnect, () => owner.random())
  }

  get opened(): Promise<void> {
    return this.#opened.promise
  }

  get closed(): Promise<{ error: Error | null }> {
    return this.#closed.promise
  }

  /** Null while there is none. */
  get connection(): Connection | null {
    return this.#connection
  }

  /** It neither ends nor has ended. */
  get lives(): boolean {
    return this.#state !== 'closing' && this.#state !== 'closed'
  }

  /** Streams may be joined: the server is asked, or has agreed. */
  get joins(): boolean {
    return this.#state === 'open' || this.#state === 'opening'
  }

  /** Begins to dial. False: it was closed meanwhile. */
  start(): boolean {
    if (this.#state !== 'opening') return false
    void this.#dial()
    return true
  }

  /** The first bytes of a stream. */
  request(kind: RequestKind): Uint8Array {
    const { port, host } = this.#options
    return encodeRequest({ kind, port, host })
  }

  /** Accepts nobody any more; what is joined goes on, or not. */
  close(how: 'gently' | 'by-force', error: Error | null = null): Promise<{ error: Error | null }> {
    if (this.#state === 'closed') return this.closed
    const first = this.#state !== 'closing'
    this.#state = 'closing'
    const why = error ?? new ServiceError('QB_TUNNEL_SHUTDOWN', `tunnel ${this.#id} was closed before it was open`, { by: 'local' })
    if (first) {
      this.#stopPause()
      this.#opened.reject(why)
      this.#endWith = error
      this.#work.stop(error === null ? 'shutdown' : 'connection')
    }
    if (how === 'by-force') {
      this.#work.cut(TunnelCode.SHUTDOWN, 'shutdown')
      this.#forced = true
      this.#parting?.abort()
    }
    // What is being joined already goes on, and ends with a goodbye if the server agrees.
    if (how === 'by-force' || this.#work.size === 0) this.#attempt?.abort(why)
    this.check()
    return this.closed
  }

  /** Something that was joined has ended: the tunnel may be over. */
  check(): void {
    if (this.#state !== 'closing' || this.#work.size > 0) return
    if (this.#connection !== null && this.#agreed && !this.#forced && !this.#parted) {
      if (this.#parting === null) void this.#part(this.#connection)
      return
    }
    this.#state = 'closed'
    const connection = this.#connection
    const over = (): void => {
      this.#owner.ledger.tellTunnel(this.#id, 'closed', this.#endWith?.message ?? '')
      this.#work.over()
      this.#closed.resolve({ error: this.#endWith })
    }
    if (connection === null) return over()
    void connection.close({ code: this.#forced ? TunnelCode.SHUTDOWN : TunnelCode.NONE, drainMs: DRAIN_MS }).then(over)
  }

  /** What was joined has ended here; the server says when it has handed everything on. Then the connection may end without loss. */
  async #part(connection: Connection): Promise<void> {
    const parting = new AbortController()
    this.#parting = parting
    try {
      const stream = await this.#work.parting(connection, parting.signal)
      if (stream !== null) {
        await writeAll(stream, this.request(RequestKind.GOODBYE))
        stream.end()
        await stream.bytes({ signal: parting.signal, maxBytes: 1 })
      }
    } catch {
      // By force, or the connection has ended: there is nothing more to wait for.
    }
    this.#parted = true
    this.check()
  }

  /** One attempt; what it becomes is told to `#onOpen` or `#onFailed`. */
  async #dial(): Promise<void> {
    const { ledger, timing } = this.#owner
    const { remote, timeoutMs, port } = this.#options
    const attempt = new AbortController()
    this.#attempt = attempt
    const since = ledger.now()
    let step = 'finding and reaching the server'
    const stop = timing.after(timeoutMs, () => attempt.abort(new ServiceError('QB_TUNNEL_TIMEOUT', `the tunnel to ${port === 0 ? '' : `port ${port} at `}${remote} was not open after ${timeoutMs} ms (timeoutMs); it got to: ${step}`)))
    ledger.tellTunnel(this.#id, 'connecting', remote)
    let connection: Connection | null = null
    try {
      connection = await this.#owner.connect(remote, this.#pseudoPort, this.#options.connection, attempt.signal)
      attempt.signal.throwIfAborted()
      step = 'asking the server'
      ledger.took('handshake', ledger.now() - since)
      await this.#ask(connection, attempt.signal)
      stop()
      this.#attempt = null
      this.#onOpen()
    } catch (error) {
      stop()
      this.#attempt = null
      await this.#onFailed(connection, error)
    }
  }

  /** The first request. Streams of bridges do not wait for its answer: the server does. */
  async #ask(connection: Connection, signal: AbortSignal): Promise<void> {
    const stream = await connection.openBidirectional({ signal })
    await writeAll(stream, this.request(this.#work.hello))
    stream.end()
    this.#connection = connection
    void connection.closed.then((info) => this.#onLost(connection, info))
    this.#work.pump()
    const answer = await stream.bytes({ signal, maxBytes: 1 })
    if (answer[0] !== ACCEPT) throw new ServiceError('QB_TUNNEL_BAD_INIT', `the server at ${this.#options.remote} answers something else than a tunnel's server`, { by: 'peer', errorCode: TunnelCode.BAD_INIT })
    this.#agreed = true
    this.#work.agreed(connection)
  }

  #onOpen(): void {
    if (this.#state !== 'opening' && this.#state !== 'away') return
    this.#state = 'open'
    this.#backoff?.reset()
    this.#opened.resolve()
    this.#owner.ledger.tellTunnel(this.#id, 'opened', this.#connection?.remote ?? '')
    this.#work.pump()
  }

  async #onFailed(connection: Connection | null, error: unknown): Promise<void> {
    const hasEnded = connection !== null && connection.state !== 'open'
    if (connection !== null && this.#connection !== connection) connection.destroy()
    const info = hasEnded ? await connection.closed : null
    const words = asError(info === null ? error : this.#why(info) ?? error)
    if (this.#state === 'closing' || this.#state === 'closed') return
    if (connection !== null && this.#connection === connection) {
      this.#connection = null
      this.#work.lost()
      connection.destroy()
    }
    this.#work.cut(TunnelCode.TCP, 'connection')
    if (this.#state === 'opening') return void this.close('gently', words)
    this.#tellLost(words)
    this.#retry(words)
  }

  #onLost(connection: Connection, info: CloseInfo): void {
    if (this.#connection !== connection) return
    this.#connection = null
    this.#work.lost()
    // While the first answer is awaited, that wait fails by itself.
    if (this.#state !== 'open') return
    this.#state = 'away'
    const error = asError(this.#why(info) ?? info.error ?? new ServiceError('QB_TUNNEL_SHUTDOWN', `the server has closed tunnel ${this.#id}`, { by: info.by }))
    this.#lostBy = null
    this.#tellLost(error)
    if (this.#backoff === null || (error as { code?: unknown }).code === 'QB_TUNNEL_REFUSED') return void this.close('gently', error)
    this.#retry(error)
  }

  /** Once, and again when an attempt fails for another reason. */
  #tellLost(error: Error): void {
    const code: unknown = (error as { code?: unknown }).code ?? 'other'
    if (code === this.#lostBy) return
    this.#lostBy = code
    this.#owner.ledger.tellTunnel(this.#id, 'lost', error.message)
  }

  #retry(error: Error): void {
    const ms = (error as { code?: unknown }).code === 'QB_TUNNEL_REFUSED' ? null : (this.#backoff?.next() ?? null)
    if (ms === null) return void this.close('gently', error)
    this.#stopPause = this.#owner.timing.after(ms, () => {
      this.#owner.ledger.reconnects += 1
      void this.#dial()
    })
  }

  #why(info: CloseInfo): Error | null {
    return info.layer === 'application' && info.by === 'peer' ? tunnelError(info.errorCode, this.#options.port, info.error ?? undefined) : info.error
  }
}

function asError(error: unknown): Error {
  return error instanceof Error ? error : new ServiceError('QB_TUNNEL_SHUTDOWN', String(error))
}
