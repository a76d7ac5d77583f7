/**
 * The four words of the core that reversal is made of (mux R50...R52, reverse V2, V20...V24), in one place for both ends: who may open request
 * streams, and from when on those of the peer are told. Without the core's `reverse` they do nothing yet, and streams come as on any connection.
 */
import type { Connection } from '../connection/index.ts'
import type { EndpointService } from '../endpoint/index.ts'
import { ReverseCode } from './codes.ts'
import { REVERSE_ALPN } from './options.ts'

interface Core {
  reverse?(connection: Connection): void
  openGate?(connection: Connection): void
  grantStreams?(connection: Connection, count: number): void
  credit?(connection: Connection): number
  onCredit?(connection: Connection, run: () => void): void
}

/** Connections of this endpoint that speak `qb-rev/1` have the client as requester and its gate shut, until the answer is called. */
export function polarise(service: EndpointService): () => void {
  const { polarise } = service as { polarise?(alpn: string, wrongWay: number): () => void }
  return polarise?.call(service, REVERSE_ALPN, Number(ReverseCode.WRONG_WAY)) ?? (() => {})
}

/** The other end is requester from now on; once. */
export function reverse(connection: Connection): void {
  core(connection).reverse?.(connection)
}

/** Streams of the peer are told, those that were held first. */
export function openGate(connection: Connection): void {
  core(connection).openGate?.(connection)
}

/** The peer may open so many bidirectional streams in all; never fewer than before. */
export function grantStreams(connection: Connection, count: number): void {
  core(connection).grantStreams?.(connection, count)
}

/** Request streams that could be opened now. */
export function credit(connection: Connection): number {
  return core(connection).credit?.(connection) ?? Infinity
}

/** Runs `run` whenever there is more credit. One listener a connection. */
export function onCredit(connection: Connection, run: () => void): void {
  core(connection).onCredit?.(connection, run)
}

function core(connection: Connection): Core {
  return connection.constructor as Core
}
