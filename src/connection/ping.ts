/** Round-trip times that the user asks for: tickets under way, and the first answer to each. */
import type { Engine, NativeEvent } from '../binding/index.ts'
import { fromNative } from '../binding/index.ts'
import { checkCall, waitFor } from '../config/index.ts'
import type { Settle, Waiting } from '../config/index.ts'
import { PathError } from '../errors/index.ts'
import type { Path } from '../path/index.ts'
import type { Pong } from './facts.ts'

export class Pings {
  readonly #engine: Engine
  readonly #key: number
  /** Made by the first ping. */
  #waiting: Map<number, Settle<Pong>> | null = null
  #last = 0

  constructor(engine: Engine, key: number) {
    this.#engine = engine
    this.#key = key
  }

  /** `find`: the path of an id. */
  ask(options: Waiting & { path?: number }, find: (id: number) => Path | undefined): Promise<Pong> {
    checkCall(options, ['signal', 'path'])
    const { signal, path } = options
    const target = path === undefined ? undefined : find(path)
    if (path !== undefined && target === undefined) throw new PathError('QB_PATH_UNKNOWN', `there is no path ${String(path)}; connection.paths lists those there are`, typeof path === 'number' ? { path } : {})
    return waitFor(signal, (settle) => {
      const ticket = (this.#last += 1)
      this.#waiting ??= new Map()
      this.#waiting.set(ticket, settle)
      this.#engine.tell(this.#key, { do: 'ping', ticket, path: path ?? null })
      const gone = target?.state$.subscribe({ complete: () => settle.reject(new PathError('QB_PATH_ABANDONED', `path ${String(path)} was abandoned before it answered; ping another`, { path: path ?? null })) })
      return () => {
        this.#waiting?.delete(ticket)
        gone?.unsubscribe()
      }
    })
  }

  onEvent(event: Extract<NativeEvent, { type: 'pong' | 'ping-failed' }>): void {
    const settle = this.#waiting?.get(event.ticket)
    if (event.type === 'pong') settle?.resolve({ rttMs: event.rttMs, path: event.path })
    else settle?.reject(fromNative(event.error))
  }

  end(error: Error): void {
    for (const settle of this.#waiting?.values() ?? []) settle.reject(error)
  }
}
