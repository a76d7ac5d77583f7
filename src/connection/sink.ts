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

export function connectionSink({ streams, bursts, datagrams, spaces, onEvent }: SinkParts): ConnectionSink {
  return {
    onData: (stream, flags, staging, start, end) => streams.onData(stream, flags, staging, start, end),
    onWritable: (stream, left, unacknowledged) => streams.onWritable(stream, left, unacknowledged),
    onFinished: (stream) => streams.onFinished(stream),
    onStopped: (stream, code) => streams.onStopped(stream, code),
    onReset: (stream, flags, code) => streams.onReset(stream, flags, code),
    onStreams: (direction, limit) => streams.onStreams(direction, limit),
    onConnectionWritable: (left) => streams.onConnectionWritable(left),
    onDatagram: (flags, staging, start, end) => datagrams.onDatagram(flags, staging, start, end),
    onDatagramFate: (number, fate, path) => datagrams.onFate(number, fate, path),
    onDatagramRoom: (left, size) => datagrams.onRoom(left, size),
    onEvent,
    onTrace: (record) => bursts.onTrace(record),
    onAcks: (acks) => spaces.onAcks(acks),
  }
}
