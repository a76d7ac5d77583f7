/**
 * Who decides about newcomers: nobody (all are welcome), an `admit` function, or loops over `attempts()`. Attempts wait in the engine, which
 * bounds their number and refuses those that nobody decides within 5 s; here are only their verdicts. Every attempt gets one.
 */
import type { Engine, NativeEvent } from '../binding/index.ts'
import { Supply, deferHandled, show } from '../config/index.ts'
import type { Admit, AdmitVerdict, AttemptFacts, Deferred, Logger, ServerOptions, Waiting } from '../config/index.ts'
import type { Connection } from '../connection/index.ts'
import { EndpointError } from '../errors/index.ts'

/** Connections that wait for `incoming()` where nothing else is said. */
export const BACKLOG = 256

const VERDICTS: readonly unknown[] = ['accept', 'refuse', 'retry', 'ignore'] satisfies AdmitVerdict[]

/** An attempt whose verdict is given by hand, once. */
export interface Attempt extends AttemptFacts {
  /** Resolves when the connection can be used; it does not come out of `incoming()`. `options` go over those of `listen`. @throws QB_ATTEMPT_DECIDED (a verdict was given, or 5 s passed: then it was refused) or the connection's error */
  accept(options?: Partial<ServerOptions>): Promise<Connection>
  /** CONNECTION_REFUSED. @throws QB_ATTEMPT_DECIDED, as the others */
  refuse(): void
  /** The client must prove its address, and comes again as another attempt; one that has (`validated`) is accepted, into `incoming()`. */
  retry(): void
  /** No answer, however often it asks. */
  ignore(): void
}

/** What the admission asks of its endpoint. */
export interface AdmissionOwner {
  readonly engine: Engine
  readonly logger: Logger
  /** Hands a verdict over, with terms of its own for an accepted attempt. */
  decide(id: number, verdict: AdmitVerdict, options: Partial<ServerOptions> | null): void
}

export class Admission {
  readonly #owner: AdmissionOwner
  readonly #supply = new Supply<Attempt>()
  /** Verdicts by hand that have become no connection yet. */
  readonly #accepted = new Map<number, Deferred<Connection>>()
  /** Connections of those, until they can be used. */
  readonly #hands = new Map<Connection, Deferred<Connection>>()
  /** Attempts without a verdict: how to tell them that time is up. */
  readonly #open = new Map<number, () => void>()
  /** Gives the verdict of an attempt; an accepted one goes into `incoming()`. */
  readonly #deciders = new WeakMap<Attempt, (verdict: AdmitVerdict) => void>()
  #admit: Admit | null = null
  #loops = 0
  #asks = false

  constructor(owner: AdmissionOwner) {
    this.#owner = owner
  }

  /** Of the options of the server side; before the engine hears of those. */
  use(admit: Admit | null): void {
    this.#admit = admit
    this.#tell()
  }

  /** A loop: nothing is accepted by itself until it is left. */
  attempts(options: Waiting): AsyncIterableIterator<Attempt> {
    const inner = this.#supply.iterate(options)
    let left = false
    const leave = (): void => {
      if (left) return
      left = true
      this.#loops -= 1
      this.#tell()
      // Those that nobody will take any more are decided as if there had been no loop.
      if (this.#loops === 0) for (const attempt of this.#supply.drop()) this.#decideByDefault(attempt)
    }
    this.#loops += 1
    this.#tell()
    const iterator: AsyncIterableIterator<Attempt> = {
      next: async () => {
        try {
          const result = await inner.next()
          if (result.done === true) leave()
          return result
        } catch (error) {
          leave()
          throw error
        }
      },
      return: async () => {
        leave()
        await inner.return?.()
        return { done: true, value: undefined }
      },
      [Symbol.asyncIterator]: () => iterator,
    }
    return iterator
  }

  onAttempt(event: Extract<NativeEvent, { type: 'attempt' }>): void {
    const attempt = this.#attempt(event)
    if (this.#loops > 0) this.#supply.push(attempt)
    else this.#decideByDefault(attempt)
  }

  /** The engine has decided, or nothing came of a verdict. */
  onOver(id: number): void {
    this.#open.get(id)?.()
    this.#accepted.get(id)?.reject(decidedError('it is over: time ran out, or there was no room'))
    this.#accepted.delete(id)
  }

  /** A connection has begun that was an attempt. True: it was accepted by hand. */
  onConnection(id: number, connection: Connection): boolean {
    const deferred = this.#accepted.get(id)
    if (deferred === undefined) return false
    this.#accepted.delete(id)
    this.#hands.set(connection, deferred)
    connection.opened.catch((error: unknown) => {
      this.#hands.delete(connection)
      deferred.reject(error)
    })
    return true
  }

  /** A connection can be used. True: somebody waited for it by hand. */
  onUsable(connection: Connection): boolean {
    const deferred = this.#hands.get(connection)
    if (deferred === undefined) return false
    this.#hands.delete(connection)
    deferred.resolve(connection)
    return true
  }

  /** No more attempts: the server side has ended. */
  drop(): void {
    for (const attempt of this.#supply.drop()) attempt.refuse()
  }

  end(): void {
    this.#supply.end()
    for (const deferred of this.#accepted.values()) deferred.reject(decidedError('the endpoint closed before the attempt became a connection'))
    this.#accepted.clear()
  }

  #tell(): void {
    const asks = this.#loops > 0 || this.#admit !== null
    if (asks === this.#asks) return
    this.#asks = asks
    this.#owner.engine.tell(0, { do: 'admission', mode: asks ? 'ask' : 'open' })
  }

  #attempt({ attempt: id, remote, local, serverName, alpn, validated }: Extract<NativeEvent, { type: 'attempt' }>): Attempt {
    let verdict: string | null = null
    const decide = (next: AdmitVerdict, options: Partial<ServerOptions> | null = null): void => {
      if (verdict !== null) throw decidedError(`the attempt of ${remote} has its verdict (${verdict})`)
      this.#owner.decide(id, next, options)
      verdict = next
      this.#open.delete(id)
    }
    this.#open.set(id, () => {
      verdict = 'refused: no verdict within 5 s'
      this.#open.delete(id)
    })
    const attempt: Attempt = {
      remote, local, serverName, alpn, validated,
      accept: async (options) => {
        const deferred = deferHandled<Connection>()
        decide('accept', options ?? null)
        this.#accepted.set(id, deferred)
        return deferred.promise
      },
      refuse: () => decide('refuse'),
      retry: () => decide('retry'),
      ignore: () => decide('ignore'),
    }
    this.#deciders.set(attempt, decide)
    return attempt
  }

  /** The function's word, or everybody's welcome. */
  #decideByDefault(attempt: Attempt): void {
    const admit = this.#admit
    const { remote, local, serverName, alpn, validated } = attempt
    // What is thrown at once is a rejection, too.
    const asked = new Promise<unknown>((resolve) => resolve(admit === null ? 'accept' : admit({ remote, local, serverName, alpn, validated })))
    asked.then((verdict) => this.#give(attempt, verdict), (error: unknown) => {
      this.#owner.logger.warn?.('admit failed; the attempt was refused', { remote, error })
      this.#give(attempt, 'refuse')
    })
  }

  #give(attempt: Attempt, verdict: unknown): void {
    const isVerdict = VERDICTS.includes(verdict)
    if (!isVerdict) this.#owner.logger.warn?.(`admit answered ${show(verdict)}; the attempt was refused`, { remote: attempt.remote })
    try {
      this.#deciders.get(attempt)?.(isVerdict ? (verdict as AdmitVerdict) : 'refuse')
    } catch (error) {
      // Too late, or the endpoint has closed meanwhile.
      this.#owner.logger.warn?.('a verdict of admit came too late', { remote: attempt.remote, error })
    }
  }
}

function decidedError(message: string): EndpointError {
  return new EndpointError('QB_ATTEMPT_DECIDED', `${message}; give each attempt one verdict within 5 s`)
}
