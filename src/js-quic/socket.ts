/**
 * js-quic's socket: an endpoint of this package, shared by any number of clients and one server, or owned by one of them.
 * `::` is both families, on one port.
 */
import { Endpoint, isQuicbraidError } from '../index.ts'
import type { EndpointOptions } from '../index.ts'
import { splitAddress } from './connection.ts'
import { ErrorQUICSocket, ErrorQUICSocketConnectionsActive, ErrorQUICSocketInvalidBindAddress, ErrorQUICSocketInvalidSendAddress, ErrorQUICSocketNotRunning } from './errors.ts'
import { QUICEventTarget, emit } from './event-target.ts'
import { EventQUICSocketClose, EventQUICSocketStart, EventQUICSocketStarted, EventQUICSocketStop, EventQUICSocketStopped } from './events.ts'
import type { QUICSocketOptions, SocketAddressOptions } from './types.ts'
import { buildAddress, isAnyIPv6, isIPv6, mappedIPv4, promise, resolveHost, resolveHostname, toPort } from './utils.ts'
import type { Family } from './utils.ts'

export type SocketType = 'ipv4' | 'ipv6' | 'ipv4&ipv6'

interface Bound { endpoint: Endpoint; host: string; port: number; type: SocketType }

export class QUICSocket extends QUICEventTarget {
  readonly #options: QUICSocketOptions
  #bound: Bound | null = null
  #changing: Promise<void> = Promise.resolve()
  #closed = promise()

  constructor(options: QUICSocketOptions = {}) {
    super()
    this.#options = options
  }

  get running(): boolean {
    return this.#bound !== null
  }

  get closed(): boolean {
    return this.#bound === null
  }

  get closedP(): Promise<void> {
    return this.#closed.p
  }

  /** The endpoint of this package. @throws ErrorQUICSocketNotRunning */
  get endpoint(): Endpoint {
    return this.#running().endpoint
  }

  /** The address it is bound to, never a name. @throws ErrorQUICSocketNotRunning */
  get host(): string {
    return this.#running().host
  }

  /** Never 0. @throws ErrorQUICSocketNotRunning */
  get port(): number {
    return this.#running().port
  }

  /** @throws ErrorQUICSocketNotRunning */
  get type(): SocketType {
    return this.#running().type
  }

  /** @throws ErrorQUICSocketInvalidBindAddress ErrorQUICHostInvalid ErrorQUICPortInvalid */
  start(options: SocketAddressOptions = {}): Promise<void> {
    return this.#change(async () => {
      if (this.#bound !== null) return
      emit(this, new EventQUICSocketStart())
      this.#bound = await this.#bind(options)
      this.#closed = promise()
      this.#options.logger?.info?.(`Started QUICSocket on ${buildAddress(this.host, this.port)}`)
      emit(this, new EventQUICSocketStarted())
    })
  }

  /** `force`: also with connections, which it ends. @throws ErrorQUICSocketConnectionsActive */
  stop({ force = false }: { force?: boolean } = {}): Promise<void> {
    return this.#change(async () => {
      if (this.#bound === null) return
      const { endpoint } = this.#bound
      const { size } = endpoint.connections
      if (!force && size > 0) throw new ErrorQUICSocketConnectionsActive(`the socket has ${size} connections; stop them first, or pass force: true`)
      emit(this, new EventQUICSocketStop())
      await endpoint.close({ code: 1, drainMs: 0 })
      this.#bound = null
      emit(this, new EventQUICSocketClose())
      this.#closed.resolveP()
      emit(this, new EventQUICSocketStopped())
      this.#options.logger?.info?.('Stopped QUICSocket')
    })
  }

  /** One datagram that is not QUIC (a punch): it begins with a byte below 0x40. Resolves with its bytes when it was handed to the socket. @throws ErrorQUICSocketNotRunning ErrorQUICSocketInvalidSendAddress ErrorQUICPortInvalid, ErrorQUICSocket for what looks like QUIC or does not fit */
  send(message: string | Uint8Array, port: number, address: string): Promise<number>
  /** `length` bytes of the message, from `offset` on. */
  send(message: string | Uint8Array, offset: number, length: number, port: number, address: string): Promise<number>
  async send(message: string | Uint8Array, ...where: readonly (number | string)[]): Promise<number> {
    const { type } = this.#running()
    const [offset, length, port, address] = where.length > 2 ? where : [0, undefined, ...where]
    const whole = typeof message === 'string' ? Buffer.from(message) : message
    const start = Number(offset)
    const bytes = whole.subarray(start, length === undefined ? undefined : start + Number(length))
    const [host, family] = await resolveHost(String(address), this.#options.resolveHostname)
    const target = buildAddress(reachable(type, host, family, ErrorQUICSocketInvalidSendAddress), toPort(Number(port)))
    try {
      this.#running().endpoint.sendRaw(target, bytes)
    } catch (cause) {
      if (!isQuicbraidError(cause)) throw cause
      throw new ErrorQUICSocket(`send() to ${target}: ${cause.message}`, { cause })
    }
    return bytes.length
  }

  #running(): Bound {
    if (this.#bound === null) throw new ErrorQUICSocketNotRunning('start the socket first')
    return this.#bound
  }

  /** One after the other. */
  #change(act: () => Promise<void>): Promise<void> {
    const next = this.#changing.then(act)
    this.#changing = next.catch(() => {})
    return next
  }

  async #bind({ host = '::', port = 0, reuseAddr = false, ipv6Only = false }: SocketAddressOptions): Promise<Bound> {
    const [asked, family] = await resolveHost(host, this.#options.resolveHostname ?? resolveHostname)
    const wanted = toPort(port)
    const { logKeys } = this.#options
    const options: EndpointOptions = { ...(reuseAddr ? { reusePort: true } : {}), ...(logKeys === undefined ? {} : { keylog: logKeys }) }
    if (ipv6Only && family === 'udp4') throw new ErrorQUICSocketInvalidBindAddress(`${host} is IPv4, and ipv6Only is set`)
    try {
      if (isAnyIPv6(asked) && !ipv6Only) return await bindBoth(wanted, options)
      const mapped = mappedIPv4(asked)
      const endpoint = await Endpoint.bind({ ...options, local: buildAddress(mapped ?? asked, wanted) })
      const local = splitAddress(endpoint.local[0] ?? '')
      return { endpoint, host: mapped === null ? local.host : `::ffff:${mapped}`, port: local.port, type: family === 'udp4' || mapped !== null ? 'ipv4' : 'ipv6' }
    } catch (cause) {
      throw new ErrorQUICSocketInvalidBindAddress(`cannot bind ${host === asked ? host : `${host} (${asked})`}, port ${wanted}`, { cause })
    }
  }
}

/** Both wildcards on one port. */
async function bindBoth(wanted: number, options: EndpointOptions): Promise<Bound> {
  const endpoint = await Endpoint.bind({ ...options, local: [`[::]:${wanted}`, `0.0.0.0:${wanted}`] })
  return { endpoint, host: '::', port: splitAddress(endpoint.local[0] ?? '').port, type: 'ipv4&ipv6' }
}

/** The address to send to, for a socket of this type; mapped addresses become what they stand for. @throws an error of `Refusal` */
export function reachable(type: SocketType, host: string, family: Family, Refusal: new (message: string) => Error): string {
  const mapped = mappedIPv4(host)
  const isOld = family === 'udp4' || mapped !== null
  if (type !== 'ipv4&ipv6' && (type === 'ipv4') !== isOld) throw new Refusal(`${host} cannot be reached from a socket for ${type} only`)
  return isOld && isIPv6(host) ? (mapped ?? host) : host
}
