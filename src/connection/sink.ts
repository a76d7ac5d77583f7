/** Routes the engine's records of one connection to the parts they belong to. */
import type { ConnectionSink, NativeEvent } from '../binding/index.ts'
import type { Bursts } from '../burst/index.ts'
import type { DatagramSink } from '../datagram/index.ts'
import type { Spaces } from '../space/index.ts'
import type { StreamTable } from './streams.ts'

export interface SinkParts {
  streams: StreamTable
  bursts: Bursts
  datagrams: DatagramSink
  spaces: Spaces
  onEvent(event: NativeEvent): void
}

/** A class for its shared methods: one of these lives as long as its connection, and closures would take a kilobyte. */
class Router implements ConnectionSink {
  readonly #parts: SinkParts

  constructor(parts: SinkParts) {
    this.#parts = parts
  }

  onData(stream: number, flags: number, staging: Buffer, start: number, end: number): void {
    this.#parts.streams.onData(stream, flags, staging, start, end)
  }

  onWritable(stream: number, left: number, unacknowledged: number): void {
    this.#parts.streams.onWritable(stream, left, unacknowledged)
  }

  onFinished(stream: number): void {
    this.#parts.streams.onFinished(stream)
  }

  onStopped(stream: number, code: bigint): void {
    this.#parts.streams.onStopped(stream, code)
  }

  onReset(stream: number, flags: number, code: bigint): void {
    this.#parts.streams.onReset(stream, flags, code)
  }

  onStreams(direction: number, limit: number): void {
    this.#parts.streams.onStreams(direction, limit)
  }

  onConnectionWritable(left: number): void {
    this.#parts.streams.onConnectionWritable(left)
  }

  onDatagram(flags: number, staging: Buffer, start: number, end: number): void {
    this.#parts.datagrams.onDatagram(flags, staging, start, end)
  }

  onDatagramFate(number: number, fate: number, path: number | null): void {
    this.#parts.datagrams.onFate(number, fate, path)
  }

  onDatagramRoom(left: number, size: number): void {
    this.#parts.datagrams.onRoom(left, size)
  }

  onEvent(event: NativeEvent): void {
    this.#parts.onEvent(event)
  }

  onTrace(record: Parameters<ConnectionSink['onTrace']>[0]): void {
    this.#parts.bursts.onTrace(record)
  }

  onAcks(acks: Parameters<ConnectionSink['onAcks']>[0]): void {
    this.#parts.spaces.onAcks(acks)
  }
}

export function connectionSink(parts: SinkParts): ConnectionSink {
  return new Router(parts)
}
