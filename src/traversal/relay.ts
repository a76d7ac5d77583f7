/**
 * A relay: clients register with it over QUIC, peers reach them through it, and it answers STUN (traversal T-30 to T-35, T-42). Who may
 * register is decided here (`clerk.ts`); forwarding, its rates and its refusals are the engine's.
 */
import type { NativeNatStatistics } from '../binding/index.ts'
import { familyOf, formatAddress, invalidOption, isUnspecified, parseAddress } from '../config/index.ts'
import type { Observable } from '../config/index.ts'
import { Endpoint } from '../endpoint/index.ts'
import { agentOf, RELAY_ALPN } from '../nat/index.ts'
import type { NatAgent } from '../nat/index.ts'
import { Clerk } from './clerk.ts'
import { relayMetrics } from './observe.ts'
import { checkRelayOptions } from './options.ts'
import type { RelayOptions, RelayStatistics } from './types.ts'

const LISTEN = '0.0.0.0:4434'
const RATE_BITS = 100e6
const REGISTRATION_MS = 60_000
/** Connections that come from one address. */
const PER_ADDRESS = 256
/** Clients; the engine keeps as many. */
const MOST_CLIENTS = 65_536
/** Of a burst, at least: a train of 64 datagrams, twice. */
const LEAST_BURST_BYTES = 196_608
const BURST_SEC = 0.1
/** What the engine counts, in the words of the contract. */
const DROPS: Readonly<Record<keyof RelayStatistics['drops'], readonly string[]>> = {
  unregistered: ['not_registered', 'silent', 'spoofed', 'no_agent', 'no_header'], private: ['not_global', 'unusable'], rate: ['source_rate', 'destination_rate'], 'too-large': ['too_long'], loop: ['loop', 'own'],
}

export class Relay implements AsyncDisposable {
  readonly #agent: NatAgent
  readonly #address: string
  readonly #ownEndpoint: boolean
  readonly #metrics: ReturnType<typeof relayMetrics>
  #clients = 0
  #last: RelayStatistics | null = null
  #closing: Promise<void> | null = null

  private constructor(agent: NatAgent, address: string, ownEndpoint: boolean) {
    this.#agent = agent
    this.#address = address
    this.#ownEndpoint = ownEndpoint
    this.#metrics = relayMetrics(agent.owner.sampling, () => this.statistics())
    void agent.owner.endpoint.closed.then(() => this.#end())
  }

  /** On an endpoint of its own, or on one that is given, whose server side and STUN it takes over. @throws QB_OPTION_INVALID QB_OPTION_UNKNOWN QB_BIND_FAILED QB_TLS_IDENTITY QB_ENDPOINT_CLOSED */
  static async listen(options: RelayOptions, endpoint?: Endpoint): Promise<Relay> {
    const checked = checkRelayOptions(options)
    if (endpoint !== undefined && checked.listen !== undefined) throw invalidOption('listen', checked.listen, 'nothing beside an endpoint, which is bound already')
    const own = endpoint === undefined ? await Endpoint.bind({ local: socketsOf(checked) }) : null
    const at = endpoint ?? (own as Endpoint)
    try {
      const agent = agentOf(at, 'Relay')
      const relay = new Relay(agent, addressOf(agent), own !== null)
      relay.#serve(checked)
      return relay
    } catch (error) {
      await own?.close()
      throw error
    }
  }

  /** Where clients register and peers dial: `ip:port`. */
  get address(): string {
    return this.#address
  }

  /** [H1] sample */
  get metrics$(): Observable<RelayStatistics> {
    return this.#metrics.values$
  }

  /** Of a closed relay: the last numbers. */
  statistics(): RelayStatistics {
    return this.#last ?? this.#read()
  }

  /** Clients are told; nothing is forwarded any more. An endpoint that was given stays, without its server side. */
  close(): Promise<void> {
    return (this.#closing ??= this.#close())
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  #serve(options: RelayOptions): void {
    const { tls, alternate, rateBitsPerSecPerClient = RATE_BITS, allowPrivateTargets = false } = options
    const { endpoint, engine, habitat } = this.#agent.owner
    const clientAuth = tls.ca === undefined && tls.pins === undefined && typeof tls.verify !== 'function' ? 'none' : 'request'
    endpoint.listen({
      ...tls, alpn: RELAY_ALPN, clientAuth, traversal: false, multipath: 'off', earlyData: false, maxConnections: { perAddress: PER_ADDRESS },
      limits: { bidirectionalStreams: 1, unidirectionalStreams: 0, streamWindowBytes: 16_384, maxStreamWindowBytes: 16_384, connectionWindowBytes: 16_384, maxConnectionWindowBytes: 16_384 },
    })
    const bytesPerSecond = Math.floor(rateBitsPerSecPerClient / 8)
    const burstBytes = Math.max(LEAST_BURST_BYTES, Math.floor(bytesPerSecond * BURST_SEC))
    engine.tell(0, { do: 'stun-serve', config: { sockets: stunSockets(endpoint.local, alternate), neighbours: [], forms: ['rfc5780', 'dquic', 'dquic-0.5'] } })
    engine.tell(0, { do: 'relay-serve', config: { agent: [...agentAddresses(this.#agent)], allow: [...habitat.publicNetworks], allowPrivate: allowPrivateTargets, bytesPerSecond, burstBytes } })
    void this.#welcome(options)
  }

  /** Until the endpoint or its server side ends. */
  async #welcome({ authorize, registrationMs = REGISTRATION_MS }: RelayOptions): Promise<void> {
    const { endpoint, engine, logger, sampling } = this.#agent.owner
    const owner = {
      engine, logger, authorize, registrationMs, timing: sampling.timing, holders: new Map<string, Clerk>(),
      room: () => MOST_CLIENTS - this.#clients,
      onRegistered: (address: string) => this.#onChange(1, 'registered', address),
      onGone: (address: string) => this.#onChange(-1, 'lost', address),
    }
    for await (const connection of endpoint.incoming()) void new Clerk(owner, connection).serve()
  }

  #onChange(by: number, event: 'registered' | 'lost', address: string): void {
    this.#clients += by
    this.#agent.owner.logger.info?.(`a client of the relay is ${event}`, { client: address })
  }

  #read(): RelayStatistics {
    const { relay } = this.#agent.owner.engine.ask(0, { ask: 'nat-statistics' }) as NativeNatStatistics
    const drops = Object.fromEntries(Object.entries(DROPS).map(([name, reasons]) => [name, reasons.reduce((sum, reason) => sum + (relay?.drops[reason] ?? 0), 0)]))
    return { registrations: relay?.registrations ?? 0, forwardedDatagrams: relay?.forwardedDatagrams ?? 0, forwardedBytes: relay?.forwardedBytes ?? 0, drops: drops as unknown as RelayStatistics['drops'] }
  }

  async #close(): Promise<void> {
    if (this.#last !== null) return
    const { endpoint, engine } = this.#agent.owner
    this.#keepNumbers()
    endpoint.unlisten()
    await Promise.all([...endpoint.connections].filter(({ alpn, role }) => role === 'server' && alpn === RELAY_ALPN).map((connection) => connection.close()))
    if (this.#ownEndpoint) await endpoint.close()
    else {
      engine.tell(0, { do: 'relay-serve', config: null })
      engine.tell(0, { do: 'stun-serve', config: null })
    }
    this.#end()
  }

  #keepNumbers(): void {
    try {
      this.#last = this.#read()
    } catch {
      // The endpoint has closed before it.
      this.#last = { registrations: 0, forwardedDatagrams: 0, forwardedBytes: 0, drops: { unregistered: 0, private: 0, rate: 0, 'too-large': 0, loop: 0 } }
    }
  }

  #end(): void {
    if (this.#last === null) this.#keepNumbers()
    this.#metrics.end()
  }
}

/** What an endpoint of the relay's own binds: with an alternate address all four of two IPs and two ports. */
function socketsOf({ listen = LISTEN, alternate }: RelayOptions): string[] {
  if (alternate === undefined) return [listen]
  return fourOf(listen, alternate)
}

/** @throws QB_OPTION_INVALID */
function fourOf(main: string, alternate: string): string[] {
  const [a, b] = [parseAddress(main), parseAddress(alternate)]
  if (a === null || b === null || a.family !== b.family || a.host === b.host || a.port === b.port || b.port === 0 || isUnspecified(a.host)) {
    throw invalidOption('alternate', alternate, `an address of the family of ${main} with another IP and another port; both must name one address`)
  }
  return [a, b].flatMap(({ host, family }) => [a.port, b.port].map((port) => formatAddress({ host, port, family })))
}

/** The sockets that answer STUN: one, or four. @throws QB_OPTION_INVALID */
function stunSockets(local: readonly string[], alternate: string | undefined): string[] {
  const [main = ''] = local
  if (alternate === undefined) return [...local]
  const four = fourOf(main, alternate)
  const missing = four.find((socket) => !local.includes(socket))
  if (missing !== undefined) throw invalidOption('alternate', alternate, `an address whose sockets the endpoint has bound: ${four.join(', ')} (${missing} is missing)`)
  return four
}

/** Ours as peers may name them. */
function agentAddresses(agent: NatAgent): readonly string[] {
  const { endpoint, interfaces } = agent.owner
  interfaces.look()
  return endpoint.local.flatMap((bound) => {
    const address = parseAddress(bound)
    if (address === null || !isUnspecified(address.host)) return [bound]
    const family = address.host === '::' ? 6 : 4
    const own = interfaces.current.filter((item) => item.up && familyOf(item.address) === family && !/^fe80:/i.test(item.address))
    return own.map((item) => formatAddress({ host: item.address, port: address.port, family }))
  })
}

/** The one that is told: one that others reach, if there is one. */
function addressOf(agent: NatAgent): string {
  const all = agentAddresses(agent)
  return all.find((address) => !/^(?:127\.|\[::1\])/.test(address)) ?? all[0] ?? ''
}
