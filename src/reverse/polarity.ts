/**
 * The four words of the core that reversal is made of (mux R50...R52, reverse V2, V20...V24), in one place for both ends: who may open request
 * streams, and from when on those of the peer are told.
 */
import { Connection } from '../connection/index.ts'
import type { EndpointService } from '../endpoint/index.ts'
import { ReverseCode } from './codes.ts'
import { REVERSE_ALPN } from './options.ts'

/** Connections of this endpoint that speak `qb-rev/1` have the client as requester and its gate shut, until the answer is called. @throws QB_OPTION_INVALID for a native module without it */
export function polarise(service: EndpointService): () => void {
  return service.polarise(REVERSE_ALPN, Number(ReverseCode.WRONG_WAY))
}

/** The other end is requester from now on; once. */
export function reverse(connection: Connection): void {
  Connection.reverse(connection)
}

/** Streams of the peer are told, those that were held first. */
export function openGate(connection: Connection): void {
  Connection.openGate(connection)
}

/** The peer may have so many bidirectional streams open at once; never fewer than before. */
export function grantStreams(connection: Connection, count: number): void {
  Connection.grantStreams(connection, count)
}
