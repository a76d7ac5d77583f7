/**
 * Runs a path policy for one connection of a client: says when it decides, and does what it answers, within these bounds, whatever it answers:
 * at most 10 decisions and 32 actions a second · one path for an address pair · no more paths than `maxPaths` · a pair that failed waits (`back-off.ts`) ·
 * the last path that works is never abandoned. Called by the path set; time and interfaces are given.
 */
import type { Cancel, Clock, Logger, PathSpec, PathStatus } from '../../config/index.ts'
import { isQuicbraidError } from '../../errors/index.ts'
import type { InterfaceWatch } from '../interfaces.ts'
import type { Path } from '../path.ts'
import { OpenBackOff } from './back-off.ts'
import { isSilent } from './built-in.ts'
import { checkActions } from './check.ts'
import { hostOf, isUnspecified } from './reach.ts'
import type { PathAction, PathPolicy } from './types.ts'

/** Least time between two decisions: 10 a second. */
export const DECISION_GAP_MS = 100
/** Decisions come at least so often. */
export const IDLE_MS = 5000
/** And so often while a path is being opened; the only path is looked at as often. */
export const BUSY_MS = 250
/** A status that was asked for is asked for again after this, if it is not there. */
const STATUS_PATIENCE_MS = 1000
/** Failures of the policy itself are told at most so often. */
const FAILURE_GAP_MS = 1000

/** Actions carried out in any second; what comes beyond is left for the next decision. */
export const ACTIONS_PER_SECOND = 32

/** What a runner needs of its connection. */
export interface PolicyHost {
  readonly clock: Clock
  readonly interfaces: InterfaceWatch
  readonly maxPaths: number
  readonly logger: Logger
  /** Sockets can be tied to a device. */
  readonly bindsDevices: boolean
  /** On the endpoint's clock. */
  nowMs(): number
  /** Of the server, the one in use first. */
  remotes(): readonly string[]
  /** Not abandoned. */
  paths(): readonly Path[]
  open(spec: PathSpec, signal: AbortSignal): Promise<Path>
  /** The policy threw, or answered what is no list of actions. */
  failed(error: unknown): void
}

/** An open under way. */
interface Opening {
  pair: Pair
}

/** What makes a path the same as another: our address (several: of a device; null: whichever the system takes) and the server's. */
interface Pair {
  name: string
  locals: readonly string[] | null
  port: string | null
  device: string | null
  remote: string
}

export class PolicyRunner {
  readonly #policy: PathPolicy
  readonly #host: PolicyHost
  /** A policy of ours names devices only as a help: without them it goes on. */
  readonly #ours: boolean
  readonly #backOff = new OpenBackOff()
  readonly #openings = new Map<string, Opening>()
  readonly #statuses = new Map<number, { status: PathStatus; atMs: number }>()
  readonly #leaving = new Set<number>()
  /** When the last actions were carried out, oldest first. */
  readonly #actedAtMs: number[] = []
  readonly #abort = new AbortController()
  #usesDevices: boolean
  #timer: unknown = null
  #dueAtMs = Infinity
  #decidedAtMs = -Infinity
  #failedAtMs = -Infinity
  #decisions = 0
  #wasSilent = false
  #glance: unknown = null
  #unlisten: Cancel = () => {}
  #state: 'waiting' | 'running' | 'over' = 'waiting'

  constructor(policy: PathPolicy, host: PolicyHost, origin: 'ours' | "the user's") {
    this.#policy = policy
    this.#host = host
    this.#ours = origin === 'ours'
    this.#usesDevices = host.bindsDevices
  }

  /** The handshake is confirmed. */
  start(): void {
    if (this.#state !== 'waiting') return
    this.#state = 'running'
    this.#unlisten = this.#host.interfaces.listen(() => this.#plan(0))
    this.#watch()
    this.#plan(0)
  }

  /** A path appeared, changed or ended. `trouble`: it may be the device. */
  changed(trouble: 'trouble' | 'news'): void {
    if (this.#state !== 'running') return
    if (trouble === 'trouble') this.#host.interfaces.look()
    this.#plan(0)
  }

  stop(): void {
    if (this.#state === 'over') return
    this.#state = 'over'
    this.#unlisten()
    for (const handle of [this.#timer, this.#glance]) if (handle !== null) this.#host.clock.clearTimeout(handle)
    this.#abort.abort()
  }

  /** For `explain()`: one line on the policy, one for each pair that waits. */
  lines(): string[] {
    const { name } = this.#policy
    if (this.#state !== 'running') return [`path policy ${name}: ${this.#state === 'over' ? 'over' : 'waits until the handshake is confirmed'}`]
    const opening = [...this.#openings.keys()].map((pair) => `path policy ${name}: opening ${pair}`)
    const waiting = this.#backOff.waiting(this.#host.clock.now()).filter(({ pair }) => !this.#openings.has(pair)).map(({ pair, ms, reason }) => `path policy ${name}: ${pair} again in ${(ms / 1000).toFixed(1)} s (${reason})`)
    return [`path policy ${name}: ${this.#decisions} decisions, ${this.#host.interfaces.current.length} addresses of this host`, ...opening, ...waiting]
  }

  /** Decides within `ms`, or as soon after as the rate allows. */
  #plan(ms: number): void {
    if (this.#state !== 'running') return
    const { clock } = this.#host
    const nowMs = clock.now()
    const atMs = Math.max(nowMs + ms, this.#decidedAtMs + DECISION_GAP_MS)
    if (this.#dueAtMs <= atMs) return
    if (this.#timer !== null) clock.clearTimeout(this.#timer)
    this.#dueAtMs = atMs
    this.#timer = clock.setTimeout(() => this.#decide(), Math.ceil(atMs - nowMs))
  }

  /** With one path nobody calls it suspect: it is looked at. */
  #watch(): void {
    this.#glance = this.#host.clock.setTimeout(() => {
      const open = this.#host.paths().filter((path) => path.facts.state === 'open')
      const silent = open.length === 1 && open.every(isSilent)
      if (silent !== this.#wasSilent) this.changed(silent ? 'trouble' : 'news')
      this.#wasSilent = silent
      this.#watch()
    }, BUSY_MS)
  }

  #decide(): void {
    const { clock, interfaces } = this.#host
    this.#timer = null
    this.#dueAtMs = Infinity
    this.#decidedAtMs = clock.now()
    this.#decisions += 1
    const paths = this.#host.paths()
    this.#tidy(paths)
    const remotes = this.#host.remotes()
    try {
      const view = Object.freeze({ nowMs: this.#host.nowMs(), interfaces: interfaces.current, remotes, paths: Object.freeze([...paths]) })
      const answer: unknown = this.#policy.decide(view)
      // An asynchronous policy is a mistake; its rejection is part of that one.
      if (answer instanceof Promise) answer.catch(() => {})
      for (const action of checkActions(answer, remotes[0] ?? '')) this.#act(action)
    } catch (error) {
      this.#fail(error)
    }
    const waits = this.#backOff.waiting(clock.now()).map(({ ms }) => ms)
    this.#plan(Math.min(IDLE_MS, this.#openings.size > 0 ? BUSY_MS : Infinity, ...waits))
  }

  /** Forgets what concerned paths that have ended. */
  #tidy(paths: readonly Path[]): void {
    const ids = new Set(paths.map(({ id }) => id))
    for (const id of this.#leaving) if (!ids.has(id)) this.#leaving.delete(id)
    for (const id of this.#statuses.keys()) if (!ids.has(id)) this.#statuses.delete(id)
    this.#backOff.settle((name) => this.#openings.has(name) || paths.some((path) => sameName(name, path)), this.#host.clock.now())
  }

  #act(action: PathAction): void {
    switch (action.do) {
      case 'open': return this.#open(action.spec)
      case 'abandon': return this.#abandon(action.path)
      case 'status': return this.#setStatus(action.path, action.status)
    }
  }

  #open(asked: PathSpec): void {
    const { interface: device, ...rest } = asked
    const spec = device === undefined || (this.#ours && !this.#usesDevices) ? rest : asked
    const pair = this.#pairOf(spec)
    const paths = this.#host.paths()
    const nowMs = this.#host.clock.now()
    if (paths.some((path) => isSame(pair, path))) return
    const others = [...this.#openings.values()]
    if (others.some((other) => overlap(other.pair, pair))) return
    const unseen = others.filter((other) => !paths.some((path) => isSame(other.pair, path))).length
    if (paths.length + unseen >= this.#host.maxPaths) return
    if (this.#backOff.wait(pair.name, nowMs) > 0 || !this.#mayAct()) return
    this.#backOff.onTry(pair.name, nowMs)
    const opening = { pair }
    this.#openings.set(pair.name, opening)
    this.#host.open(spec, this.#abort.signal).then(
      () => this.#backOff.onOpened(pair.name, this.#host.clock.now()),
      (error: unknown) => this.#onOpenFailed(spec, pair, error),
    ).finally(() => {
      this.#openings.delete(pair.name)
      this.changed('news')
    })
  }

  #onOpenFailed(spec: PathSpec, pair: Pair, error: unknown): void {
    if (this.#state !== 'running') return
    const code = isQuicbraidError(error) ? error.code : String(error)
    this.#backOff.onFailed(pair.name, code)
    if (code === 'QB_OPTION_INVALID' || code === 'QB_OPTION_UNKNOWN') return this.#fail(error)
    this.#host.logger.info?.('a path that the policy wanted did not open', { policy: this.#policy.name, spec, error })
    if (code === 'QB_BIND_FAILED' && this.#ours && spec.interface !== undefined && spec.local !== undefined) this.#usesDevices = false
    return undefined
  }

  #abandon(id: number): void {
    const paths = this.#host.paths()
    const path = paths.find((own) => own.id === id)
    if (path === undefined || path.facts.state === 'abandoning' || this.#leaving.has(id)) return
    const stays = paths.some((other) => other !== path && other.facts.state === 'open' && !other.facts.suspect && !this.#leaving.has(other.id))
    if (!stays || !this.#mayAct()) return
    this.#leaving.add(id)
    // It is over already, or the connection is: nothing is left to do.
    path.abandon().catch(() => this.#leaving.delete(id))
  }

  #setStatus(id: number, status: PathStatus): void {
    const path = this.#host.paths().find((own) => own.id === id)
    const nowMs = this.#host.clock.now()
    const asked = this.#statuses.get(id)
    if (path === undefined || path.facts.status === status || path.facts.state === 'abandoning' || this.#leaving.has(id)) return
    if ((asked?.status === status && nowMs - asked.atMs < STATUS_PATIENCE_MS) || !this.#mayAct()) return
    this.#statuses.set(id, { status, atMs: nowMs })
    path.setStatus(status)
  }

  /** Takes one of this second's actions. */
  #mayAct(): boolean {
    const nowMs = this.#host.clock.now()
    const [oldest = -Infinity] = this.#actedAtMs
    if (this.#actedAtMs.length >= ACTIONS_PER_SECOND && nowMs - oldest < 1000) return false
    if (this.#actedAtMs.push(nowMs) > ACTIONS_PER_SECOND) this.#actedAtMs.shift()
    return true
  }

  #fail(error: unknown): void {
    const nowMs = this.#host.clock.now()
    if (nowMs - this.#failedAtMs < FAILURE_GAP_MS) return
    this.#failedAtMs = nowMs
    this.#host.failed(error)
  }

  #pairOf(spec: PathSpec): Pair {
    const device = spec.interface ?? null
    const [remote = ''] = spec.remote === undefined ? this.#host.remotes() : [spec.remote]
    const own = spec.local === undefined ? null : hostOf(spec.local)
    const port = spec.local === undefined ? null : (/^(?:\[.*\]|[^:[]+):([1-9]\d*)$/.exec(spec.local)?.[1] ?? null)
    if (own !== null && !isUnspecified(own)) return { name: `${port === null ? own : spec.local} to ${remote}`, locals: [own], port, device, remote }
    if (device === null) return { name: `any to ${remote}`, locals: null, port, device, remote }
    const locals = this.#host.interfaces.current.filter(({ name }) => name === device).map(({ address }) => address)
    return { name: `${device} to ${remote}`, locals, port, device, remote }
  }
}

/** Whether the path is what an open of `pair` would make. */
function isSame(pair: Pair, path: Path): boolean {
  if (path.remote !== pair.remote) return false
  if (pair.port !== null && !path.local.endsWith(`:${pair.port}`)) return false
  const local = hostOf(path.local)
  if (pair.locals === null || pair.locals.includes(local)) return true
  return pair.device !== null && path.interface === pair.device && isUnspecified(local)
}

/** Whether two opens could make the same path. */
function overlap(a: Pair, b: Pair): boolean {
  if (a.remote !== b.remote || (a.port !== null && b.port !== null && a.port !== b.port)) return false
  return a.locals === null || b.locals === null || a.name === b.name || a.locals.some((local) => b.locals?.includes(local))
}

/** Whether `path` is the one that was opened under this name. */
function sameName(name: string, path: Path): boolean {
  const [local = '', remote] = name.split(' to ')
  return path.remote === remote && (local === 'any' || local === hostOf(path.local) || local === path.local || local === path.interface)
}
