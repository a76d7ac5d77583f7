/** The private end towards HAProxy: HTTP/2 requests on TCP connections that we dial, handed on to the target as HTTP/1.1. */
import type { ConnectionOptions } from '../../index.ts'
import { Gateway, reverseHttp2Connect } from '../../reverse/index.ts'
import type { FrontRequest, ReverseHttp2Dialler, ReverseHttp2Tls } from '../../reverse/index.ts'
import { nowMs } from '../clock.ts'
import type { DialLog } from './dial-log.ts'
import type { DialValues } from './dial.ts'
import { dialTarget } from './join.ts'
import { CONNECT_MS, TARGET_MS } from './private-end.ts'
import type { PrivateEnd, StateChanges } from './private-end.ts'

export async function openHaproxy(to: string, values: DialValues, trust: ConnectionOptions): Promise<PrivateEnd> {
  return new HaproxyEnd(to, values, trust)
}

class HaproxyEnd implements PrivateEnd {
  readonly #to: string
  readonly #values: DialValues
  readonly #tls: ReverseHttp2Tls | 'plain'
  readonly #gateway: Gateway
  #log: DialLog | null = null
  #dialler: ReverseHttp2Dialler | null = null
  /** Errno of the last dial of the target, null: it answered. */
  #down: string | null = null

  constructor(to: string, values: DialValues, { ca, cert, key, serverName, verify }: ConnectionOptions) {
    this.#to = to
    this.#values = values
    this.#tls = values.plain === true ? 'plain' : {
      ...(ca === undefined ? {} : { ca }), ...(cert === undefined ? {} : { cert }), ...(key === undefined ? {} : { key }),
      ...(serverName === undefined ? {} : { serverName }), ...(verify === 'none' ? { verify } : {}),
    }
    // The public end has said who asks.
    this.#gateway = new Gateway({
      forwarded: 'append',
      open: async (_, { head, signal }) => {
        const socket = await this.#dialTarget(signal)
        socket.write(head)
        return socket
      },
    })
  }

  now(): number {
    return nowMs()
  }

  expose(): void {
    // There is no endpoint; `--metrics` is refused.
  }

  dial(log: DialLog): StateChanges {
    const { service, pool, retry, ping, connectTimeout } = this.#values
    this.#log = log
    this.#gateway.requests$.subscribe((request) => this.#onRequest(request))
    this.#dialler = reverseHttp2Connect({ to: this.#to, tls: this.#tls, pool, retry, connectTimeoutMs: connectTimeout ?? CONNECT_MS, pingMs: ping }, (stream, headers, rawHeaders) => {
      log.begins()
      this.#gateway.stream(service, stream, headers, rawHeaders)
    })
    return this.#dialler.state$
  }

  async stop(options: { drainMs: number }): Promise<void> {
    await this.#dialler?.stop(options)
  }

  async close(): Promise<void> {
    await this.#gateway.close()
  }

  async #dialTarget(signal: AbortSignal): ReturnType<typeof dialTarget> {
    try {
      const socket = await dialTarget(this.#values.target, TARGET_MS, signal)
      this.#down = null
      return socket
    } catch (error) {
      if (!signal.aborted) this.#down = (error as NodeJS.ErrnoException).code ?? 'unreachable'
      throw error
    }
  }

  #onRequest({ status, bytesUp, bytesDown, ms, remote, reason }: FrontRequest): void {
    const down = reason === 'upstream' && status === 502 ? this.#down : null
    this.#log?.request(remote, { ok: reason === null, reason: down === null ? reason : 'connect', why: down, bytesUp, bytesDown, ms })
  }
}
