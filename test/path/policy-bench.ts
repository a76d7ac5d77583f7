/** A world of one connection for path policies: interfaces, paths and a clock that a test moves, without any engine. */
import { isIP } from 'node:net'
import { formatAddress } from '../../src/config/index.ts'
import type { Logger, PathSpec, PathStatus } from '../../src/config/index.ts'
import { OptionError, PathError } from '../../src/errors/index.ts'
import { InterfaceWatch } from '../../src/path/index.ts'
import type { InterfaceAddress, Path, PathPolicy, PathPolicyName, PathPolicyView } from '../../src/path/index.ts'
import { policyNamed } from '../../src/path/policy/built-in.ts'
import { PolicyRunner } from '../../src/path/policy/runner.ts'
import type { PolicyHost } from '../../src/path/policy/runner.ts'
import { FakeClock } from '../fake/clock.ts'

/** As much of a path as policies use. */
export class BenchPath {
  readonly id: number
  readonly local: string
  readonly remote: string
  readonly interface: string | null
  facts = { state: 'open' as Path['facts']['state'], suspect: false, status: 'available' as PathStatus, peerStatus: 'unknown' as const, reason: '', atMs: 0 }
  ptoCount = 0
  readonly #bench: PolicyBench

  constructor(bench: PolicyBench, id: number, spec: PathSpec, state: Path['facts']['state']) {
    this.#bench = bench
    this.id = id
    this.local = withPort(spec.local ?? bench.chosen(spec) ?? '')
    this.remote = spec.remote ?? bench.remotes[0] ?? ''
    this.interface = spec.interface ?? null
    this.facts.state = state
    this.facts.status = spec.status ?? 'available'
  }

  statistics(): { ptoCount: number } {
    return { ptoCount: this.ptoCount }
  }

  setStatus(status: PathStatus): void {
    this.#bench.calls.push({ atMs: this.#bench.clock.now(), what: `status ${this.id} ${status}` })
    this.#bench.clock.setTimeout(() => {
      this.facts.status = status
      this.#bench.runner.changed('news')
    }, 1)
  }

  async abandon(): Promise<void> {
    this.#bench.calls.push({ atMs: this.#bench.clock.now(), what: `abandon ${this.id}` })
    this.facts.state = 'abandoning'
    this.#bench.runner.changed('trouble')
    this.#bench.clock.setTimeout(() => this.#bench.end(this.id), 20)
  }
}

export class PolicyBench {
  readonly clock = new FakeClock()
  interfaces: InterfaceAddress[] = []
  remotes: string[]
  readonly paths = new Map<number, BenchPath>()
  /** Everything asked of the connection. */
  readonly calls: { atMs: number; what: string }[] = []
  readonly decisions: PathPolicyView[] = []
  readonly failures: unknown[] = []
  readonly notes: object[] = []
  /** Local addresses (without port) from which nobody answers. */
  readonly dead = new Set<string>()
  /** The same for one address of the server: `local remote`. */
  readonly deadPairs = new Set<string>()
  /** Devices that sockets cannot be tied to. */
  readonly unbindable = new Set<string>()
  readonly runner: PolicyRunner
  answerMs = 30
  maxPaths = 8
  #ids = 0
  readonly #watch: InterfaceWatch

  constructor(policy: PathPolicyName | PathPolicy, options: { interfaces?: InterfaceAddress[]; remotes?: string[]; first?: string; maxPaths?: number } = {}) {
    this.interfaces = options.interfaces ?? []
    this.remotes = options.remotes ?? ['192.0.2.1:443']
    this.maxPaths = options.maxPaths ?? 8
    this.paths.set(0, new BenchPath(this, 0, { local: options.first ?? '10.0.0.1' }, 'open'))
    const inner = typeof policy === 'string' ? policyNamed(policy) : policy
    if (inner === null) throw new Error('manual has nothing to run')
    const watched: PathPolicy = { name: inner.name, decide: (view) => { this.decisions.push(view); return inner.decide(view) } }
    this.#watch = new InterfaceWatch(() => this.interfaces, this.clock)
    const logger: Logger = { info: (_message, facts) => this.notes.push(facts) }
    const host: PolicyHost = {
      clock: this.clock, logger, bindsDevices: true, maxPaths: this.maxPaths,
      interfaces: this.#watch,
      nowMs: () => this.clock.now(),
      remotes: () => this.remotes,
      paths: () => [...this.paths.values()] as unknown as Path[],
      open: (spec, signal) => this.#open(spec, signal),
      failed: (error) => this.failures.push(error),
    }
    this.runner = new PolicyRunner(watched, host, typeof policy === 'string' ? 'ours' : "the user's")
  }

  /** Starts and lets the first decision settle. */
  async start(): Promise<this> {
    this.runner.start()
    await this.clock.advance(500)
    return this
  }

  /** `local>remote` of the paths that are open, in order. */
  open(): string[] {
    return [...this.paths.values()].filter(({ facts }) => facts.state === 'open').map(({ local, remote }) => `${local}>${remote}`).sort()
  }

  /** The same, only our hosts. */
  locals(): string[] {
    return [...this.paths.values()].filter(({ facts }) => facts.state === 'open').map(({ local }) => local.replace(/:\d+$/, '').replace(/^\[|\]$/g, '')).sort()
  }

  what(): string[] {
    return this.calls.map(({ what }) => what)
  }

  /**
   * Our address where a spec names none: the system's choice, of the device if one is named. It has nothing that the watch has not seen yet: between
   * two looks a policy that names devices alone could get two paths of one pair, which multipath allows (a path is its id, not its addresses).
   */
  chosen(spec: PathSpec): string | undefined {
    if (spec.local !== undefined || spec.interface === undefined) return spec.local ?? '10.0.0.1'
    return this.#watch.current.find(({ name, address }) => name === spec.interface && isIP(address) === 4)?.address
  }

  suspect(id: number, suspect = true): void {
    const path = this.paths.get(id)
    if (path === undefined) return
    path.facts = { ...path.facts, suspect }
    this.runner.changed(suspect ? 'trouble' : 'news')
  }

  end(id: number): void {
    if (!this.paths.delete(id)) return
    this.runner.changed('news')
  }

  async #open(spec: PathSpec, signal: AbortSignal): Promise<Path> {
    const host = spec.local ?? spec.interface ?? 'any'
    this.calls.push({ atMs: this.clock.now(), what: `open ${host}${spec.status === undefined ? '' : ` ${spec.status}`}` })
    if (host === 'wrong') throw new OptionError('QB_OPTION_INVALID', 'wrong', {})
    if (this.chosen(spec) === undefined) throw new PathError('QB_PATH_VALIDATION', `${host} has no address`)
    if (spec.interface !== undefined && this.unbindable.has(spec.interface)) throw new PathError('QB_BIND_FAILED', `no ${spec.interface}`)
    const path = new BenchPath(this, (this.#ids += 1), spec, 'validating')
    this.paths.set(path.id, path)
    this.runner.changed('news')
    await new Promise<void>((resolve) => this.clock.setTimeout(resolve, this.answerMs))
    signal.throwIfAborted()
    if (this.dead.has(host) || this.deadPairs.has(`${host} ${spec.remote ?? ''}`)) {
      this.end(path.id)
      throw new PathError('QB_PATH_VALIDATION', `nobody answered ${host}`)
    }
    if (path.facts.state !== 'validating') throw new PathError('QB_PATH_ABANDONED', 'abandoned meanwhile')
    path.facts = { ...path.facts, state: 'open' }
    this.runner.changed('news')
    return path as unknown as Path
  }
}

export function device(name: string, address: string, up = true): InterfaceAddress {
  return { name, address, up }
}

function withPort(local: string): string {
  const family = isIP(local)
  return family === 0 ? local : formatAddress({ host: local, port: 4000, family: family as 4 | 6 })
}
