/** Views of the packet-number spaces: what was sent, received and acknowledged, and the peer's ACKs as they come. */
import { Trace } from '../binding/index.ts'
import type { Engine, NativeAcks, NativeSpace } from '../binding/index.ts'
import { PathError } from '../errors/index.ts'
import type { Observable } from '../config/index.ts'
import { AckFeed } from './observe.ts'
import type { AckRecord } from './observe.ts'

export type SpaceName = 'initial' | 'handshake' | 'application'

/** What spaces ask of their connection. */
export interface SpaceOwner {
  readonly engine: Engine
  readonly key: number
  /** Not null once the connection has ended. */
  error(): Error | null
  trace(bit: number, on: boolean): void
}

/** Numbers are asked of the engine when they are read; once the connection has ended they are what was read last. */
export class SpaceView {
  readonly id: SpaceName
  /** application only */
  readonly path: number | null
  readonly acks$: Observable<AckRecord>
  readonly #read: () => NativeSpace

  /** @internal */
  constructor(id: SpaceName, path: number | null, acks$: Observable<AckRecord>, read: () => NativeSpace) {
    this.id = id
    this.path = path
    this.acks$ = acks$
    this.#read = read
  }

  get state(): 'waiting-for-keys' | 'open' | 'discarded' {
    return this.#read().state
  }

  get largestSent(): number | null {
    return this.#read().largestSent
  }

  get largestAcknowledged(): number | null {
    return this.#read().largestAcknowledged
  }

  get largestReceived(): number | null {
    return this.#read().largestReceived
  }

  /** Received ranges we hold, highest first, [low, high]. */
  get received(): readonly (readonly [number, number])[] {
    return this.#read().received
  }
}

const GONE: NativeSpace = { state: 'discarded', largestSent: null, largestAcknowledged: null, largestReceived: null, received: [] }

export class Spaces {
  readonly #owner: SpaceOwner
  readonly #feed: AckFeed
  /** What was read last, by space and path; made by the first question. */
  #last: Map<string, NativeSpace> | null = null
  #initial: SpaceView | null = null
  #handshake: SpaceView | null = null

  /** @internal */
  constructor(owner: SpaceOwner) {
    this.#owner = owner
    this.#feed = new AckFeed((on) => owner.trace(Trace.ACKS, on))
  }

  get initial(): SpaceView {
    return (this.#initial ??= this.#view('initial', null))
  }

  get handshake(): SpaceView {
    return (this.#handshake ??= this.#view('handshake', null))
  }

  /** In shared-space mode every path gives the one space. @throws QB_PATH_UNKNOWN */
  application(path = 0): SpaceView {
    if (this.#facts('application', path) === null) {
      throw new PathError('QB_PATH_UNKNOWN', `there is no path ${path}; connection.paths lists those there are`, { path })
    }
    return this.#view('application', path)
  }

  /** From the connection: an ACKS record. @internal */
  onAcks(acks: NativeAcks): void {
    this.#feed.emit(acks)
  }

  /** @internal */
  end(): void {
    this.#feed.end()
  }

  #view(id: SpaceName, path: number | null): SpaceView {
    return new SpaceView(id, path, this.#feed.of(id, path ?? 0), () => this.#facts(id, path ?? 0) ?? GONE)
  }

  #facts(space: SpaceName, path: number): NativeSpace | null {
    const name = `${space} ${path}`
    if (this.#owner.error() !== null) return this.#last?.get(name) ?? GONE
    const facts = this.#owner.engine.ask(this.#owner.key, { ask: 'space', space, path }) as NativeSpace | null
    if (facts !== null) (this.#last ??= new Map()).set(name, facts)
    return facts
  }
}
