/** The paths of a connection: known by id from the engine's first word of them, gone when abandoned. Opens new ones (client). */
import { fromNative } from '../binding/index.ts'
import type { NativeEvent } from '../binding/index.ts'
import { checkCall, checkFamily, checkPathSpec, invalidOption, nativePath, refuseUnavailable, waitFor } from '../config/index.ts'
import type { Observable, PathSpec, Settle, Waiting } from '../config/index.ts'
import type { Explanation } from '../connection/index.ts'
import { PathError } from '../errors/index.ts'
import type { PathEvent } from './facts.ts'
import { Migrations } from './migrations.ts'
import { PathSetFeeds } from './observe.ts'
import type { PathOwner } from './owner.ts'
import { Path } from './path.ts'
import { createRunner } from './policy/index.ts'
import type { PolicyRunner } from './policy/index.ts'
import { createScheduler } from './scheduler/index.ts'
import type { SchedulerRunner } from './scheduler/index.ts'

const TIMEOUT_MS = 5000
/** Changes that may mean that a device has gone. */
const TROUBLE: ReadonlySet<string> = new Set(['suspect', 'send-error', 'abandoning'])

type PathMessage = Extract<NativeEvent, { type: 'path' }>
type WaitingMessage = Extract<NativeEvent, { type: 'path-waiting' }>
type FailedMessage = Extract<NativeEvent, { type: 'path-failed' }>

/** An `open()` under way. */
interface Opening {
  settle: Settle<Path>
  /** What it waits for, for the error of its time limit. */
  waitsFor: string
}

export class PathSet implements Iterable<Path> {
  readonly #owner: PathOwner
  readonly #feeds: PathSetFeeds
  readonly #paths = new Map<number, Path>()
  /** Made by the first `open()`. */
  #openings: Map<number, Opening> | null = null
  readonly #policy: PolicyRunner | null
  readonly #scheduler: SchedulerRunner | null
  readonly #migrations: Migrations
  #readers: { check(): void }[] = []
  #tickets = 0
  #ended = false

  /** @internal */
  constructor(owner: PathOwner) {
    this.#owner = owner
    this.#feeds = new PathSetFeeds(owner.connection)
    this.#policy = createRunner(owner, { paths: () => [...this.#paths.values()], open: (spec, signal) => this.open(spec, { signal }) })
    this.#scheduler = createScheduler(owner)
    this.#migrations = new Migrations(owner)
  }

  /** Paths not abandoned. */
  get size(): number {
    return this.#paths.size
  }

  get(id: number): Path | undefined {
    return this.#paths.get(id)
  }

  [Symbol.iterator](): Iterator<Path> {
    return this.#paths.values()
  }

  /** [H1] tick; each change of membership. */
  get all$(): Observable<readonly Path[]> {
    return this.#feeds.all$
  }

  /** [H64] tick. */
  get events$(): Observable<PathEvent> {
    return this.#feeds.events$
  }

  /** When `count` paths are open and validated. @default count: all of `paths` in the options. @throws QB_PATH_TIMEOUT (5 s) */
  async ready(options: Waiting & { count?: number; timeoutMs?: number } = {}): Promise<readonly Path[]> {
    checkCall(options, ['count', 'timeoutMs', 'signal'])
    const { count = this.#owner.wantedPaths, timeoutMs = TIMEOUT_MS, signal } = options
    if (!Number.isInteger(count) || count < 1) throw invalidOption('count', count, 'a whole number from 1')
    checkTimeout(timeoutMs)
    return waitFor(signal, (settle) => {
      const check = (): void => {
        const open = this.#open()
        if (open.length >= count) settle.resolve(open)
        else if (this.#owner.error() !== null) settle.reject(this.#owner.error())
      }
      const reader = { check }
      this.#readers.push(reader)
      const cancel = this.#owner.sampling.timing.after(timeoutMs, () => settle.reject(this.#timeoutError(`${this.#open().length} of ${count} paths were open after ${timeoutMs} ms: ${this.#summary()}`)))
      check()
      return () => {
        cancel()
        this.#readers = this.#readers.filter((other) => other !== reader)
      }
    })
  }

  /** Client only. Waits for the handshake, CIDs and limits; resolves when validated. @throws QB_PATH_TIMEOUT (names what it waited for) QB_PATH_VALIDATION QB_PATH_ROLE QB_PATH_LIMIT QB_OPTION_INVALID QB_BIND_FAILED */
  async open(spec: PathSpec, options: Waiting & { timeoutMs?: number } = {}): Promise<Path> {
    checkCall(options, ['timeoutMs', 'signal'])
    const { timeoutMs = TIMEOUT_MS, signal } = options
    const owner = this.#owner
    const checked = checkPathSpec(spec, 'spec')
    refuseUnavailable('path', checked, owner.features, 'spec')
    checkFamily(checked, owner.remote(), 'spec')
    checkTimeout(timeoutMs)
    if (owner.role === 'server') throw new PathError('QB_PATH_ROLE', 'this side is the server, and only the client opens paths; open it at the other end')
    const ended = owner.error()
    if (ended !== null) throw ended
    return waitFor(signal, (settle) => {
      const ticket = (this.#tickets += 1)
      const opening: Opening = { settle, waitsFor: 'handshake' }
      this.#openings ??= new Map()
      this.#openings.set(ticket, opening)
      const cancel = owner.sampling.timing.after(timeoutMs, () => settle.reject(this.#timeoutError(`the path was not open after ${timeoutMs} ms: it waited for ${opening.waitsFor}`)))
      owner.engine.tell(owner.key, { do: 'open-path', ticket, spec: nativePath(checked) })
      return () => {
        cancel()
        // Still known: given up here, not answered by the engine.
        if (this.#openings?.delete(ticket) && owner.error() === null) owner.engine.tell(owner.key, { do: 'cancel-path', ticket })
      }
    })
  }

  explain(): Explanation {
    const known = this.#owner.explain('paths')
    const lines = [...known.lines, ...(this.#scheduler === null ? [] : [this.#scheduler.line()]), ...(this.#policy?.lines() ?? [])]
    return { ...known, lines, toString: () => lines.join('\n') }
  }

  /** Paths that can carry data, for `Path.abandon`. */
  #open(): Path[] {
    return [...this.#paths.values()].filter((path) => path.facts.state === 'open')
  }

  /** The handshake is confirmed. @internal */
  onConfirmed(): void {
    this.#policy?.start()
  }

  /** @internal */
  onPath(message: PathMessage): void {
    const { path: id, facts, ticket } = message
    let path = this.#paths.get(id)
    const known = path !== undefined
    if (path === undefined) {
      if (facts.state === 'abandoned') return
      const fresh: Path = new Path(this.#owner, id, message.interface, message, () => this.#open().every((other) => other === fresh), this.#migrations)
      path = fresh
      this.#paths.set(id, path)
    }
    path.onChange(message)
    if (facts.state === 'abandoned') this.#paths.delete(id)
    if (message.change !== null) this.#feeds.emit({ ...message.change, atMs: message.atMs, path: id } as PathEvent)
    if (!known || facts.state === 'abandoned') this.#feeds.changed([...this.#paths.values()])
    if (ticket !== null) this.#settleOpening(ticket, path)
    for (const reader of this.#readers) reader.check()
    this.#policy?.changed(TROUBLE.has(message.change?.type ?? '') ? 'trouble' : 'news')
  }

  /** What else the engine tells of paths. @internal */
  onEvent(event: Extract<NativeEvent, { type: 'plan' | 'path-waiting' | 'path-failed' | 'path-migrated' }>): void {
    switch (event.type) {
      // The engine asks the user's scheduler.
      case 'plan': return this.#scheduler?.onPlan(event)
      case 'path-waiting': return this.#onWaiting(event)
      case 'path-failed': return this.#onFailed(event)
      case 'path-migrated': return this.#migrations.onMigrated(event)
    }
  }

  #onWaiting(message: WaitingMessage): void {
    const opening = message.ticket === null ? undefined : this.#openings?.get(message.ticket)
    if (opening !== undefined) opening.waitsFor = message.for
    this.#feeds.emit({ type: 'waiting', for: message.for, atMs: message.atMs, path: message.path, reason: message.reason })
  }

  #onFailed(message: FailedMessage): void {
    const opening = this.#openings?.get(message.ticket)
    this.#openings?.delete(message.ticket)
    opening?.settle.reject(fromNative(message.error))
  }

  /** The connection has ended. @internal */
  end(error: Error): void {
    if (this.#ended) return
    this.#ended = true
    this.#policy?.stop()
    for (const path of this.#paths.values()) path.end()
    for (const opening of this.#openings?.values() ?? []) opening.settle.reject(error)
    this.#openings?.clear()
    this.#migrations.end(error)
    for (const reader of this.#readers) reader.check()
    this.#feeds.end()
  }

  #settleOpening(ticket: number, path: Path): void {
    const opening = this.#openings?.get(ticket)
    if (opening === undefined) return
    const { state, reason } = path.facts
    opening.waitsFor = state === 'validating' ? `validation of ${path.local} to ${path.remote}` : opening.waitsFor
    if (state !== 'open' && state !== 'abandoned') return
    this.#openings?.delete(ticket)
    if (state === 'open') opening.settle.resolve(path)
    else opening.settle.reject(new PathError('QB_PATH_ABANDONED', `path ${path.id} ended while it was opened (${reason}); try again or another address`, { path: path.id }))
  }

  #summary(): string {
    const states = [...this.#paths.values()].map((path) => `path ${path.id} ${path.local} to ${path.remote} is ${path.facts.state} (${path.facts.reason})`)
    return states.length === 0 ? 'no path is known yet' : states.join(', ')
  }

  #timeoutError(what: string): PathError {
    return new PathError('QB_PATH_TIMEOUT', `${what}; paths.explain() tells more, timeoutMs waits longer`)
  }
}

function checkTimeout(timeoutMs: unknown): void {
  if (typeof timeoutMs !== 'number' || !(timeoutMs >= 0)) throw invalidOption('timeoutMs', timeoutMs, 'a number of milliseconds from 0')
}
