/**
 * One endpoint of the native module with its inbox and outbox: everything the rooms above call. Makes our errors of native ones.
 */
import { guarded } from './error.ts'
import { Inbox } from './inbox.ts'
import type { EndpointSink } from './inbox.ts'
import type { NativeConnect, NativeEndpointOptions, NativeOrder, NativeQuestion, NativeServer } from './messages.ts'
import type { NativeEndpoint, NativeModule } from './native.ts'
import { CONNECTION_NUMBERS, DROP_REASONS, ENDPOINT_NUMBERS, PATH_NUMBERS } from './numbers.ts'
import { Outbox } from './outbox.ts'
import { Splice } from './splices.ts'
import type { SpliceSink } from './splices.ts'

export class Engine {
  readonly inbox: Inbox
  readonly outbox: Outbox
  readonly #native: NativeEndpoint
  /** By `Scope`. */
  readonly #rows = [row(ENDPOINT_NUMBERS), row(CONNECTION_NUMBERS), row(PATH_NUMBERS), row(DROP_REASONS)] as const
  readonly #soon: (run: () => void) => void
  /** What the engine's wake holds of us: all while there is something to do, nothing while nobody could notice. */
  readonly #held: Held = { engine: null }
  #calls = 0
  #rootsGiven = false

  /** Binds and starts. @throws QB_BIND_FAILED QB_OPTION_INVALID */
  constructor(module: NativeModule, options: NativeEndpointOptions, sink: EndpointSink, soon: (run: () => void) => void) {
    // The engine wakes us only from the event loop, never inside this call.
    const wake = wakeOf(new WeakRef(this), this.#held)
    this.#native = guarded(() => module.createEndpoint(JSON.stringify(options), wake))
    this.#soon = soon
    this.outbox = new Outbox(this.#native, soon)
    this.inbox = new Inbox(this.#native, sink, () => this.outbox.flushCredit(), soon)
  }

  /** Calls across N-API. */
  get crossings(): number {
    return this.#calls + this.inbox.crossings + this.outbox.crossings
  }

  /** The connection's key. @throws QB_TLS_IDENTITY QB_OPTION_INVALID */
  connect(options: NativeConnect, roots: () => readonly string[]): number {
    this.#giveRoots(options.tls.ca === 'default', roots)
    const key = this.#call(() => this.#native.connect(JSON.stringify(options)))
    this.outbox.soon()
    return key
  }

  /** @throws QB_TLS_IDENTITY QB_OPTION_INVALID */
  listen(options: NativeServer, roots: () => readonly string[]): void {
    this.#giveRoots(options.tls.ca === 'default', roots)
    this.#call(() => this.#native.listen(JSON.stringify(options)))
  }

  /** `options`: terms of its own for an accepted one. @throws QB_TLS_IDENTITY QB_OPTION_INVALID */
  admit(attempt: number, verdict: 'accept' | 'refuse' | 'retry' | 'ignore', options: NativeServer | null, roots: () => readonly string[]): void {
    this.#giveRoots(options?.tls.ca === 'default', roots)
    this.#call(() => this.#native.admit(attempt, verdict, options === null ? null : JSON.stringify(options)))
  }

  unlisten(): void {
    this.#call(() => this.#native.unlisten())
  }

  /** Ordered with the commands of the outbox. */
  tell(connection: number, order: NativeOrder): void {
    this.outbox.handOver()
    this.#call(() => this.#native.tell(connection, JSON.stringify(order)))
  }

  /** Joins a TCP connection to a stream, behind what was written to it so far; null: not here. */
  splice(connection: number, stream: number, descriptor: number, sink: SpliceSink): Splice | null {
    this.outbox.handOver()
    this.#calls += 1
    return Splice.start(this.#native, this.inbox, connection, stream, descriptor, sink)
  }

  /** Asks `pick` for every data burst of a connection of a simulated world. */
  pick(connection: number, pick: (view: string) => string): void {
    this.#call(() => this.#native.setPicker(connection, pick))
    this.outbox.soon()
  }

  /** Early data may be written from now on: the first flight goes when this turn of the event loop has been handed over. */
  begin(connection: number): void {
    this.#soon(() => this.tell(connection, { do: 'begin' }))
  }

  /** Waits for the I/O thread: for what a person asks. @throws QB_CONNECTION_CLOSED */
  ask(connection: number, question: NativeQuestion): unknown {
    this.outbox.handOver()
    return JSON.parse(this.#call(() => this.#native.ask(connection, JSON.stringify(question))))
  }

  /** Numbers in the order of the scope's list, until the next call of that scope; null for what is not known. */
  numbers(scope: 0 | 1 | 2 | 3, connection: number, path: number): Float64Array | null {
    const out = this.#rows[scope]
    return this.#call(() => this.#native.statistics(scope, connection, path, out)) ? out : null
  }

  /** The connection has ended: no more records, numbers may go. */
  forget(connection: number): void {
    this.inbox.sinks.delete(connection)
    this.#call(() => this.#native.forget(connection))
  }

  local(): readonly string[] {
    return this.#call(() => this.#native.local())
  }

  now(): number {
    return this.#native.now()
  }

  /** Busy: records are awaited, whether or not somebody holds the endpoint. */
  hold(busy: boolean): void {
    this.#held.engine = busy ? this : null
  }

  keepAlive(on: boolean): void {
    this.#call(() => this.#native.keepAlive(on))
  }

  close(): void {
    this.outbox.flush()
    this.outbox.close()
    this.#call(() => this.#native.close())
  }

  #giveRoots(needed: boolean, roots: () => readonly string[]): void {
    if (!needed || this.#rootsGiven) return
    this.#call(() => this.#native.setDefaultRoots([...roots()]))
    this.#rootsGiven = true
  }

  #call<T>(call: () => T): T {
    this.#calls += 1
    return guarded(call)
  }
}

interface Held {
  engine: Engine | null
}

/** The engine below holds what it calls, so that must not hold the one above. Apart from the constructor, whose closures hold it. */
function wakeOf(engine: WeakRef<Engine>, held: Held): () => void {
  return () => (held.engine ?? engine.deref())?.inbox.wake()
}

function row(names: readonly string[]): Float64Array {
  return new Float64Array(names.length)
}
