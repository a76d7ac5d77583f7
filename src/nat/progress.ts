/**
 * Which way a connection goes: over a relay or directly, what changed and when, and who waits for the first direct path. Reads the facts of
 * paths; moving data between them is the engine's (burst B-105, traversal T-99).
 */
import type { Settle } from '../config/index.ts'
import type { Path, PathSet } from '../path/index.ts'
import type { NatPart } from './part.ts'
import type { TraversalEvent } from './types.ts'

export class Progress {
  readonly #part: NatPart
  readonly #paths: PathSet
  readonly #emit: (event: TraversalEvent) => void
  readonly #waiting = new Set<Settle<Path>>()
  /** What carries the data, as far as that is one path. */
  #current: { id: number; relayed: boolean } | null = null
  #sinceMs: number

  constructor(part: NatPart, paths: PathSet, emit: (event: TraversalEvent) => void) {
    this.#part = part
    this.#paths = paths
    this.#emit = emit
    this.#sinceMs = part.engine.now()
  }

  /** An open path past no relay; one that answers, if there is one. */
  get direct(): Path | null {
    const open = [...this.#paths].filter((path) => path.facts.state === 'open' && !path.relayed)
    return open.find((path) => !path.facts.suspect) ?? open[0] ?? null
  }

  /** A relayed path is there, or on its way. */
  get relayed(): boolean {
    return [...this.#paths].some((path) => path.relayed)
  }

  /** The next direct path; answers how to leave. */
  wait(settle: Settle<Path>): () => void {
    this.#waiting.add(settle)
    this.onPath()
    return () => this.#waiting.delete(settle)
  }

  onPath(): void {
    const { direct } = this
    if (direct !== null && !direct.facts.suspect) for (const settle of Array.from(this.#waiting)) settle.resolve(direct)
    const open = [...this.#paths].filter((path) => path.facts.state === 'open')
    const alive = open.filter((path) => !path.facts.suspect)
    // While nothing answers, nothing has changed yet.
    const best = alive.find((path) => !path.relayed) ?? alive[0]
    if (best === undefined || best.relayed === this.#current?.relayed) return
    const before = this.#current
    this.#current = { id: best.id, relayed: best.relayed }
    const atMs = this.#part.engine.now()
    if (before !== null) this.#emit({ atMs, type: best.relayed ? 'fell-back' : 'upgraded', from: before.id, to: best.id, afterMs: atMs - this.#sinceMs })
    this.#sinceMs = atMs
  }

  end(error: Error): void {
    for (const settle of Array.from(this.#waiting)) settle.reject(error)
  }
}
