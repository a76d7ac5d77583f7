/**
 * What one endpoint knows of the NATs before it, shared by its connections: the desk where servers are asked, registrations at relays,
 * reports. Made with the endpoint, costs nothing until somebody asks. `agentOf` finds it for the doors above.
 */
import type { Engine, NativeEvent, NativeTransport, NativeTraversal } from '../binding/index.ts'
import { familyOf, formatAddress, invalidOption, parseAddress, parseRelayed, splitPort, stunServers, tlsOf, unavailableOption, waitFor } from '../config/index.ts'
import type { Cancel, Clock, ConnectionOptions, Logger, Sampling } from '../config/index.ts'
import type { Endpoint, Habitat } from '../endpoint/index.ts'
import { ConnectionError, EndpointError } from '../errors/index.ts'
import type { InterfaceWatch } from '../path/index.ts'
import { StunDesk } from './desk.ts'
import { Mappings } from './mappings.ts'
import { PortMappings } from './port-mappings.ts'
import { checkRelay, StandingRegistration } from './registration.ts'
import type { Lease, RelayState, RelayTerms } from './registration.ts'

/** What it asks of its endpoint. */
export interface AgentOwner {
  readonly endpoint: Endpoint
  readonly engine: Engine
  readonly features: ReadonlySet<string>
  readonly sampling: Sampling
  readonly clock: Clock
  readonly interfaces: InterfaceWatch
  readonly logger: Logger
  readonly habitat: Pick<Habitat, 'lookup' | 'random' | 'networks' | 'publicNetworks' | 'portMapper'>
  /** Something is under way for which the process must not end; call the answer when it is over. */
  work(): Cancel
}

/** As many as the engine looks at. */
const MAX_NETWORKS = 16
const MAX_KNOWN = 64

const AGENTS = new WeakMap<object, NatAgent>()

export class NatAgent {
  readonly owner: AgentOwner
  /** By relay and socket. */
  readonly #registrations = new Map<string, StandingRegistration>()
  /** Servers that have names, as they were last found. */
  readonly #known = new Map<string, string>()
  #desk: StunDesk | null = null
  #mappings: Mappings | null = null
  #ports: PortMappings | null = null
  #ended = false

  constructor(owner: AgentOwner) {
    this.owner = owner
    AGENTS.set(owner.endpoint, this)
  }

  get desk(): StunDesk {
    if (this.#desk !== null) return this.#desk
    this.#desk = new StunDesk(this.owner.engine, () => this.owner.work())
    if (this.#ended) this.#desk.end()
    return this.#desk
  }

  /** Shared by all connections. */
  get mappings(): Mappings {
    return (this.#mappings ??= new Mappings(this.desk, this.owner.interfaces))
  }

  /** Shared by all connections. */
  get ports(): PortMappings {
    return (this.#ports ??= new PortMappings(this.owner.habitat.portMapper, this.owner))
  }

  /** From 0 to 1, below 1. */
  random(): number {
    const bytes = this.owner.habitat.random(6)
    return bytes.reduce((sum, byte) => sum * 256 + byte, 0) / 2 ** 48
  }

  /** `ip:port` of a server, by name or address; its first address. @throws QB_OPTION_INVALID QB_RESOLVE_FAILED */
  async resolve(name: string, field: string): Promise<string> {
    const split = splitPort(name)
    if (split === null || split.port === 0) throw invalidOption(field, name, "'name:port' or an address with a port")
    const known = parseAddress(split.host)
    if (known !== null) return formatAddress({ ...known, port: split.port })
    const found = await this.owner.habitat.lookup(split.host).catch((error: NodeJS.ErrnoException) => {
      throw new ConnectionError('QB_RESOLVE_FAILED', `the name ${split.host} could not be resolved (${error.code ?? 'unknown'}); check the name or pass an address`, { cause: error })
    })
    const first = found[0]
    if (first === undefined) throw new ConnectionError('QB_RESOLVE_FAILED', `the name ${split.host} has no address; check the name or pass an address`)
    const address = formatAddress({ host: first.address, port: split.port, family: first.family === 6 ? 6 : 4 })
    if (this.#known.size < MAX_KNOWN) this.#known.set(name, address)
    return address
  }

  /** Options for the engine with what only this endpoint knows: addresses of servers that have names, networks of the host. `again`: the same when names are known that were not. */
  fitted<T extends { transport: NativeTransport }>(options: T, again?: (later: T) => void): T {
    const { traversal } = options.transport
    if (traversal === undefined) return options
    const { features, habitat, logger } = this.owner
    const known = (): string[] => traversal.stun.flatMap((name) => this.#known.get(name) ?? (parseAddress(name) === null ? [] : [name]))
    const fit = (): T => ({ ...options, transport: { ...options.transport, traversal: { ...traversal, stun: known(), networks: habitat.networks().slice(0, MAX_NETWORKS), ...publicTargets(habitat.publicNetworks, features, traversal) } } })
    if (again !== undefined && known().length < traversal.stun.length) {
      Promise.all(traversal.stun.map((name) => this.resolve(name, 'traversal.stun'))).then(() => !this.#ended && again(fit())).catch((error: unknown) => logger.warn?.('a server for addresses was not found', { error }))
    }
    return fit()
  }

  /** The first bound socket of the family of `server`. @throws QB_BIND_FAILED */
  socketTowards(server: string): string {
    const family = familyOf(server)
    const local = this.owner.engine.local().find((bound) => familyOf(bound) === family)
    if (local === undefined) throw new EndpointError('QB_BIND_FAILED', `no IPv${family ?? 4} socket is bound to ask ${server} from; pass \`local\` to bind()`)
    return local
  }

  /** As `socketTowards`; where none is bound yet, when one is. @throws (reject) the abort reason */
  boundTowards(server: string, signal?: AbortSignal): Promise<string> {
    const family = familyOf(server)
    return waitFor(signal, (settle) => {
      const look = (): void => {
        const local = this.owner.engine.local().find((bound) => familyOf(bound) === family)
        if (local !== undefined) settle.resolve(local)
      }
      look()
      const watching = this.owner.endpoint.events$.subscribe(({ type }) => {
        if (type === 'bound') look()
      })
      return () => watching.unsubscribe()
    })
  }

  /** A registration of the socket `local` (or of the first that fits) with a relay; one for all who hold it. @throws QB_OPTION_INVALID QB_RESOLVE_FAILED */
  async lease(name: string, terms: RelayTerms, watch: (state: RelayState) => void = () => {}, local: string | null = null): Promise<Lease> {
    const relay = await this.resolve(checkRelay(name, 'relay'), 'relay')
    const socket = local ?? this.owner.engine.local().find((bound) => familyOf(bound) === familyOf(relay)) ?? ''
    const key = `${relay} ${socket}`
    let standing = this.#registrations.get(key)
    if (standing === undefined) {
      standing = new StandingRegistration(this.owner, this.desk, this.mappings, {
        name, relay, terms,
        socket: async () => (socket === '' ? this.boundTowards(relay) : socket),
        onEnd: () => void this.#registrations.delete(key),
      })
      this.#registrations.set(key, standing)
    }
    return standing.hold(watch)
  }

  /** Before a dial to a peer behind a relay: its relay, or else one of ours, is asked to know our socket, so that answers find us. Null: nobody is behind one. @throws QB_OPTION_INVALID (a package is missing), QB_RELAY_REFUSED, what `connect` throws, the abort reason */
  async enter(remotes: readonly string[], options: ConnectionOptions, signal: AbortSignal | undefined): Promise<Lease | null> {
    const traversal = typeof options.traversal === 'object' ? options.traversal : {}
    if (traversal.sources?.includes('port-mapping') === true) await this.ports.ready()
    // Who is not found is told of where it is asked.
    await Promise.allSettled(stunServers(traversal).map((name) => this.resolve(name, 'traversal.stun')))
    signal?.throwIfAborted()
    const relayed = remotes.map(parseRelayed).find((found) => found !== null)
    if (relayed === undefined || !this.owner.features.has('nat')) return null
    const theirs = formatAddress({ ...relayed.relay, family: relayed.outer.family })
    const ours = await Promise.all((traversal.relays ?? []).map((name) => this.resolve(name, 'traversal.relays')))
    const index = ours.indexOf(theirs)
    const name = ours.length === 0 ? theirs : (traversal.relays?.[Math.max(0, index)] ?? theirs)
    signal?.throwIfAborted()
    const local = options.paths?.[0]?.local
    const socket = local === undefined ? null : (this.owner.engine.local().find((bound) => bound === local) ?? null)
    const lease = await this.lease(name, { token: traversal.relayToken ?? null, tls: traversal.relayTls ?? tlsOf(options) }, () => {}, socket)
    try {
      await waitFor<void>(signal, (settle) => {
        lease.asked().then(settle.resolve, settle.reject)
        return () => {}
      })
    } catch (error) {
      lease.release()
      throw error
    }
    return lease
  }

  /** Registers with a relay, and stays so until it is stopped. @throws QB_RELAY_REFUSED, what `connect` throws, the abort reason */
  async register(name: string, terms: RelayTerms, signal: AbortSignal | undefined): Promise<{ readonly address: string; stop(): Promise<void> }> {
    const lease = await this.lease(name, terms)
    let outer = ''
    try {
      await waitFor<void>(signal, (settle) => {
        lease.granted().then(settle.resolve, settle.reject)
        return () => {}
      })
      outer = lease.outer ?? ''
    } catch (error) {
      lease.release()
      throw error
    }
    return {
      // While it is lost: what it was.
      get address() { return `${lease.relay}-${(outer = lease.outer ?? outer)}` },
      stop: async () => lease.release(),
    }
  }

  /** An event of the endpoint; others than ours change nothing. */
  onEvent(event: NativeEvent): void {
    this.#desk?.onEvent(event)
  }

  end(): void {
    this.#ended = true
    for (const standing of Array.from(this.#registrations.values())) standing.end('gone')
    this.#mappings?.end()
    this.#ports?.end()
    this.#desk?.end()
  }
}

/** In a world all may be probed that its hosts reach from everywhere. */
function publicTargets(networks: readonly string[], features: ReadonlySet<string>, { privateTargets }: NativeTraversal): Partial<NativeTraversal> {
  if (networks.length === 0 || (privateTargets === 'never' && !features.has('traversal.allow'))) return {}
  return features.has('traversal.allow') ? { allow: [...networks] } : { privateTargets: 'always' }
}

/** Of an endpoint that can do such things. @throws QB_OPTION_INVALID */
export function agentOf(endpoint: unknown, what: string): NatAgent {
  const agent = typeof endpoint === 'object' && endpoint !== null ? AGENTS.get(endpoint) : undefined
  if (agent === undefined) throw invalidOption('endpoint', endpoint, 'an endpoint of this copy of the package')
  if (!agent.owner.features.has('nat')) throw unavailableOption(what, undefined)
  return agent
}
