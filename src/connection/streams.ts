/**
 * The streams of one connection: ids are counted here, since they are consecutive and the credit is told by STREAMS; what comes
 * in is routed by id; the connection's share of the send credit is counted. Streams see it as their `StreamHost`.
 */
import { Command, DataFlag } from '../binding/index.ts'
import type { Engine, Outbox, Slabs, Splice, SpliceSink } from '../binding/index.ts'
import { Supply, waitFor } from '../config/index.ts'
import type { KeptOptions, Settle, StreamCodes } from '../config/index.ts'
import { STREAM_CLOSED, STREAM_OPEN } from '../diagnostics/index.ts'
import type { ConnectionError, StreamError } from '../errors/index.ts'
import { BidirectionalStream, ReceiveStream, SendStream, StreamState, TELLS_ACKNOWLEDGEMENT, plainOpening } from '../stream/index.ts'
import type { Opening, StreamHost } from '../stream/index.ts'
import { keepBook } from './book.ts'
import type { StreamBook } from './book.ts'
import type { Connection } from './connection.ts'

const BIDIRECTIONAL = 0
const UNIDIRECTIONAL = 1
const PLAIN: Opening = plainOpening()
const TOLD: Opening = plainOpening(TELLS_ACKNOWLEDGEMENT)
type Direction = typeof BIDIRECTIONAL | typeof UNIDIRECTIONAL

/** What the table tells its connection, and asks it. */
export interface StreamEvents {
  /** May a stream be opened here? @throws QB_STREAM_WRONG_WAY */
  check(): void
  onStream(id: bigint, direction: 'bidi' | 'uni', initiated: 'local' | 'peer'): void
  onDropped(id: bigint, code: bigint): void
  callbackFailed(callback: string, error: unknown): void
}

export class StreamTable implements StreamHost, StreamBook {
  readonly connection: Connection
  readonly key: number
  readonly outbox: Outbox
  readonly slabs: Slabs
  readonly codes: StreamCodes
  readonly features: ReadonlySet<string>
  readonly sendBufferBytes: number
  readonly watchesHandles: boolean
  readonly verifies: boolean
  readonly incomingBidirectional: Supply<BidirectionalStream> = new Supply()
  readonly incomingUnidirectional: Supply<ReceiveStream> = new Supply()
  onChange: (() => void) | null = null
  readonly #engine: Engine
  readonly #events: StreamEvents
  readonly #role: 'client' | 'server'
  readonly #connectionBytes: number
  readonly #streams = new Map<number, StreamState>()
  /** By direction: streams opened here, and how many we may have opened in all. */
  readonly #opened: [number, number] = [0, 0]
  readonly #limit: [number, number] = [0, 0]
  readonly #openers: [Opener[], Opener[]] = [[], []]
  #written = 0
  #left = 0
  #waiters: (() => void)[] = []
  #error: ConnectionError | null = null
  /** Made with the first stream. It knows streams by number only: what it holds it would hold for good. */
  #handles: FinalizationRegistry<number> | null = null

  constructor(connection: Connection, engine: Engine, key: number, role: 'client' | 'server', kept: KeptOptions, features: ReadonlySet<string>, events: StreamEvents) {
    this.connection = connection
    this.key = key
    this.#engine = engine
    this.outbox = engine.outbox
    this.slabs = engine.inbox.slabs
    this.codes = kept.streamCodes
    this.features = features
    this.sendBufferBytes = kept.sendBufferBytes
    this.watchesHandles = connection.endpoint.driver !== 'sim'
    this.verifies = kept.verifies
    this.#connectionBytes = kept.connectionSendBufferBytes
    this.#role = role
    this.#events = events
    keepBook(connection, this)
  }

  get open(): number {
    return this.#streams.size
  }

  get opened(): number {
    return this.#opened[BIDIRECTIONAL]
  }

  get credit(): number {
    return Math.max(0, this.#limit[BIDIRECTIONAL] - this.#opened[BIDIRECTIONAL] - this.#openers[BIDIRECTIONAL].length)
  }

  openBidirectional(opening: Opening, signal: AbortSignal | undefined): Promise<BidirectionalStream> {
    return this.#open(BIDIRECTIONAL, opening, signal) as Promise<BidirectionalStream>
  }

  request(acknowledgement: 'told' | 'untold', signal: AbortSignal | undefined): Promise<BidirectionalStream> {
    return this.openBidirectional(acknowledgement === 'told' ? TOLD : PLAIN, signal)
  }

  openUnidirectional(opening: Opening, signal: AbortSignal | undefined): Promise<SendStream> {
    return this.#open(UNIDIRECTIONAL, opening, signal)
  }

  // --- as host of its streams ---

  room(): number {
    return this.#connectionBytes - (this.#written - this.#left)
  }

  splice(stream: number, descriptor: number, sink: SpliceSink): Splice | null {
    return this.features.has('splice') && this.#error === null ? this.#engine.splice(this.key, stream, descriptor, sink) : null
  }

  accepted(bytes: number): void {
    this.#written += bytes
  }

  onRoom(wake: () => void): void {
    this.#waiters.push(wake)
  }

  forget(stream: number): void {
    this.#streams.delete(stream)
    if (STREAM_CLOSED.hasSubscribers) STREAM_CLOSED.publish({ connection: this.connection, id: BigInt(stream) })
    if (this.#error === null) this.outbox.send(Command.RELEASE, this.key, stream)
    this.onChange?.()
  }

  watchHandle(handle: object, stream: number): void {
    if (!this.watchesHandles) return
    this.#handles ??= new FinalizationRegistry((id) => this.#streams.get(id)?.drop())
    this.#handles.register(handle, stream)
  }

  dropped(stream: number, code: bigint): void {
    this.#events.onDropped(BigInt(stream), code)
  }

  callbackFailed(callback: string, error: unknown): void {
    this.#events.callbackFailed(callback, error)
  }

  // --- records ---

  onData(stream: number, flags: number, staging: Buffer, start: number, end: number): void {
    if ((flags & DataFlag.OPENED) !== 0) {
      const state = this.#accept(stream, flags)
      state.receiving?.onData(flags, staging, start, end)
      this.#supply(state)
    } else {
      this.#streams.get(stream)?.receiving?.onData(flags, staging, start, end)
    }
  }

  onReset(stream: number, flags: number, code: bigint): void {
    const fresh = (flags & DataFlag.OPENED) !== 0
    const state = fresh ? this.#accept(stream, flags) : this.#streams.get(stream)
    state?.receiving?.onReset(code)
    if (fresh && state !== undefined) this.#supply(state)
  }

  onWritable(stream: number, left: number, unacknowledged: number): void {
    this.#streams.get(stream)?.sending?.onWritable(left, unacknowledged)
  }

  onFinished(stream: number): void {
    this.#streams.get(stream)?.sending?.onFinished()
  }

  onStopped(stream: number, code: bigint): void {
    this.#streams.get(stream)?.sending?.onStopped(code)
  }

  onConnectionWritable(left: number): void {
    this.#left = left
    this.#wake()
  }

  onStreams(direction: number, limit: number): void {
    const of: Direction = direction === 0 ? BIDIRECTIONAL : UNIDIRECTIONAL
    this.#limit[of] = Math.max(this.#limit[of], limit)
    while (this.#openers[of].length > 0 && this.#hasCredit(of)) {
      const opener = this.#openers[of].shift()
      opener?.deferred.resolve(this.#create(of, opener.opening))
    }
    this.onChange?.()
  }

  /** The connection ended: every stream errors, nobody waits any more. */
  end(error: ConnectionError): void {
    if (this.#error !== null) return
    this.#error = error
    for (const { deferred } of this.#openers.flat()) deferred.reject(error)
    const streams = [...this.#streams.values()]
    this.#streams.clear()
    for (const state of streams) state.cut(error)
    this.#wake()
    this.incomingBidirectional.end()
    this.incomingUnidirectional.end()
  }

  /** Nobody opens streams here any more: who waits for credit hears it. */
  refuse(error: StreamError): void {
    for (const { deferred } of this.#openers.splice(0, 2, [], []).flat()) deferred.reject(error)
  }

  #open(direction: Direction, opening: Opening, signal: AbortSignal | undefined): Promise<SendStream> {
    this.#events.check()
    return waitFor(signal, (deferred) => {
      const opener = { deferred, opening }
      if (this.#error !== null) deferred.reject(this.#error)
      else if (this.#hasCredit(direction) && this.#openers[direction].length === 0) deferred.resolve(this.#create(direction, opening))
      else this.#openers[direction].push(opener)
      return () => {
        this.#openers[direction] = this.#openers[direction].filter((other) => other !== opener)
      }
    })
  }

  #hasCredit(direction: Direction): boolean {
    return this.#opened[direction] < this.#limit[direction]
  }

  #create(direction: Direction, { priority, pin }: Opening): SendStream {
    const stream = this.#opened[direction] * 4 + direction * 2 + (this.#role === 'client' ? 0 : 1)
    this.#opened[direction] += 1
    const state = new StreamState(this, stream, 'local', this.connection.early === 'sent')
    this.#streams.set(stream, state)
    this.outbox.send(Command.OPEN, this.key, stream, priority)
    if (pin !== 0) this.outbox.send(Command.PIN, this.key, stream, pin)
    this.#opening(BigInt(stream), direction === BIDIRECTIONAL ? 'bidi' : 'uni', 'local')
    return made(state) as SendStream
  }

  #accept(stream: number, flags: number): StreamState {
    const state = new StreamState(this, stream, 'peer', (flags & DataFlag.EARLY) !== 0)
    this.#streams.set(stream, state)
    return state
  }

  #supply(state: StreamState): void {
    const stream = made(state)
    this.#opening(stream.id, stream.direction, 'peer')
    if (stream instanceof BidirectionalStream) this.incomingBidirectional.push(stream)
    else if (stream instanceof ReceiveStream) this.incomingUnidirectional.push(stream)
  }

  #opening(id: bigint, direction: 'bidi' | 'uni', initiated: 'local' | 'peer'): void {
    if (STREAM_OPEN.hasSubscribers) STREAM_OPEN.publish({ connection: this.connection, id, direction, initiated })
    this.#events.onStream(id, direction, initiated)
  }

  #wake(): void {
    const waiters = this.#waiters
    this.#waiters = []
    for (const wake of waiters) wake()
  }
}

interface Opener {
  deferred: Settle<SendStream>
  opening: Opening
}

function made(state: StreamState): BidirectionalStream | SendStream | ReceiveStream {
  const { sending, receiving } = state
  if (sending !== null && receiving !== null) return new BidirectionalStream(state, sending, receiving)
  return sending !== null ? new SendStream(state, sending) : new ReceiveStream(state, receiving as NonNullable<typeof receiving>)
}
