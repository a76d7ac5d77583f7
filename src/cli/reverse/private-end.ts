/** The private end of either protocol as `dial` uses it, and that of QUIC. */
import { Endpoint } from '../../index.ts'
import type { BidirectionalStream, Connection, ConnectionOptions } from '../../index.ts'
import { reverseConnect } from '../../reverse/index.ts'
import type { ReverseDialler } from '../../reverse/index.ts'
import { proxyHeader } from '../../tunnel/inner.ts'
import { upTo } from '../clock.ts'
import type { MetricsServer } from '../metrics/index.ts'
import { observeOptions } from '../options.ts'
import { relayToken, relayTrust } from '../relay/index.ts'
import type { Terminal } from '../terminal.ts'
import type { DialLog, StateChange } from './dial-log.ts'
import type { DialValues } from './dial.ts'
import { joinTarget } from './join.ts'
import { addressText } from './parse.ts'

/** As an observable tells them. */
export interface StateChanges {
  subscribe(tell: (change: StateChange) => void): unknown
}

export interface PrivateEnd {
  now(): number
  expose(metrics: MetricsServer | null): void
  /** Begins; once. @throws QB_OPTION_INVALID */
  dial(log: DialLog): StateChanges
  /** No more dials; requests under way have their time. */
  stop(options: { drainMs: number }): Promise<void>
  close(): Promise<void>
}

/** From dial to accepted. */
export const CONNECT_MS = 5000
/** Patience with the target. */
export const TARGET_MS = 5000
const DRAIN_MS = 2000

/** @throws as `Endpoint.bind` */
export async function openQuic(to: string, values: DialValues, trust: ConnectionOptions, terminal: Terminal): Promise<PrivateEnd> {
  const traversal = await traversalOf(to, values, trust)
  return new QuicEnd(await Endpoint.bind(observeOptions(values, terminal)), to, values, { ...trust, ...traversal })
}

class QuicEnd implements PrivateEnd {
  readonly #endpoint: Endpoint
  readonly #to: string
  readonly #values: DialValues
  readonly #options: ConnectionOptions
  #metrics: MetricsServer | null = null
  #dialler: ReverseDialler | null = null

  constructor(endpoint: Endpoint, to: string, values: DialValues, options: ConnectionOptions) {
    this.#endpoint = endpoint
    this.#to = to
    this.#values = values
    this.#options = options
  }

  now(): number {
    return this.#endpoint.now()
  }

  expose(metrics: MetricsServer | null): void {
    this.#metrics = metrics
    metrics?.watch(this.#endpoint)
  }

  dial(log: DialLog): StateChanges {
    const { service, pool, retry, ping, connectTimeout } = this.#values
    const { cert = '', key = '', ...connection } = this.#options
    const dialler = reverseConnect(
      { endpoint: this.#endpoint, to: this.#to, identity: { cert, key }, service, pool, retry, pingMs: ping, connectTimeoutMs: connectTimeout ?? CONNECT_MS, connection },
      (stream, from) => this.#serve(stream, from, log),
    )
    this.#dialler = dialler
    this.#metrics?.also(dialler)
    dialler.connections$.subscribe((connections) => log.connections(connections))
    return dialler.state$
  }

  async stop(options: { drainMs: number }): Promise<void> {
    await this.#dialler?.stop(options)
  }

  async close(): Promise<void> {
    await upTo(DRAIN_MS, this.#endpoint.close({ drainMs: DRAIN_MS }))
  }

  async #serve(stream: BidirectionalStream, { local, remote }: Connection, log: DialLog): Promise<void> {
    const { target, proxyProtocol } = this.#values
    log.begins()
    const destination = target.kind === 'tcp' ? addressText(target) : local
    const head = proxyProtocol === undefined ? null : proxyHeader(remote, destination)
    log.request(remote, await joinTarget({ stream, target, timeoutMs: TARGET_MS, head }))
  }
}

/** The relay of `RELAY-OUTER`. */
export function relayOf(to: string): string | null {
  return /^(.+:\d{1,5})-.+:\d{1,5}$/.exec(to)?.[1] ?? null
}

/** Behind a relay we register there, too, and look for a direct path. */
async function traversalOf(to: string, values: DialValues, trust: ConnectionOptions): Promise<Pick<ConnectionOptions, 'traversal'>> {
  const relay = relayOf(to)
  if (relay === null) return {}
  const token = relayToken(values)
  return { traversal: { relays: [relay], relayTls: await relayTrust(values, trust), ...(token === undefined ? {} : { relayToken: token }) } }
}
