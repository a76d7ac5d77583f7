/** Records the bursts of a connection until its handshake is confirmed: what stood in which datagram. */
import type { Connection, HandshakeInfo } from '../../index.ts'
import type { FlightBurst, HandshakeFacts } from './messages.ts'

/** More is not the handshake any more. */
const MAX_BURSTS = 16

/** The list grows until the handshake is confirmed. */
export function recordFlight(connection: Connection, from: 'client' | 'server'): FlightBurst[] {
  const flight: FlightBurst[] = []
  const subscription = connection.bursts.trace$.subscribe((record) => {
    if (record.kind !== 'burst' || flight.length >= MAX_BURSTS) return
    const segments = record.segments.map((segment) => ({ bytes: segment.bytes, packets: segment.packets.map((packet) => packet.type) }))
    if (segments.some((segment) => segment.packets.some((type) => type !== '1rtt'))) flight.push({ from, atMs: record.atMs, segments })
  })
  connection.confirmed.catch(() => undefined).finally(() => subscription.unsubscribe())
  return flight
}

/** What a process tells of its side of the handshake. */
export function factsOf(info: HandshakeInfo): HandshakeFacts {
  return { ms: info.ms, datagramsSent: info.datagramsSent, coalesced: info.coalesced, multipath: info.multipath }
}
