/** A STUN server, which tells who asks how it sees them (traversal T-42 to T-44; RFC 8489, RFC 5780). Answering is the engine's. */
import * as v from 'valibot'
import { check, formatAddress, invalidOption, parseAddress } from '../config/index.ts'
import { Endpoint } from '../endpoint/index.ts'
import { agentOf } from '../nat/index.ts'
import type { NatAgent, StunDialect } from '../nat/index.ts'
import type { StunServerOptions, StunStatistics } from './types.ts'

const ALL: readonly StunDialect[] = ['rfc5780', 'dquic', 'dquic-0.5']
const LISTEN = '0.0.0.0:3478'
const MAX_NEIGHBOURS = 8
const ADDRESS = "an IP address with a port, like '203.0.113.1:3478'"
const address = () => v.pipe(v.string(ADDRESS), v.check((text) => (parseAddress(text)?.port ?? -1) >= 0, ADDRESS))
const options = v.strictObject({
  listen: v.optional(address()),
  alternate: v.optional(address()),
  neighbours: v.optional(v.pipe(v.array(address(), `a list of at most ${MAX_NEIGHBOURS} addresses`), v.maxLength(MAX_NEIGHBOURS, `a list of at most ${MAX_NEIGHBOURS} addresses`))),
  dialects: v.optional(v.pipe(v.array(v.picklist(ALL, ALL.map((name) => `'${name}'`).join(', ')), 'a list of dialects'), v.minLength(1, 'at least one dialect'))),
}, 'an object { listen, alternate, neighbours, dialects }')

const NOTHING: StunStatistics = { requests: 0, answered: 0, ignored: 0 }

export class StunServer implements AsyncDisposable {
  /** Where it answers, those of the alternate address behind the others. */
  readonly addresses: readonly string[]
  readonly #endpoint: Endpoint
  readonly #agent: NatAgent
  readonly #ownsEndpoint: boolean
  /** The process lives as long as it answers. */
  readonly #rest: () => void
  #last = NOTHING
  #closed = false

  private constructor(endpoint: Endpoint, agent: NatAgent, addresses: readonly string[], ownsEndpoint: boolean) {
    this.#endpoint = endpoint
    this.#agent = agent
    this.addresses = addresses
    this.#ownsEndpoint = ownsEndpoint
    this.#rest = agent.owner.work()
  }

  /** On an endpoint of its own, or on the sockets of one that is given; then `listen` and `alternate` are not asked for. @throws QB_OPTION_INVALID QB_OPTION_UNKNOWN QB_BIND_FAILED */
  static async listen(given: StunServerOptions = {}, endpoint?: Endpoint): Promise<StunServer> {
    const { listen, alternate, neighbours = [], dialects = ALL } = check(options, given, '') as StunServerOptions
    if (endpoint !== undefined && (listen ?? alternate) !== undefined) throw invalidOption('listen', listen ?? alternate, 'nothing where an endpoint is given: its sockets are asked')
    const own = endpoint ?? await Endpoint.bind({ local: socketsOf(listen ?? LISTEN, alternate) })
    try {
      const agent = agentOf(own, 'StunServer')
      const addresses = [...own.local]
      agent.owner.engine.tell(0, { do: 'stun-serve', config: { sockets: addresses, neighbours: [...neighbours], forms: [...dialects] } })
      return new StunServer(own, agent, addresses, endpoint === undefined)
    } catch (error) {
      if (endpoint === undefined) await own.close()
      throw error
    }
  }

  /** Since it listens. */
  statistics(): StunStatistics {
    if (this.#closed) return this.#last
    const { stun } = this.#agent.owner.engine.ask(0, { ask: 'nat-statistics' }) as { stun: StunStatistics | null }
    this.#last = stun ?? this.#last
    return this.#last
  }

  /** Answers no more; an endpoint of its own closes. */
  async close(): Promise<void> {
    if (this.#closed) return
    this.statistics()
    this.#closed = true
    this.#rest()
    if (this.#ownsEndpoint) return this.#endpoint.close()
    this.#agent.owner.engine.tell(0, { do: 'stun-serve', config: null })
    return undefined
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }
}

/** With an alternate address: both IPs with both ports, as RFC 5780 §6 has it. @throws QB_OPTION_INVALID */
function socketsOf(listen: string, alternate: string | undefined): string[] {
  if (alternate === undefined) return [listen]
  const [first, second] = [parseAddress(listen), parseAddress(alternate)]
  if (first === null || second === null) throw invalidOption('alternate', alternate, ADDRESS)
  if (first.family !== second.family || first.host === second.host || first.port === second.port || isAny(first.host) || isAny(second.host)) {
    throw invalidOption('alternate', alternate, `another IP of ours of the same family with another port, and listen one IP, not all: now ${listen}`)
  }
  return [first, second, { ...first, port: second.port }, { ...second, port: first.port }].map(formatAddress)
}

function isAny(host: string): boolean {
  return /^[0:.]+$/.test(host)
}
