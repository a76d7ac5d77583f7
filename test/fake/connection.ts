/**
 * One side of a fake connection: the engine's streams with their credits, wired to the other side. Bytes move when the network
 * takes a turn (`pump`), never inside a call from JavaScript. What breaks the contract is written into `network.violations`.
 */
import { AHEAD_BYTES, Command, DataFlag, PIECE_BYTES, Record, WriteFlag } from '../../src/binding/native.ts'
import type { NativeCloseInfo, NativeTransport } from '../../src/binding/messages.ts'
import type { FakeEndpoint } from './endpoint.ts'

export interface FakeCommand {
  kind: number
  flags: number
  c: number
  stream: number
  b: number
  code: bigint
  payload: Uint8Array
}

class FakeStream {
  sending: Uint8Array[] = []
  written = 0
  left = 0
  told = 0
  fin = false
  finSent = false
  sendOver = false
  arrived: Uint8Array[] = []
  received = 0
  delivered = 0
  consumed = 0
  finArrived = false
  finDelivered = false
  announced = false
  receiveOver = false
  released = false
}

export class FakeConnection {
  readonly endpoint: FakeEndpoint
  readonly key: number
  readonly role: 'client' | 'server'
  readonly transport: NativeTransport
  readonly windowBytes: number
  peer: FakeConnection | null = null
  remote = '127.0.0.1:4433'
  opened = false
  ended = false
  /** Its judge was asked. */
  judged = false
  onVerdict: (order: { answer: 'accept' | 'refuse'; reason: string }) => void = () => this.#violate('a verdict that nobody asked for')
  /** What the test wants to know of orders. */
  readonly orders: object[] = []
  /** Where paths run, by id, and their probe timeouts in a row. */
  readonly paths = new Map<number, { local: string; remote: string; device: string | null; ptoCount: number; status: 'available' | 'backup' }>()
  /** Paths opened so far, path 0 included. */
  pathIds = 0
  readonly streams = new Map<number, FakeStream>()
  #streamsOpened: [number, number] = [0, 0]
  #limit: [number, number] = [0, 0]
  #left = 0
  #leftTold = 0
  #closing: (() => void) | null = null

  constructor(endpoint: FakeEndpoint, key: number, role: 'client' | 'server', transport: NativeTransport) {
    this.endpoint = endpoint
    this.key = key
    this.role = role
    this.transport = transport
    this.windowBytes = transport.limits.streamWindowBytes ?? 1_048_576
  }

  grant(direction: 0 | 1, limit: number): void {
    this.#limit[direction] = limit
    this.endpoint.queue.push({ kind: Record.STREAMS, key: this.key, c: direction, b: limit })
  }

  command({ kind, flags, c, stream: id, code, b, payload }: FakeCommand): void {
    if (this.ended) return
    const stream = this.streams.get(id)
    if (kind === Command.OPEN) return this.#open(id, c)
    if (stream === undefined || stream.released) return this.#violate(`command ${kind} for stream ${id}, which is ${stream === undefined ? 'not open' : 'released'}`)
    switch (kind) {
      case Command.WRITE: return this.#write(id, stream, flags, payload)
      case Command.RESET: return this.#reset(id, stream, code)
      case Command.STOP:
        stream.receiveOver = true
        stream.arrived = []
        return this.peer?.onStop(id, code)
      case Command.CONSUMED:
        if (b > stream.delivered || b < stream.consumed) this.#violate(`CONSUMED ${b} of ${stream.delivered} on stream ${id}`)
        stream.consumed = b
        return undefined
      case Command.RELEASE:
        stream.released = true
        stream.consumed = stream.delivered
        return undefined
      default: return undefined
    }
  }

  /** Moves what can move; true if anything did. */
  pump(): boolean {
    let moved = false
    if (!this.opened) return false
    for (const [id, stream] of this.streams) {
      moved = this.#send(id, stream) || moved
      moved = this.#deliver(id, stream, stream.consumed + AHEAD_BYTES) || moved
    }
    const limit = this.transport.limits.connectionSendBufferBytes
    if (this.#left - this.#leftTold >= limit / 4) {
      this.#leftTold = this.#left
      this.endpoint.queue.push({ kind: Record.CONNECTION_WRITABLE, key: this.key, b: this.#left })
    }
    if (!moved && this.#closing !== null) {
      const close = this.#closing
      this.#closing = null
      close()
      return true
    }
    return moved
  }

  /** Both ends learn it; complete streams are handed over first. */
  close(mine: NativeCloseInfo, theirs: NativeCloseInfo, drain: boolean): void {
    if (this.ended) return
    if (drain && this.opened) {
      this.#closing = () => this.close(mine, theirs, false)
      return this.endpoint.network.kick()
    }
    const { peer } = this
    this.end(mine)
    peer?.end(theirs)
    return undefined
  }

  end(info: NativeCloseInfo): void {
    if (this.ended) return
    for (const [id, stream] of this.streams) if (stream.finArrived) this.#deliver(id, stream, Infinity)
    this.ended = true
    this.endpoint.queue.event(this.key, { type: 'closed', atMs: 0, info })
  }

  onStop(id: number, code: bigint): void {
    const stream = this.streams.get(id)
    if (stream === undefined || stream.sendOver) return
    stream.sendOver = true
    stream.sending = []
    this.endpoint.queue.push({ kind: Record.STOPPED, key: this.key, a: id, code })
  }

  onReset(id: number, code: bigint): void {
    const stream = this.#theirs(id)
    if (stream.receiveOver || stream.finArrived) return
    stream.receiveOver = true
    stream.arrived = []
    const flags = stream.announced || this.#isOurs(id) ? 0 : DataFlag.OPENED
    stream.announced = true
    this.endpoint.queue.push({ kind: Record.RESET, key: this.key, flags, a: id, code })
  }

  #open(id: number, priority: number): void {
    const direction = (id & 2) === 0 ? 0 : 1
    const expected = this.#streamsOpened[direction] * 4 + direction * 2 + (this.role === 'client' ? 0 : 1)
    if (id !== expected || this.#streamsOpened[direction] >= this.#limit[direction]) this.#violate(`OPEN ${id}, expected ${expected}, limit ${this.#limit[direction]}`)
    if (priority !== (3 | 0x100)) this.#violate(`priority word ${priority}`)
    this.#streamsOpened[direction] += 1
    this.streams.set(id, new FakeStream())
  }

  #write(id: number, stream: FakeStream, flags: number, payload: Uint8Array): void {
    if (stream.fin) return this.#violate(`WRITE after FIN on stream ${id}`)
    if (stream.sendOver) return
    stream.written += payload.length
    if (stream.written - stream.told > this.transport.limits.sendBufferBytes) this.#violate(`stream ${id} holds ${stream.written - stream.told} unsent bytes`)
    if (payload.length > 0) stream.sending.push(payload)
    stream.fin = (flags & WriteFlag.FIN) !== 0
  }

  #reset(id: number, stream: FakeStream, code: bigint): void {
    if (stream.sendOver) return
    stream.sendOver = true
    this.#left += stream.written - stream.left
    stream.sending = []
    this.peer?.onReset(id, code)
  }

  #send(id: number, stream: FakeStream): boolean {
    const { peer } = this
    if (peer === null || peer.ended || stream.sendOver) return false
    const far = peer.#theirs(id)
    let moved = false
    for (let piece = stream.sending[0]; piece !== undefined; piece = stream.sending[0]) {
      const room = peer.windowBytes - (far.received - far.consumed)
      const length = Math.min(piece.length, room, PIECE_BYTES)
      if (length <= 0 && !far.receiveOver) break
      const sent = far.receiveOver ? piece.length : length
      if (!far.receiveOver) far.arrived.push(piece.subarray(0, sent))
      far.received += sent
      stream.left += sent
      this.#left += sent
      if (sent === piece.length) stream.sending.shift()
      else stream.sending[0] = piece.subarray(sent)
      moved = true
    }
    if (stream.left - stream.told >= this.transport.limits.sendBufferBytes / 2) {
      stream.told = stream.left
      this.endpoint.queue.push({ kind: Record.WRITABLE, key: this.key, a: id, b: stream.left, c: 0 })
    }
    if (stream.fin && !stream.finSent && stream.sending.length === 0) {
      stream.finSent = true
      stream.sendOver = true
      far.finArrived = true
      this.endpoint.queue.push({ kind: Record.FINISHED, key: this.key, a: id })
      moved = true
    }
    return moved
  }

  #deliver(id: number, stream: FakeStream, limit: number): boolean {
    if (stream.receiveOver || stream.released || stream.finDelivered) return false
    let moved = false
    for (let piece = stream.arrived[0]; piece !== undefined && stream.delivered < limit; piece = stream.arrived[0]) {
      stream.arrived.shift()
      stream.delivered += piece.length
      this.#data(id, stream, piece)
      moved = true
    }
    if (stream.finArrived && stream.arrived.length === 0 && !stream.finDelivered) {
      if (!moved) this.#data(id, stream, new Uint8Array(0))
      moved = true
    }
    return moved
  }

  #data(id: number, stream: FakeStream, payload: Uint8Array): void {
    let flags = 0
    if (!stream.announced && !this.#isOurs(id)) flags |= DataFlag.OPENED
    if (stream.finArrived && stream.arrived.length === 0) {
      flags |= DataFlag.FIN
      stream.finDelivered = true
    }
    stream.announced = true
    this.endpoint.queue.push({ kind: Record.DATA, key: this.key, flags, a: id, payload })
  }

  #theirs(id: number): FakeStream {
    let stream = this.streams.get(id)
    if (stream === undefined) {
      stream = new FakeStream()
      this.streams.set(id, stream)
    }
    return stream
  }

  #isOurs(id: number): boolean {
    return (id & 1) === (this.role === 'client' ? 0 : 1)
  }

  #violate(what: string): void {
    this.endpoint.network.violations.push(what)
  }
}
