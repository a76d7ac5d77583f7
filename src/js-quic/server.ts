/** js-quic's server: accepts connections on a socket of its own or a shared one, tells each as an event when its handshake is complete, and stops them with itself. */
import type { Connection, Endpoint } from '../index.ts'
import { converters, serverConfig, serverOptions } from './config.ts'
import { QUICConnection } from './connection.ts'
import { connectError } from './ends.ts'
import { ErrorQUICServer, ErrorQUICServerSocketNotRunning } from './errors.ts'
import { QUICEventTarget, adopt, emit } from './event-target.ts'
import {
  EventQUICConnectionStart, EventQUICConnectionStarted, EventQUICServerClose, EventQUICServerConnection, EventQUICServerError, EventQUICServerStart, EventQUICServerStarted, EventQUICServerStop,
  EventQUICServerStopped, EventQUICSocketStopped,
} from './events.ts'
import { QUICSocket } from './socket.ts'
import type { CodeToReason, QUICConfig, QUICServerConfigInput, QUICServerOptions, ReasonToCode, SocketAddressOptions, StopOptions } from './types.ts'
import { buildAddress, promise } from './utils.ts'

/** Sockets whose server side is taken. */
const taken = new WeakSet<QUICSocket>()

export class QUICServer extends QUICEventTarget {
  readonly isSocketShared: boolean
  /** For connections to come. */
  reasonToCode: ReasonToCode | undefined
  codeToReason: CodeToReason | undefined
  /** Limit of the handshake of connections to come, milliseconds. */
  minIdleTimeout: number | undefined
  readonly #options: QUICServerOptions
  readonly #socket: QUICSocket
  readonly #connections = new Set<QUICConnection>()
  #config: QUICConfig
  #changing: Promise<void> = Promise.resolve()
  /** Ends the loop over newcomers; null while nothing is accepted. */
  #loop: AbortController | null = null
  #closed = promise()

  constructor(options: QUICServerOptions) {
    super()
    const { config, logger, reasonToCode, codeToReason, minIdleTimeout, resolveHostname, socket } = options
    this.#options = options
    this.#config = serverConfig(config)
    this.reasonToCode = reasonToCode
    this.codeToReason = codeToReason
    this.minIdleTimeout = minIdleTimeout
    this.isSocketShared = socket !== undefined
    this.#socket = socket ?? new QUICSocket({ resolveHostname, logger, logKeys: config.logKeys })
    if (socket === undefined) adopt(this.#socket, this)
    else if (config.logKeys !== undefined) logger?.warn?.('logKeys of a server on a shared socket has no effect; pass logKeys to the socket')
  }

  /** @throws ErrorQUICSocketNotRunning */
  get host(): string {
    return this.#socket.host
  }

  /** @throws ErrorQUICSocketNotRunning */
  get port(): number {
    return this.#socket.port
  }

  /** The endpoint of this package. @throws ErrorQUICSocketNotRunning */
  get endpoint(): Endpoint {
    return this.#socket.endpoint
  }

  get running(): boolean {
    return this.#loop !== null
  }

  get closed(): boolean {
    return this.#loop === null
  }

  get closedP(): Promise<void> {
    return this.#closed.p
  }

  /** The address has no effect on a shared socket. @throws ErrorQUICServerSocketNotRunning ErrorQUICServer ErrorQUICConfig, as `QUICSocket.start` */
  start(options: SocketAddressOptions = {}): Promise<void> {
    return this.#change(async () => {
      if (this.#loop !== null) return
      emit(this, new EventQUICServerStart())
      if (!this.isSocketShared) await this.#socket.start(options)
      else if (!this.#socket.running) throw new ErrorQUICServerSocketNotRunning('start the shared socket first')
      try {
        this.#listen()
      } catch (error) {
        if (!this.isSocketShared) await this.#socket.stop({ force: true })
        throw error
      }
      this.#options.logger?.info?.(`Started QUICServer on ${buildAddress(this.host, this.port)}`)
      emit(this, new EventQUICServerStarted())
    })
  }

  /** Accepts nobody any more, stops the connections, then the socket if it is its own. */
  stop(options: StopOptions = {}): Promise<void> {
    return this.#change(async () => {
      if (this.#loop === null) return
      emit(this, new EventQUICServerStop())
      await this.#end(options, undefined)
      emit(this, new EventQUICServerStopped())
      this.#options.logger?.info?.('Stopped QUICServer')
    })
  }

  /** For connections to come; the others keep what they have. @throws ErrorQUICConfig */
  updateConfig(config: Partial<QUICServerConfigInput>): void {
    const next = { ...this.#config, ...config }
    const options = serverOptions(next, this.minIdleTimeout)
    if (this.#loop !== null) rethrown(() => this.endpoint.listen(options))
    this.#config = next
  }

  /** No effect: nothing of it is used. */
  updateCrypto(_crypto: object): void {
    // Tokens are made natively.
  }

  #listen(): void {
    const options = serverOptions(this.#config, this.minIdleTimeout)
    if (taken.has(this.#socket)) throw new ErrorQUICServer('the shared socket has a server already')
    const { endpoint } = this.#socket
    rethrown(() => endpoint.listen(options))
    taken.add(this.#socket)
    const loop = new AbortController()
    this.#loop = loop
    this.#closed = promise()
    void this.#accept(endpoint.incoming({ signal: loop.signal }))
    this.#socket.addEventListener(EventQUICSocketStopped.name, () => { void this.#onSocketStopped() }, { once: true, signal: loop.signal })
  }

  async #accept(incoming: AsyncIterable<Connection>): Promise<void> {
    try {
      for await (const inner of incoming) this.#onConnection(inner)
    } catch (error) {
      // Stopped: the loop's signal.
      if (this.#loop !== null && !this.#loop.signal.aborted) this.#options.logger?.error?.(`QUICServer: ${String(error)}`)
    }
  }

  #onConnection(inner: Connection): void {
    const connection = new QUICConnection({ inner, config: this.#config, ...converters(this), logger: this.#options.logger })
    this.#connections.add(connection)
    void connection.closedP.then(() => this.#connections.delete(connection))
    adopt(connection, this)
    emit(connection, new EventQUICConnectionStart())
    emit(connection, new EventQUICConnectionStarted())
    emit(this, new EventQUICServerConnection({ detail: connection }))
  }

  async #end(options: StopOptions, error: ErrorQUICServerSocketNotRunning | undefined): Promise<void> {
    this.#loop?.abort()
    this.#loop = null
    taken.delete(this.#socket)
    if (this.#socket.running) this.endpoint.unlisten()
    await Promise.all([...this.#connections].map((connection) => connection.stop(options)))
    emit(this, new EventQUICServerClose({ detail: error }))
    if (!this.isSocketShared) await this.#socket.stop({ force: true })
    this.#closed.resolveP()
  }

  /** Under us. */
  #onSocketStopped(): Promise<void> {
    return this.#change(async () => {
      if (this.#loop === null) return
      const error = new ErrorQUICServerSocketNotRunning('the socket was stopped before the server')
      emit(this, new EventQUICServerStop())
      await this.#end({}, error)
      emit(this, new EventQUICServerError({ detail: error }))
      emit(this, new EventQUICServerStopped())
    })
  }

  /** One after the other. */
  #change(act: () => Promise<void>): Promise<void> {
    const next = this.#changing.then(act)
    this.#changing = next.catch(() => {})
    return next
  }
}

/** @throws js-quic's error in the place of ours */
function rethrown(act: () => void): void {
  try {
    act()
  } catch (error) {
    throw connectError(error)
  }
}

