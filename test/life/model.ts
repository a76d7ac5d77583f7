/**
 * The life of one connection as a model: random commands on its streams from both ends, and what must hold after each and after the end,
 * whatever the end is. Runs over any world: a simulated one (`model.test.ts`) or loopback. One `Flow` is one direction of one stream.
 */
import { expect } from 'vitest'
import type { BidirectionalStream, Connection, Endpoint, ReceiveStream, SendStream } from '../../src/index.ts'
import { isQuicbraidError } from '../../src/index.ts'

export type Side = 'near' | 'far'

/** Where it runs. */
export interface Stage {
  near: Connection
  far: Connection
  nearEndpoint: Endpoint
  farEndpoint: Endpoint
  sleep(ms: number): Promise<void>
  /** Kills the far host without a word; null: cannot be done here. */
  crash: (() => void) | null
}

/** One direction of a stream: who sends, who receives, and what each has done. */
export class Flow {
  readonly sender: SendStream
  readonly from: Side
  receiver: ReceiveStream | BidirectionalStream | null = null
  written = 0
  ended = false
  /** The receiver's or its connection's doing can end it too, at any time. */
  reset = false
  stopped = false
  reading: Outcome<Uint8Array> | null = null
  /** The reader leaves after its first batch. */
  partial = false

  constructor(sender: SendStream, from: Side) {
    this.sender = sender
    this.from = from
  }
}

/** A promise and what became of it. */
export class Outcome<T> {
  readonly what: string
  state: 'pending' | 'resolved' | 'rejected' = 'pending'
  value: T | undefined
  error: unknown

  constructor(what: string, promise: Promise<T>) {
    this.what = what
    promise.then((value) => {
      this.state = 'resolved'
      this.value = value
    }, (error: unknown) => {
      this.state = 'rejected'
      this.error = error
    })
  }
}

/** Byte `at` of a stream. */
export function pattern(id: bigint, from: number, length: number): Uint8Array {
  const bytes = new Uint8Array(length)
  const salt = Number(id) * 13
  for (let index = 0; index < length; index++) bytes[index] = (from + index + ((from + index) >> 8) + salt) & 0xff
  return bytes
}

export class Life {
  readonly stage: Stage
  readonly flows: Flow[] = []
  readonly outcomes: Outcome<unknown>[] = []
  /** Handles whose stream its other direction may not be known yet. */
  readonly destroyed: Set<object> = new Set()
  /** Which side has begun the end, or something else has. */
  over = false

  constructor(stage: Stage) {
    this.stage = stage
    for (const side of ['near', 'far'] as const) {
      void this.#take(side, stage[side].incomingBidirectional())
      void this.#take(side, stage[side].incomingUnidirectional())
    }
  }

  note<T>(what: string, promise: Promise<T>): Outcome<T> {
    const outcome = new Outcome(what, promise)
    this.outcomes.push(outcome)
    return outcome
  }

  open(side: Side, kind: 'bidi' | 'uni'): void {
    const connection = this.stage[side]
    const opening: Promise<SendStream> = kind === 'bidi' ? connection.openBidirectional() : connection.openUnidirectional()
    this.note(`${side} opens ${kind}`, opening.then((stream) => {
      const flow = new Flow(stream, side)
      this.flows.push(flow)
      this.note(`closed of ${stream.id}`, stream.closed)
    }))
  }

  flow(pick: number): Flow | null {
    return this.flows[pick % Math.max(1, this.flows.length)] ?? null
  }

  /** One call on a flow; only what the model expects may be thrown. */
  call(flow: Flow, what: string, run: () => void): void {
    try {
      run()
    } catch (error) {
      expect(isQuicbraidError(error), `${what}: ${String(error)}`).toBe(true)
      const { code } = error as { code: string }
      const allowed = [...(flow.ended ? ['QB_STREAM_ENDED'] : []), ...(flow.reset ? ['QB_STREAM_RESET'] : []), ...(flow.stopped ? ['QB_STREAM_STOPPED'] : [])]
      if (!this.over) expect(allowed, `${what} on ${flow.sender.id}`).toContain(code)
    }
  }

  write(flow: Flow, length: number): void {
    this.call(flow, 'write', () => {
      const accepted = flow.sender.write(pattern(flow.sender.id, flow.written, length))
      expect(accepted).toBeLessThanOrEqual(length)
      flow.written += accepted
    })
  }

  read(flow: Flow, style: number): void {
    const { receiver } = flow
    if (receiver === null || flow.reading !== null) return
    flow.reading = this.note(`reading of ${receiver.id}`, readers[style % readers.length]?.(receiver) as Promise<Uint8Array>)
  }

  /** Reads one batch and leaves, which stops what has not come. */
  peek(flow: Flow): void {
    const { receiver } = flow
    if (receiver === null || flow.reading !== null) return
    Object.assign(flow, { partial: true, stopped: true })
    flow.reading = this.note(`a look at ${receiver.id}`, look(receiver))
  }

  /** What holds at any time. */
  checkFlows(): void {
    for (const { sender, receiver, written } of this.flows) {
      expect(sender.bytesWritten).toBe(written)
      expect(sender.bytesAcknowledged).toBeLessThanOrEqual(written)
      if (receiver !== null) expect(receiver.bytesReceived).toBeLessThanOrEqual(written)
    }
  }

  /** Everything is let go as a tidy program does it; then nothing is left, and as many streams as ever can be opened. */
  async settleStreams(): Promise<void> {
    for (let round = 0; round < 400; round++) {
      const left = this.flows.filter(({ sender }) => sender.state !== 'closed')
      for (const flow of this.flows) {
        if (flow.reading === null) this.read(flow, round)
        flow.ended = true
        try {
          flow.sender.end()
        } catch { /* locked by no other style here */ }
      }
      await this.stage.sleep(50)
      if (left.length === 0 && this.flows.every(({ sender }) => sender.state === 'closed') && this.stage.far.statistics().streamsOpen + this.stage.near.statistics().streamsOpen === 0) return
    }
    const states = this.flows.map((flow) => `${flow.sender.id} from ${flow.from}: ${flow.sender.state}/${flow.receiver?.state ?? 'untaken'}`)
    throw new Error(`streams do not end: ${states.join(', ')}; open ${this.stage.near.statistics().streamsOpen} and ${this.stage.far.statistics().streamsOpen}`)
  }

  /** After the end of the connection: every promise has settled, and what was read is what was written. */
  async checkEnd(): Promise<void> {
    for (let round = 0; round < 200 && this.outcomes.some(({ state }) => state === 'pending'); round++) await this.stage.sleep(round < 20 ? 10 : 1000)
    expect(this.outcomes.filter(({ state }) => state === 'pending').map(({ what }) => what)).toEqual([])
    for (const { what, state, error } of this.outcomes) if (state === 'rejected') expect(isQuicbraidError(error), `${what}: ${String(error)}`).toBe(true)
    for (const flow of this.flows) {
      const { reading } = flow
      if (reading?.state !== 'resolved' || flow.partial) continue
      const bytes = reading.value ?? new Uint8Array()
      expect(flow.ended, `stream ${flow.sender.id} read to its end`).toBe(true)
      expect(bytes.length).toBe(flow.written)
      expect(Buffer.compare(bytes, pattern(flow.sender.id, 0, flow.written))).toBe(0)
    }
    expect([...this.stage.nearEndpoint.connections, ...this.stage.farEndpoint.connections]).toEqual([])
  }

  async #take(side: Side, incoming: AsyncIterable<BidirectionalStream | ReceiveStream>): Promise<void> {
    const opener = side === 'near' ? 'far' : 'near'
    for await (const stream of incoming) {
      const flow = this.flows.find(({ sender, from }) => sender.id === stream.id && from === opener)
      if (flow === undefined) throw new Error(`${side} was given stream ${stream.id}, which nobody opened`)
      flow.receiver = stream
      this.note(`closed of ${stream.id} there`, stream.closed)
      if (!('write' in stream)) continue
      const back = new Flow(stream, side)
      back.receiver = flow.sender as BidirectionalStream
      back.stopped = this.destroyed.has(flow.sender)
      this.flows.push(back)
    }
  }
}

async function look(stream: Readable): Promise<Uint8Array> {
  for await (const batch of stream) return Buffer.concat(batch)
  return new Uint8Array()
}

type Readable = ReceiveStream | BidirectionalStream

const readers: ((stream: Readable) => Promise<Uint8Array>)[] = [
  (stream) => stream.bytes(),
  async (stream) => {
    const pieces: Uint8Array[] = []
    for await (const batch of stream) pieces.push(...batch)
    return Buffer.concat(pieces)
  },
  async (stream) => {
    const pieces: Uint8Array[] = []
    for await (const piece of stream.readable) pieces.push(piece as Uint8Array)
    return Buffer.concat(pieces)
  },
  async (stream) => {
    const pieces: Buffer[] = []
    for await (const piece of stream.toReadable()) pieces.push(piece as Buffer)
    return Buffer.concat(pieces)
  },
]
