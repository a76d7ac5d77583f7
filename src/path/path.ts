/** One path of a connection as people hold it: what it is, how it does, and what can be asked of it. */
import { PATH_NUMBERS, Scope } from '../binding/index.ts'
import type { NativePathFacts } from '../binding/index.ts'
import { codeToJson, PathError } from '../errors/index.ts'
import { checkCall, deferHandled, invalidOption, isCode, parseRelayed, unavailableOption } from '../config/index.ts'
import type { Deferred, Observable, PathSpec, PathStatus, Waiting } from '../config/index.ts'
import type { Migrations } from './migrations.ts'
import type { PathFacts, PathMetrics } from './facts.ts'
import { PathFeeds } from './observe.ts'
import type { PathOwner } from './owner.ts'

/** PATH_ABANDON without a reason of the application's: "the path is not wanted any more" (multipath draft). */
const NOT_WANTED = 0x3en
const ECN = ['testing', 'capable', 'failed'] as const

/** What the set tells a path. */
export interface PathChange {
  local: string
  remote: string
  facts: NativePathFacts
}

export class Path {
  /** The path id of the wire (0 = handshake). */
  readonly id: number
  readonly interface: string | null
  readonly #owner: PathOwner
  readonly #feeds: PathFeeds
  readonly #isLast: () => boolean
  readonly #migrations: Migrations
  #local: string
  #remote: string
  #facts: PathFacts
  #numbers: PathMetrics | null = null
  #abandoned: Deferred<void> | null = null

  /** `isLast`: whether no other path carries the connection. @internal */
  constructor(owner: PathOwner, id: number, device: string | null, change: PathChange, isLast: () => boolean, migrations: Migrations) {
    this.#owner = owner
    this.#migrations = migrations
    this.#isLast = isLast
    this.id = id
    this.interface = device
    this.#local = change.local
    this.#remote = change.remote
    this.#facts = change.facts
    this.#feeds = new PathFeeds(owner.sampling, () => this.statistics())
  }

  get local(): string {
    return this.#local
  }

  get remote(): string {
    return this.#remote
  }

  /** The peer is behind a relay: `remote` is `RELAY-OUTER`. */
  get relayed(): boolean {
    return parseRelayed(this.#remote) !== null
  }

  get facts(): PathFacts {
    return this.#facts
  }

  /** [H1] tick; completes at 'abandoned'. */
  get state$(): Observable<PathFacts> {
    return this.#feeds.state$
  }

  /** [H1] sample. */
  get metrics$(): Observable<PathMetrics> {
    return this.#feeds.metrics$
  }

  /** Of an ended path: the last numbers. */
  statistics(): PathMetrics {
    return this.#numbers ?? this.#read()
  }

  /** Local choice, told to the peer by PATH_STATUS_*. @throws QB_PATH_ABANDONED */
  setStatus(status: PathStatus): void {
    if (status !== 'available' && status !== 'backup') throw invalidOption('status', status, "'available' or 'backup'")
    this.#checkAlive()
    this.#owner.engine.tell(this.#owner.key, { do: 'path-status', path: this.id, status })
  }

  /** Its share under the scheduler `weighted` against those of other paths; shares are counted anew. @throws QB_OPTION_INVALID QB_PATH_ABANDONED */
  setWeight(weight: number): void {
    if (!(typeof weight === 'number' && weight >= 0.001 && weight <= 1000)) throw invalidOption('weight', weight, 'a number from 0.001 to 1000')
    if (!this.#owner.features.has('scheduler.weighted')) throw unavailableOption('weight', weight)
    this.#checkAlive()
    this.#owner.engine.tell(this.#owner.key, { do: 'path-weight', path: this.id, weight })
  }

  /**
   * Client only. Moves this path to another address of this end, by default another socket of the endpoint (made if there is none), when the handshake is
   * confirmed and the server has answered there. @throws QB_PATH_VALIDATION QB_PATH_TIMEOUT (5 s) QB_PATH_ABANDONED QB_PATH_ROLE QB_PATH_LIMIT (the server
   * disabled it) QB_BIND_FAILED QB_OPTION_INVALID
   */
  async migrate(spec: PathSpec = {}, options: Waiting = {}): Promise<void> {
    const checked = this.#migrations.check(spec, options)
    this.#checkAlive()
    await this.#migrations.move(this.id, checked, options.signal)
  }

  /** PATH_ABANDON; resolves when the peer answered or 3 PTO passed. @throws QB_PATH_LAST, the connection's error */
  async abandon(options: { code?: number | bigint } = {}): Promise<void> {
    checkCall(options, ['code'])
    const code = options.code ?? NOT_WANTED
    if (!isCode(code)) throw invalidOption('code', code, 'a whole number from 0 to 2^62 - 1')
    this.#checkConnection()
    if (this.#facts.state === 'abandoned') return
    if (this.#abandoned === null) {
      if (this.#isLast()) throw new PathError('QB_PATH_LAST', `path ${this.id} is the only one of this connection and cannot be abandoned; close() ends the connection`, { path: this.id })
      this.#abandoned = deferHandled()
      this.#owner.engine.tell(this.#owner.key, { do: 'abandon-path', path: this.id, code: codeToJson(BigInt(code)) ?? 0 })
    }
    await this.#abandoned.promise
  }

  /** From the set: the engine told a change. @internal */
  onChange(change: PathChange): void {
    this.#local = change.local
    this.#remote = change.remote
    this.#facts = change.facts
    this.#feeds.changed(change.facts)
    if (change.facts.state === 'abandoned') this.end()
  }

  /** The path or its connection has ended. @internal */
  end(): void {
    this.#numbers ??= this.#read()
    this.#feeds.end()
    this.#abandoned?.resolve()
  }

  #checkConnection(): void {
    const ended = this.#owner.error()
    if (ended !== null) throw ended
  }

  #checkAlive(): void {
    this.#checkConnection()
    const { state, reason } = this.#facts
    if (state === 'abandoned' || state === 'abandoning') throw new PathError('QB_PATH_ABANDONED', `path ${this.id} has ended (${reason}); open another with paths.open()`, { path: this.id })
  }

  #read(): PathMetrics {
    const numbers = this.#owner.engine.numbers(Scope.PATH, this.#owner.key, this.id)
    const row = Object.fromEntries(PATH_NUMBERS.map((name, index) => [name, numbers?.[index] ?? 0])) as Record<keyof PathMetrics, number>
    return { ...row, ecn: ECN[row.ecn] ?? 'failed' }
  }
}
