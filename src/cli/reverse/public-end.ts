/** The public end of either protocol as `listen` uses it. */
import { Endpoint } from '../../index.ts'
import type { BidirectionalStream, ServerOptions } from '../../index.ts'
import { REVERSE_ALPN, reverseListen } from '../../reverse/index.ts'
import type { HttpFrontOptions } from '../../reverse/index.ts'
import type { ReverseListener } from '../../reverse/index.ts'
import { registerRelay } from '../../traversal/index.ts'
import type { TraversalOptions } from '../../traversal/index.ts'
import { proxyHeader } from '../../tunnel/inner.ts'
import { bound } from '../exit.ts'
import { readCertificates } from '../identity.ts'
import type { Identity } from '../identity.ts'
import type { MetricsServer } from '../metrics/index.ts'
import { observeOptions } from '../options.ts'
import { withPort } from '../parse.ts'
import { relayToken, relayTrust } from '../relay/index.ts'
import { schedulerOption } from '../scheduler.ts'
import type { Terminal } from '../terminal.ts'
import type { PoolEvent } from './listen-log.ts'
import type { ListenValues } from './listen.ts'

/** Who has come to a TCP port, and where to. */
export interface Visitor {
  remote: string
  local: string
  /** They have gone. */
  signal: AbortSignal
}

export interface PublicEnd {
  readonly local: readonly string[]
  /** How the HTTP front reaches services. */
  readonly ways: Pick<HttpFrontOptions, 'open' | 'session'>
  now(): number
  watch(tell: (event: PoolEvent) => void): void
  expose(metrics: MetricsServer | null): void
  /** A request stream for a visitor of a TCP port. */
  request(service: string, visitor: Visitor): Promise<BidirectionalStream>
  /** The address at the relay, if one was asked for. */
  register(signal: AbortSignal): Promise<string | null>
  /** Numbers for the last line. */
  summary(): object
  /** Private ends are told; requests that are left have their time. */
  close(options: { drainMs: number }): Promise<void>
}

const RELAY_PORT = 4434
const DRAIN_MS = 2000

/** Of QUIC. @throws as `Endpoint.bind` and `reverseListen` */
export async function openQuicPublicEnd(values: ListenValues, own: Identity, terminal: Terminal): Promise<PublicEnd> {
  const endpoint = await bound('-l', Endpoint.bind({ ...observeOptions(values, terminal), local: values.listen, server: await serverOptions(values, own) }))
  try {
    const allowed = new Set(values.allowService)
    const listener = await reverseListen({ endpoint, ...(values.allowService === undefined ? {} : { poolKey: ({ names }, { service }) => (allowed.has(service) && names.includes(service) ? service : undefined) }) })
    return new QuicEnd(endpoint, listener, values)
  } catch (error) {
    await endpoint.close({ drainMs: 0 })
    throw error
  }
}

class QuicEnd implements PublicEnd {
  readonly #endpoint: Endpoint
  readonly #listener: ReverseListener
  readonly #values: ListenValues

  constructor(endpoint: Endpoint, listener: ReverseListener, values: ListenValues) {
    this.#endpoint = endpoint
    this.#listener = listener
    this.#values = values
  }

  get local(): readonly string[] {
    return this.#endpoint.local
  }

  get ways(): Pick<HttpFrontOptions, 'open' | 'session'> {
    return {
      // The head of a request that was lost before anybody had any of it goes to another connection (reverse.md V47).
      open: async (key, { head, signal }) => (await this.#listener.pool().request(key, { head, signal, waitForMs: this.#values.wait })).toDuplex(),
    }
  }

  now(): number {
    return this.#endpoint.now()
  }

  watch(tell: (event: PoolEvent) => void): void {
    this.#listener.events$.subscribe(tell)
  }

  expose(metrics: MetricsServer | null): void {
    metrics?.watch(this.#endpoint)
    metrics?.also(this.#listener)
  }

  async request(service: string, { remote, local, signal }: Visitor): Promise<BidirectionalStream> {
    const stream = await this.#listener.pool().request(service, { signal, waitForMs: this.#values.wait })
    if (this.#values.proxyProtocol !== undefined) stream.write(proxyHeader(remote, local))
    return stream
  }

  async register(signal: AbortSignal): Promise<string | null> {
    const { relay } = this.#values
    if (relay === undefined) return null
    const { relayToken: token, relayTls: tls } = await relayOptions(this.#values, relay)
    return (await registerRelay(this.#endpoint, relayAddress(relay), { ...(token === undefined ? {} : { token }), ...(tls === undefined ? {} : { tls }), signal })).address
  }

  summary(): object {
    const { accepted, refused, closed } = this.#listener.statistics()
    return { accepted, refused, closed }
  }

  async close(options: { drainMs: number }): Promise<void> {
    await this.#listener.close(options)
    await this.#endpoint.close({ drainMs: DRAIN_MS })
  }
}

async function serverOptions(values: ListenValues, { cert, key }: Identity): Promise<ServerOptions> {
  const { clientCa, pin, relay, scheduler, congestion, multipath } = values
  const options = {
    cert, key, alpn: REVERSE_ALPN, clientAuth: 'request', retry: 'auto', limits: { idleTimeoutMs: IDLE_MS, bidirectionalStreams: 1, unidirectionalStreams: 0 },
    ...(clientCa === undefined ? {} : { ca: await Promise.all(clientCa.map((file) => readCertificates('--client-ca', file))) }),
    ...(pin === undefined ? {} : { pins: pin }),
    ...(relay === undefined ? {} : { traversal: await relayOptions(values, relay) }),
    ...(scheduler === undefined ? {} : { scheduler: await schedulerOption(scheduler) }),
    ...(congestion === undefined ? {} : { congestion }),
    ...(multipath === undefined ? {} : { multipath }),
  }
  return options as ServerOptions
}

/** Three PINGs of private ends (reverse.md V45). */
const IDLE_MS = 45_000

async function relayOptions(values: ListenValues, relay: string): Promise<TraversalOptions> {
  const token = relayToken(values)
  return { relays: [relayAddress(relay)], relayTls: await relayTrust(values, {}), ...(token === undefined ? {} : { relayToken: token }) }
}

/** `HOST[:PORT]`. */
function relayAddress(relay: string): string {
  return withPort(relay, RELAY_PORT)
}
