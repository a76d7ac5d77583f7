/** What stands between a socket of ours and the Internet: asks servers, in the words of RFC 4787 (traversal T-50 to T-53). The engine asks and infers. */
import * as v from 'valibot'
import { check, checkCall, familyOf, splitPort } from '../config/index.ts'
import type { Observable, Waiting } from '../config/index.ts'
import type { Endpoint } from '../endpoint/index.ts'
import { agentOf, silentServers } from '../nat/index.ts'
import type { NatAgent, NatObservation, NatProbeOptions, NatReport } from '../nat/index.ts'
import { cold } from './observe.ts'

const TRIES = 3
const TIMEOUT_MS = 300
const SERVERS = "a list of 1 to 8 'name:port'"

const options = v.strictObject({
  servers: v.pipe(v.array(v.pipe(v.string(SERVERS), v.check((value) => (splitPort(value)?.port ?? 0) > 0, SERVERS)), SERVERS), v.minLength(1, SERVERS), v.maxLength(8, SERVERS)),
  dialect: v.optional(v.picklist(['rfc5780', 'dquic', 'dquic-0.5'], "'rfc5780', 'dquic', 'dquic-0.5'")),
  timeoutMs: v.optional(v.pipe(v.number('a number of milliseconds from 1 to 60000'), v.minValue(1, 'a number of milliseconds from 1 to 60000'), v.maxValue(60_000, 'a number of milliseconds from 1 to 60000'))),
  tries: v.optional(v.pipe(v.number('a whole number from 1 to 30'), v.integer('a whole number from 1 to 30'), v.minValue(1, 'a whole number from 1 to 30'), v.maxValue(30, 'a whole number from 1 to 30'))),
  life: v.optional(v.boolean('true or false')),
}, 'an object { servers, dialect, timeoutMs, tries, life }')

export class NatProbe {
  readonly #agent: NatAgent
  readonly #options: NatProbeOptions

  /** Of the endpoint's first socket of the servers' family. @throws QB_OPTION_INVALID QB_OPTION_UNKNOWN */
  constructor(endpoint: Endpoint, probe: NatProbeOptions) {
    this.#options = check(options, probe, '') as NatProbeOptions
    this.#agent = agentOf(endpoint, 'NatProbe')
  }

  /** One detection. @throws QB_NAT_NO_SERVER (none answered and the socket works) QB_RESOLVE_FAILED QB_BIND_FAILED QB_ENDPOINT_CLOSED */
  async classify(waiting: Waiting = {}): Promise<NatReport> {
    checkCall(waiting, ['signal'])
    return this.#run(() => {}, waiting.signal)
  }

  /** Each observation of a detection of its own as it comes. [C] tick, completes with the last; error: ServiceError */
  get observations$(): Observable<NatObservation> {
    return cold((next, signal) => this.#run(next, signal))
  }

  async #run(onObservation: (observation: NatObservation) => void, signal: AbortSignal | undefined): Promise<NatReport> {
    const { servers: names, dialect = 'rfc5780', timeoutMs = TIMEOUT_MS, tries = TRIES, life = false } = this.#options
    const all = await Promise.all(names.map((name, index) => this.#agent.resolve(name, `servers[${index}]`)))
    signal?.throwIfAborted()
    const family = familyOf(all[0] ?? '')
    const servers = all.filter((server) => familyOf(server) === family)
    const local = this.#agent.socketTowards(servers[0] ?? '')
    const report = await this.#agent.desk.detect({ local, servers, form: dialect, patience: { timeoutMs, tries }, life, onObservation }, signal)
    if (report === null) throw silentServers(servers, tries)
    this.#agent.mappings.learn(local, servers, dialect, report)
    return report
  }
}
