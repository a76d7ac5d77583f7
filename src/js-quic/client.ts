/** js-quic's client: one connection, on a socket of its own or a shared one, and the end of both together. */
import { clientConfig, clientOptions, converters } from './config.ts'
import { cancellable } from './cancellable.ts'
import type { PromiseCancellable, TimedContext } from './cancellable.ts'
import { QUICConnection } from './connection.ts'
import { connectError } from './ends.ts'
import { ErrorQUICClientCreateTimeout, ErrorQUICClientInvalidHost, ErrorQUICClientSocketNotRunning } from './errors.ts'
import type { ErrorQUICConnection } from './errors.ts'
import { QUICEventTarget, adopt, emit } from './event-target.ts'
import { EventQUICClientClose, EventQUICClientDestroy, EventQUICClientDestroyed, EventQUICClientError, EventQUICConnectionClose } from './events.ts'
import { QUICSocket, reachable } from './socket.ts'
import type { FacadeLogger, QUICClientOptions, StopOptions } from './types.ts'
import { buildAddress, promise, resolveHost, resolvesZeroIP, toPort } from './utils.ts'

interface ClientOrigin { socket: QUICSocket; isSocketShared: boolean; connection: QUICConnection; logger: FacadeLogger | undefined }

export class QUICClient extends QUICEventTarget {
  /**
   * Resolves when the handshake is complete. `timer`: milliseconds.
   * @throws (reject) ErrorQUICConfig ErrorQUICConnectionConfigInvalid ErrorQUICHostInvalid ErrorQUICPortInvalid ErrorQUICClientInvalidHost ErrorQUICClientSocketNotRunning
   * ErrorQUICClientCreateTimeout ErrorQUICSocketInvalidBindAddress ErrorQUICConnection…, the reason of the signal or of `cancel()`
   */
  static createQUICClient(options: QUICClientOptions, context: TimedContext = {}): PromiseCancellable<QUICClient> {
    const late = (): Error => new ErrorQUICClientCreateTimeout(`no connection with ${buildAddress(options.host, options.port)} in time`)
    return cancellable(context, late, (signal) => create(options, signal))
  }

  readonly isSocketShared: boolean
  readonly connection: QUICConnection
  readonly closedP: Promise<void>
  readonly #origin: ClientOrigin
  readonly #closed = promise()
  readonly #localHost: string
  readonly #localPort: number
  #isClosed = false
  #destroying: Promise<void> | null = null

  constructor(origin: ClientOrigin) {
    super()
    this.#origin = origin
    this.isSocketShared = origin.isSocketShared
    this.connection = origin.connection
    this.closedP = this.#closed.p
    this.#localHost = origin.socket.host
    this.#localPort = origin.socket.port
    if (!origin.isSocketShared) adopt(origin.socket, this)
    adopt(origin.connection, this)
    origin.connection.addEventListener(EventQUICConnectionClose.name, ({ detail }: EventQUICConnectionClose) => this.#onConnectionEnd(detail), { once: true })
  }

  /** The server's. */
  get host(): string {
    return this.connection.remoteHost
  }

  get port(): number {
    return this.connection.remotePort
  }

  /** The socket's. */
  get localHost(): string {
    return this.#localHost
  }

  get localPort(): number {
    return this.#localPort
  }

  get closed(): boolean {
    return this.#isClosed
  }

  /** Stops the connection, then the socket if it is its own. A second call waits for the first. */
  destroy(options: StopOptions = {}): Promise<void> {
    this.#destroying ??= this.#destroy(options)
    return this.#destroying
  }

  async #destroy(options: StopOptions): Promise<void> {
    emit(this, new EventQUICClientDestroy())
    await this.connection.stop(options)
    if (!this.isSocketShared) await this.#origin.socket.stop({ force: true })
    this.#closed.resolveP()
    emit(this, new EventQUICClientDestroyed())
    this.#origin.logger?.info?.('Destroyed QUICClient')
  }

  #onConnectionEnd(error: ErrorQUICConnection): void {
    this.#isClosed = true
    emit(this, new EventQUICClientClose({ detail: error }))
    emit(this, new EventQUICClientError({ detail: error }))
    void this.destroy()
  }
}

async function create(options: QUICClientOptions, signal: AbortSignal): Promise<QUICClient> {
  const { host, port, serverName = host, localHost, localPort, reuseAddr, ipv6Only, resolveHostname, logger, config: given = {}, socket: shared } = options
  const config = clientConfig(given)
  const terms = clientOptions(config)
  signal.throwIfAborted()
  const [address, family] = await resolveHost(host, resolveHostname)
  const target = toPort(port)
  if (shared !== undefined && !shared.running) throw new ErrorQUICClientSocketNotRunning('start the shared socket first')
  if (shared !== undefined && config.logKeys !== undefined) logger?.warn?.('logKeys of a client on a shared socket has no effect; pass logKeys to the socket')
  const socket = shared ?? new QUICSocket({ resolveHostname, logger, logKeys: config.logKeys })
  await (shared === undefined ? socket.start(defined({ host: localHost, port: localPort, reuseAddr, ipv6Only })) : undefined)
  try {
    const remote = buildAddress(reachable(socket.type, resolvesZeroIP(address), family, ErrorQUICClientInvalidHost), target)
    const inner = await socket.endpoint.connect(remote, { ...terms, serverName, signal })
    const connection = new QUICConnection({ inner, config, ...converters(options), logger })
    return new QUICClient({ socket, isSocketShared: shared !== undefined, connection, logger })
  } catch (error) {
    if (shared === undefined) await socket.stop({ force: true })
    throw connectError(error)
  }
}

/** Without the fields that nobody gave. */
function defined<T extends object>(options: { [K in keyof T]: T[K] | undefined }): T {
  return Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined)) as T
}
