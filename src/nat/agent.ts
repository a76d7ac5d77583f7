/**
 * What one endpoint knows of the NATs before it, shared by its connections: the desk where servers are asked, registrations at relays,
 * reports. Made with the endpoint, costs nothing until somebody asks. `agentOf` finds it for the doors above.
 */
import type { Engine, NativeEvent } from '../binding/index.ts'
import { familyOf, formatAddress, invalidOption, parseAddress, splitPort, unavailableOption } from '../config/index.ts'
import type { Clock, Logger, Sampling, TlsOptions } from '../config/index.ts'
import type { Endpoint, Habitat } from '../endpoint/index.ts'
import { ConnectionError, EndpointError } from '../errors/index.ts'
import type { InterfaceWatch } from '../path/index.ts'
import { StunDesk } from './desk.ts'

/** What it asks of its endpoint. */
export interface AgentOwner {
  readonly endpoint: Endpoint
  readonly engine: Engine
  readonly features: ReadonlySet<string>
  readonly sampling: Sampling
  readonly clock: Clock
  readonly interfaces: InterfaceWatch
  readonly logger: Logger
  readonly habitat: Pick<Habitat, 'lookup' | 'random'>
}

const AGENTS = new WeakMap<object, NatAgent>()

export class NatAgent {
  readonly owner: AgentOwner
  #desk: StunDesk | null = null
  #ended = false

  constructor(owner: AgentOwner) {
    this.owner = owner
    AGENTS.set(owner.endpoint, this)
  }

  get desk(): StunDesk {
    if (this.#desk !== null) return this.#desk
    this.#desk = new StunDesk(this.owner.engine)
    if (this.#ended) this.#desk.end()
    return this.#desk
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
    return formatAddress({ host: first.address, port: split.port, family: first.family === 6 ? 6 : 4 })
  }

  /** The first bound socket of the family of `server`. @throws QB_BIND_FAILED */
  socketTowards(server: string): string {
    const family = familyOf(server)
    const local = this.owner.engine.local().find((bound) => familyOf(bound) === family)
    if (local === undefined) throw new EndpointError('QB_BIND_FAILED', `no IPv${family ?? 4} socket is bound to ask ${server} from; pass \`local\` to bind()`)
    return local
  }

  /** Registers with a relay, and stays so until it is stopped. @throws QB_RELAY_REFUSED, what `connect` throws, the abort reason */
  async register(_relay: string, _shown: { token: Uint8Array | null; tls: TlsOptions }, _signal: AbortSignal | undefined): Promise<{ readonly address: string; stop(): Promise<void> }> {
    throw unavailableOption('relay', undefined)
  }

  /** An event of the endpoint; others than ours change nothing. */
  onEvent(event: NativeEvent): void {
    this.#desk?.onEvent(event)
  }

  end(): void {
    this.#ended = true
    this.#desk?.end()
  }
}

/** Of an endpoint that can do such things. @throws QB_OPTION_INVALID */
export function agentOf(endpoint: unknown, what: string): NatAgent {
  const agent = typeof endpoint === 'object' && endpoint !== null ? AGENTS.get(endpoint) : undefined
  if (agent === undefined) throw invalidOption('endpoint', endpoint, 'an endpoint of this copy of the package')
  if (!agent.owner.features.has('traversal')) throw unavailableOption(what, undefined)
  return agent
}
