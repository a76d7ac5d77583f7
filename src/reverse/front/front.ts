/**
 * `HttpFront`: the public side of reverse connections for browsers and other clients of HTTP (api.md §2.9). Chooses the service of a request;
 * ports are in `ports.ts`, requests in `gateway.ts`.
 */
import { checkCall, invalidOption } from '../../config/index.ts'
import type { Observable } from '../../config/index.ts'
import { hostName } from './fields.ts'
import { Gateway } from './gateway.ts'
import type { Inbound } from './inbound.ts'
import { checkFront } from './options.ts'
import type { CheckedFront, FrontRequest, FrontStatistics, HttpFrontOptions } from './options.ts'
import type { Failure } from './page.ts'
import { Ports } from './ports.ts'

export class HttpFront implements AsyncDisposable {
  readonly #choice: CheckedFront
  readonly #gateway: Gateway
  readonly #ports: Ports
  #closing: Promise<void> | null = null

  /** Binds, and serves from then on. @throws QB_OPTION_INVALID QB_OPTION_UNKNOWN QB_BIND_FAILED QB_TLS_IDENTITY */
  static async listen(options: HttpFrontOptions): Promise<HttpFront> {
    const front = new HttpFront(checkFront(options))
    await front.#ports.listen(front.#choice)
    return front
  }

  private constructor(choice: CheckedFront) {
    this.#choice = choice
    const { open, session, limits, forwarded, name } = choice
    this.#gateway = new Gateway({ ...(open === null ? {} : { open }), ...(session === null ? {} : { session }), limits, forwarded, name })
    const { ledger } = this.#gateway
    const choose = (inbound: Inbound): string | Failure => this.#serviceOf(inbound)
    this.#ports = new Ports(choice, {
      onRequest: (request, response) => this.#gateway.onRequest(request, response, choose),
      onUpgrade: (request, socket, head) => this.#gateway.onUpgrade(request, socket, head, choose),
      onStream: (stream, headers, rawHeaders) => this.#gateway.onStream(stream, headers, rawHeaders, choose),
      onFailed: (name) => ledger.failed(name),
      onConnections: (count) => void (ledger.connections = count),
    })
  }

  /** Really bound, without TLS. */
  get http(): readonly string[] {
    return this.#ports.plain
  }

  /** Really bound, with TLS. */
  get https(): readonly string[] {
    return this.#ports.secure
  }

  /** Requests that have ended. [H0] tick */
  get requests$(): Observable<FrontRequest> {
    return this.#gateway.requests$
  }

  /** [H1] sample */
  get metrics$(): Observable<FrontStatistics> {
    return this.#gateway.metrics$
  }

  statistics(): FrontStatistics {
    return this.#gateway.statistics()
  }

  /** The same numbers as Prometheus text, names `quicbraid_front_*`. */
  prometheus(): string {
    return this.#gateway.prometheus()
  }

  /** Nobody comes any more; requests have `drainMs` to end. Again: the same promise. @throws QB_OPTION_INVALID QB_OPTION_UNKNOWN */
  close(options: { drainMs?: number } = {}): Promise<void> {
    checkCall(options, ['drainMs'])
    const { drainMs = 0 } = options
    if (typeof drainMs !== 'number' || !(drainMs >= 0)) throw invalidOption('drainMs', drainMs, 'a number of milliseconds')
    this.#closing ??= this.#close(drainMs)
    return this.#closing
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  async #close(drainMs: number): Promise<void> {
    this.#ports.stop()
    await this.#gateway.close({ drainMs })
    this.#ports.destroy()
  }

  /** TLS name, then host, then what is there for all others. */
  #serviceOf({ serverName, host }: Inbound): string | Failure {
    const { keyFromSni, keyFromHost, service } = this.#choice
    try {
      const [sni, name] = [serverName?.toLowerCase() ?? null, hostName(host)]
      const bySni = sni === null ? undefined : keyFromSni(sni)
      const byHost = host === '' ? undefined : keyFromHost(name)
      // A browser may use one connection for all names of a certificate (RFC 9113 §9.1.1); it asks again on another.
      const there = host === '' || name === sni ? byHost : (byHost ?? keyFromSni(name) ?? service())
      if (bySni !== undefined && there !== undefined && bySni !== there) return { status: 421, reason: 'no-service', text: 'This connection is for another service; open one for this host.' }
      const key = bySni ?? byHost ?? service()
      if (typeof key === 'string') return key
      if (key !== undefined) throw new TypeError('not a key')
    } catch {
      return { status: 500, reason: 'no-service', text: 'Which service this is for could not be told.' }
    }
    return { status: 404, reason: 'no-service', text: 'There is no service for this host.' }
  }
}
