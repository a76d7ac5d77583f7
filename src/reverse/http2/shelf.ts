/** Sessions of a public end over TCP, by key: which takes the next request (reverse.md V41, V42), who waits for one (`waitForMs`). Sans-IO but for timers it is given. */
import type { ClientHttp2Session, ClientHttp2Stream } from 'node:http2'
import { ServiceError } from '../../errors/index.ts'
import { show } from '../../config/index.ts'

export interface Kept {
  readonly session: ClientHttp2Session
  readonly key: string
  /** Requests under way, and sessions that were handed out in this turn. */
  open: number
}

interface Waiter {
  key: string | undefined
  resolve: (session: ClientHttp2Session) => void
  reject: (error: Error) => void
}

/** Where the other end does not say how many streams it takes, RFC 9113 §6.5.2 recommends no fewer. */
const STREAMS = 100

export class SessionShelf {
  readonly #kept = new Map<string, Set<Kept>>()
  readonly #waiters = new Set<Waiter>()
  readonly #maxWaiting: number
  readonly #soon: (run: () => void) => void
  size = 0
  /** Of all sessions, so far and now. */
  requests = 0
  streamsOpen = 0

  constructor(maxWaiting: number, soon: (run: () => void) => void) {
    this.#maxWaiting = maxWaiting
    this.#soon = soon
  }

  /** Requests that wait. */
  get waiting(): number {
    return this.#waiters.size
  }

  /** Keys that have a session. */
  get keys(): number {
    return this.#kept.size
  }

  /** Nobody comes any more. */
  end(error: Error): void {
    for (const { reject } of this.#waiters) reject(error)
    this.#waiters.clear()
  }

  count(key: string): number {
    return this.#kept.get(key)?.size ?? 0
  }

  sizes(): Readonly<Record<string, number>> {
    return Object.fromEntries(Array.from(this.#kept, ([key, all]) => [key, all.size]))
  }

  add(key: string, session: ClientHttp2Session): Kept {
    const kept: Kept = { session, key, open: 0 }
    const all = this.#kept.get(key) ?? new Set()
    this.#kept.set(key, all.add(kept))
    this.size += 1
    counted(kept, (change) => {
      if (change > 0) this.requests += 1
      this.streamsOpen += change
      if (change < 0) this.#serve()
    })
    session.on('remoteSettings', () => this.#serve())
    this.#serve()
    return kept
  }

  /** Takes no more requests. False: it did not before. */
  remove(kept: Kept): boolean {
    const all = this.#kept.get(kept.key)
    if (all === undefined || !all.delete(kept)) return false
    if (all.size === 0) this.#kept.delete(kept.key)
    this.size -= 1
    return true
  }

  /** At once. @throws QB_REVERSE_NO_CONNECTION */
  take(key: string | undefined): ClientHttp2Session {
    const best = this.#best(key)
    if (best !== null) return this.#lend(best)
    const there = Array.from(this.#kept.keys()).slice(0, 8).map((name) => show(name)).join(', ')
    throw new ServiceError('QB_REVERSE_NO_CONNECTION', `no connection ${key === undefined ? '' : `with the key ${show(key)} `}takes a request at present; there are ${there === '' ? 'none at all' : `those of ${there}`}`, { by: 'local' })
  }

  /** Waits; `stop` is called with what ends the waiting from outside. @throws as `take` when too many wait */
  wait(key: string | undefined, onStop: (stop: (error: Error) => void) => void): Promise<ClientHttp2Session> {
    if (this.#waiters.size >= this.#maxWaiting) return Promise.reject(new ServiceError('QB_REVERSE_NO_CONNECTION', `${this.#waiters.size} requests wait for a connection (limits.maxWaiting)`, { by: 'local' }))
    return new Promise((resolve, reject) => {
      const waiter: Waiter = { key, resolve, reject }
      this.#waiters.add(waiter)
      onStop((error) => {
        if (this.#waiters.delete(waiter)) reject(error)
      })
    })
  }

  #serve(): void {
    for (const waiter of this.#waiters) {
      const best = this.#best(waiter.key)
      if (best === null) continue
      this.#waiters.delete(waiter)
      waiter.resolve(this.#lend(best))
    }
  }

  /** The request itself comes in this turn or never. */
  #lend(kept: Kept): ClientHttp2Session {
    kept.open += 1
    this.#soon(() => {
      kept.open -= 1
      this.#serve()
    })
    return kept.session
  }

  #best(key: string | undefined): Kept | null {
    let best: Kept | null = null
    for (const all of key === undefined ? this.#kept.values() : [this.#kept.get(key) ?? []]) {
      for (const kept of all) {
        const most = kept.session.remoteSettings?.maxConcurrentStreams ?? STREAMS
        if (kept.open < most && !kept.session.closed && (best === null || kept.open < best.open)) best = kept
      }
    }
    return best
  }
}

/** Node does not tell how many streams a session has: `onChange` is told of one more (1) or less (-1). */
function counted(kept: Kept, onChange: (change: 1 | -1) => void): void {
  const { session } = kept
  const request = session.request.bind(session)
  session.request = (...all: Parameters<ClientHttp2Session['request']>): ClientHttp2Stream => {
    const stream = request(...all)
    kept.open += 1
    onChange(1)
    stream.once('close', () => {
      kept.open -= 1
      onChange(-1)
    })
    return stream
  }
}
