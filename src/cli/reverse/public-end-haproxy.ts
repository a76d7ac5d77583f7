/** The public end for HAProxy's dialler and others that speak HTTP/2 the other way round: sessions on TCP connections that private ends dialled. */
import { reverseHttp2Listen } from '../../reverse/index.ts'
import type { HttpFrontOptions, ReverseHttp2Listener, ReverseHttp2ListenOptions } from '../../reverse/index.ts'
import type { BidirectionalStream } from '../../index.ts'
import { nowMs } from '../clock.ts'
import { usageError } from '../exit.ts'
import { readCertificates } from '../identity.ts'
import type { Identity } from '../identity.ts'
import type { PoolEvent } from './listen-log.ts'
import type { ListenValues } from './listen.ts'
import type { PublicEnd } from './public-end.ts'

/** @throws as `reverseHttp2Listen` */
export async function openHaproxyPublicEnd(values: ListenValues, own: Identity): Promise<PublicEnd> {
  return new HaproxyEnd(await reverseHttp2Listen({ local: values.listen, ...await identities(values, own) }), values)
}

class HaproxyEnd implements PublicEnd {
  readonly #listener: ReverseHttp2Listener
  readonly #wait: number

  constructor(listener: ReverseHttp2Listener, { wait }: ListenValues) {
    this.#listener = listener
    this.#wait = wait
  }

  get local(): readonly string[] {
    return this.#listener.local
  }

  get ways(): Pick<HttpFrontOptions, 'open' | 'session'> {
    return { session: (key, { signal }) => this.#listener.session(key, { signal, waitForMs: this.#wait }) }
  }

  now(): number {
    return nowMs()
  }

  watch(tell: (event: PoolEvent) => void): void {
    this.#listener.events$.subscribe(({ type, key, remote, reason, size }) => {
      tell({ type, service: key, key, remote, text: reason, reason: null, size })
    })
  }

  expose(): void {
    // There is no endpoint; `--metrics` is refused.
  }

  request(): Promise<BidirectionalStream> {
    return Promise.reject(usageError('--proto h2-haproxy has no --tcp'))
  }

  async register(): Promise<null> {
    return null
  }

  summary(): object {
    const { accepted, refused, closed } = this.#listener.statistics()
    return { accepted, refused: Object.values(refused).reduce((sum, count) => sum + count, 0), closed }
  }

  async close(options: { drainMs: number }): Promise<void> {
    await this.#listener.close(options)
  }
}

/** Without TLS, whoever reaches the port is the one service. */
async function identities({ plain, clientCa = [], allowService }: ListenValues, { cert, key }: Identity): Promise<Omit<ReverseHttp2ListenOptions, 'local'>> {
  if (plain === true) return { tls: 'plain', ...(allowService?.[0] === undefined ? {} : { service: allowService[0] }) }
  const ca = await Promise.all(clientCa.map((file) => readCertificates('--client-ca', file)))
  const allowed = allowService === undefined ? null : new Set(allowService)
  return { tls: { cert, key, ca }, ...(allowed === null ? {} : { poolKey: (identity) => identity?.names.find((name) => allowed.has(name)) }) }
}
