/** What messages ask of their connection, and what they are told. Types only. */
import type { Engine } from '../binding/index.ts'
import type { ConnectionError } from '../errors/index.ts'

export interface DatagramOwner {
  readonly engine: Engine
  readonly key: number
  /** The end of the connection; null while it lives. */
  error(): ConnectionError | null
  /** Whether there is such a path. */
  hasPath(path: number): boolean
  /** A subscriber came or the last one went. */
  trace(bit: number, on: boolean): void
}

/** Records of one connection's messages. */
export interface DatagramSink {
  onDatagram(flags: number, staging: Buffer, start: number, end: number): void
  onFate(number: number, fate: number, path: number | null): void
  onRoom(left: number, size: number): void
  /** The connection ended. */
  end(error: ConnectionError): void
}
