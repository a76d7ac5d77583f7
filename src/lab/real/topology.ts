/**
 * A laboratory of network namespaces: a core, a hub with two addresses for servers, and clients with one or several uplinks, each behind a
 * router whose NAT nftables makes. What a NAT is can be changed while programs run. Everything of a run has its process id in its name;
 * what an earlier one left behind is taken down by the next. Nothing of it reaches the machine's own network.
 *
 *   client --lan-- router (NAT) --wan-- core -- hub
 */
import { ServiceError } from '../../errors/index.ts'
import { ip, nft, run, settings, tryRun, whatIsMissing } from './commands.ts'
import { makeLinks, whatDelaysLack } from './delays.ts'
import { ruleset } from './kinds.ts'
import type { RealNatKind } from './kinds.ts'
import { Program } from './program.ts'

export interface RealLabOptions {
  /** Kinds of the uplinks of each client. @default { a: ['none'], b: ['none'] } */
  clients?: Readonly<Record<string, readonly RealNatKind[]>>
  /** Seconds that mappings live which nothing refreshes. @default 120 */
  timeoutS?: number
  /** One way between a router and the core. Needs the kernel's netem, or a program that carries packets: see `delays.ts`. @default 0 */
  delayMs?: number
}

/** One way of a client to the core. */
interface Uplink {
  client: string
  index: number
  /** Its number in addresses: 192.168.K.2 inside, 11.1.K.1 and 11.1.K.2 outside. */
  number: number
  kind: RealNatKind
  /** How often everything was forgotten since it is of this kind, and how often at all. */
  turn: number
  zone: number
  timeoutS: number
}

// Addresses that count as global, so that rules about private ones hold as they do outside. Nothing leaves the namespaces.
const CORE = '11.0.0.254'
const HUB = ['11.0.0.10', '11.0.0.11'] as const
const PREFIX = 'qbn'
const DEFAULT_TIMEOUT_S = 120
const MOST_UPLINKS = 200
/** Packets with fewer hops left die in the core, as they would in the Internet: a knock (traversal T-88) ends before the other NAT. */
const LEAST_TTL = 8
const FORWARDING = { 'net/ipv4/conf/*/rp_filter': 0, 'net/ipv4/ip_forward': 1, 'net/ipv6/conf/all/disable_ipv6': 1 }

let made = 0

export class RealLab implements AsyncDisposable {
  /** The hub's addresses. */
  readonly hub: readonly [string, string] = HUB
  readonly #name: string
  readonly #uplinks: Uplink[] = []
  readonly #namespaces: string[] = []
  readonly #programs = new Set<Program>()
  readonly #atExit = (): void => this.#tearDown()
  #isOpen = true

  /** Builds it. @throws QB_LAB_REAL: what is missing on this machine, or which command failed */
  static async open(options: RealLabOptions = {}): Promise<RealLab> {
    const { delayMs = 0 } = options
    const missing = whatIsMissing() ?? (delayMs > 0 ? whatDelaysLack() : null)
    if (missing !== null) throw new ServiceError('QB_LAB_REAL', `no such laboratory of network namespaces here: ${missing}`)
    sweep()
    const lab = new RealLab()
    try {
      await lab.#build(options)
      return lab
    } catch (error) {
      await lab.close()
      throw error
    }
  }

  private constructor() {
    made += 1
    this.#name = `${PREFIX}${process.pid}-${made}`
    process.once('exit', this.#atExit)
  }

  /** The address that a client's programs bind to, on one of its uplinks. Changes with `become` to and from `none`. */
  address(client: string, uplink = 0): string {
    return innerAddress(this.#uplink(client, uplink))
  }

  /** The address that others see of a client. */
  outerAddress(client: string, uplink = 0): string {
    return outerAddress(this.#uplink(client, uplink))
  }

  /** Another kind of NAT from now on; all that was mapped is forgotten. */
  become(client: string, kind: RealNatKind, { uplink = 0, timeoutS }: { uplink?: number; timeoutS?: number } = {}): void {
    const it = this.#uplink(client, uplink)
    const wasOpen = it.kind === 'none'
    Object.assign(it, { kind, turn: 0, zone: it.zone + 1, timeoutS: timeoutS ?? it.timeoutS })
    if (wasOpen !== (kind === 'none')) ip(this.#namespace(client), this.#addressLines(it))
    this.#loadRules(it)
  }

  /** The NAT forgets all mappings, as one that lost power; what is sent from now on gets other ports. */
  rebind(client: string, uplink = 0): void {
    const it = this.#uplink(client, uplink)
    it.turn += 1
    it.zone += 1
    this.#loadRules(it)
  }

  /** All that a client sends or is sent over an uplink is lost, silently. */
  cut(client: string, uplink = 0): void {
    nft(this.#namespace('core'), `add element ip core down { "${wireOf(this.#uplink(client, uplink))}" }`)
  }

  restore(client: string, uplink = 0): void {
    nft(this.#namespace('core'), `delete element ip core down { "${wireOf(this.#uplink(client, uplink))}" }`)
  }

  /** Two clients reach each other no longer, and everybody else still. */
  separate(one: string, other: string): void {
    nft(this.#namespace('core'), `add element ip core apart { ${this.#bothWays(one, other)} }`)
  }

  rejoin(one: string, other: string): void {
    nft(this.#namespace('core'), `delete element ip core apart { ${this.#bothWays(one, other)} }`)
  }

  /** Starts a program on the hub (`hub`) or a client. It speaks JSON lines; it ends with the laboratory. */
  start(host: string, command: readonly string[]): Program {
    const program = new Program(host, ['ip', 'netns', 'exec', this.#namespace(host), ...command])
    this.#programs.add(program)
    return program
  }

  /** The prefix of a command line that runs on a host. */
  inside(host: string): string[] {
    return ['ip', 'netns', 'exec', this.#namespace(host)]
  }

  /** Ends all programs and takes everything down. */
  async close(): Promise<void> {
    await Promise.all([...this.#programs].map((program) => program.stop()))
    this.#tearDown()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  async #build({ clients = { a: ['none'], b: ['none'] }, timeoutS = DEFAULT_TIMEOUT_S, delayMs = 0 }: RealLabOptions): Promise<void> {
    this.#makeCore()
    for (const [client, kinds] of Object.entries(clients)) this.#makeClient(client, kinds, timeoutS)
    const links = this.#uplinks.map((uplink) => [{ namespace: this.#namespace('core'), device: wireOf(uplink) }, { namespace: this.#router(uplink), device: 'wan' }] as const)
    const carrier = await makeLinks(links, delayMs)
    if (carrier !== null) this.#programs.add(carrier)
    for (const uplink of this.#uplinks) this.#configureUplink(uplink)
  }

  #makeCore(): void {
    for (const host of ['core', 'hub']) this.#makeNamespace(host)
    const [core, hub] = [this.#namespace('core'), this.#namespace('hub')]
    ip(null, [`link add hub netns ${core} type veth peer name eth0 netns ${hub}`])
    ip(hub, ['link set eth0 up', ...HUB.map((address) => `addr add ${address}/32 dev eth0`), `route add default via ${CORE} dev eth0 onlink src ${HUB[0]}`])
    ip(core, [`addr add ${CORE}/32 dev lo`, 'link set hub up', ...HUB.map((address) => `route add ${address}/32 dev hub`)])
    settings(core, FORWARDING)
    nft(core, `table ip core {
      set down { type ifname; }
      set apart { type ipv4_addr . ipv4_addr; }
      chain through { type filter hook forward priority filter; iifname @down drop; oifname @down drop; ip saddr . ip daddr @apart drop; ip ttl < ${LEAST_TTL} drop; }
    }`)
  }

  #makeClient(client: string, kinds: readonly RealNatKind[], timeoutS: number): void {
    if (!/^[a-z][a-z0-9]{0,7}$/.test(client) || client === 'core' || client === 'hub') throw new ServiceError('QB_LAB_REAL', `client '${client}': a name of 1 to 8 lower-case letters and digits, not core or hub`)
    this.#makeNamespace(client)
    kinds.forEach((kind, index) => {
      const number = this.#uplinks.length + 1
      if (number > MOST_UPLINKS) throw new ServiceError('QB_LAB_REAL', `more than ${MOST_UPLINKS} uplinks`)
      this.#uplinks.push({ client, index, number, kind, turn: 0, zone: 1, timeoutS })
      this.#makeNamespace(`${client}.${index}`)
    })
  }

  /** Everything but the link to the core, which is there. */
  #configureUplink(uplink: Uplink): void {
    const { client, index, number } = uplink
    const [core, inside, router, wire] = [this.#namespace('core'), this.#namespace(client), this.#router(uplink), wireOf(uplink)]
    ip(null, [`link add eth${index} netns ${inside} type veth peer name lan netns ${router}`])
    ip(router, [
      'link set lan up', 'link set wan up', `addr add 192.168.${number}.1/24 dev lan`, `addr add 11.1.${number}.1/32 dev wan`, `addr add 11.1.${number}.254/32 dev lo`,
      `route add default via ${CORE} dev wan onlink`, `route add 11.1.${number}.2/32 dev lan`,
    ])
    settings(router, FORWARDING)
    ip(core, [`link set ${wire} up`, `route add 11.1.${number}.0/24 via 11.1.${number}.254 dev ${wire} onlink`])
    const rule = (from: string): string => `rule add from ${from} table ${100 + index} priority ${1000 + index}`
    ip(inside, [`link set eth${index} up`, rule(`192.168.${number}.2`), rule(`11.1.${number}.2`), ...this.#addressLines(uplink)])
    this.#loadRules(uplink)
  }

  /** The client's address of an uplink, and its routes: the first uplink is the way of packets without a source. */
  #addressLines(uplink: Uplink): string[] {
    const { index, number } = uplink
    const way = `default via 192.168.${number}.1 dev eth${index} onlink src ${innerAddress(uplink)}`
    return [`addr flush dev eth${index}`, `addr add ${innerAddress(uplink)}/32 dev eth${index}`, `route replace ${way} metric ${100 + index}`, `route replace ${way} table ${100 + index}`]
  }

  #loadRules(uplink: Uplink): void {
    const router = this.#router(uplink)
    nft(router, ruleset({ ...uplink, outer: `11.1.${uplink.number}.1`, open: `11.1.${uplink.number}.2` }))
    settings(router, { 'net/netfilter/nf_conntrack_udp_timeout': uplink.timeoutS, 'net/netfilter/nf_conntrack_udp_timeout_stream': uplink.timeoutS })
  }

  #makeNamespace(host: string): string {
    const namespace = this.#namespace(host)
    ip(null, [`netns add ${namespace}`])
    this.#namespaces.push(namespace)
    ip(namespace, ['link set lo up'])
    return namespace
  }

  #namespace(host: string): string {
    return `${this.#name}-${host}`
  }

  #router({ client, index }: Uplink): string {
    return this.#namespace(`${client}.${index}`)
  }

  #uplink(client: string, index: number): Uplink {
    const found = this.#uplinks.find((uplink) => uplink.client === client && uplink.index === index)
    if (found === undefined) throw new ServiceError('QB_LAB_REAL', `client '${client}' has no uplink ${index}`)
    return found
  }

  /** First uplinks. */
  #bothWays(one: string, other: string): string {
    const [near, far] = [this.outerAddress(one), this.outerAddress(other)]
    return `${near} . ${far}, ${far} . ${near}`
  }

  #tearDown(): void {
    if (!this.#isOpen) return
    this.#isOpen = false
    process.off('exit', this.#atExit)
    for (const program of this.#programs) program.kill()
    remove(this.#namespaces)
  }
}

const innerAddress = ({ kind, number }: Uplink): string => (kind === 'none' ? `11.1.${number}.2` : `192.168.${number}.2`)
/** The core's end of the link to a router. */
const wireOf = ({ number }: Uplink): string => `up${number}`
const outerAddress = ({ kind, number }: Uplink): string => (kind === 'none' ? `11.1.${number}.2` : `11.1.${number}.1`)

function remove(namespaces: readonly string[]): void {
  for (const namespace of namespaces) tryRun(['ip', 'netns', 'del', namespace])
}

/** Takes down what runs left behind whose process is gone: programs that still stand in their namespaces, then these. */
function sweep(): void {
  const names = run(['ip', 'netns', 'list']).split('\n').map((line) => line.split(' ')[0] ?? '')
  const dead = names.filter((name) => {
    const owner = new RegExp(`^${PREFIX}(\\d+)-`).exec(name)?.[1]
    return owner !== undefined && !isAlive(Number(owner))
  })
  for (const namespace of dead) {
    for (const pid of run(['ip', 'netns', 'pids', namespace]).split('\n').filter((line) => line !== '')) end(Number(pid))
  }
  remove(dead)
}

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0)
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM'
  }
}

function end(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL')
  } catch {
    // It went by itself.
  }
}
