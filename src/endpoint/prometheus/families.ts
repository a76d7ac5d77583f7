/** What of the numbers is told to Prometheus, under which names and in which base units. One row a number of the pages (`src/binding/numbers.ts`). */
import type { BLOCK_REASONS, CONNECTION_NUMBERS, ENDPOINT_NUMBERS, PATH_NUMBERS, SIGNALS } from '../../binding/index.ts'
import type { Family } from './text.ts'

/** A family and what one of ours is in its unit. */
export interface Row extends Family {
  scale: number
}

/** From ms. */
const SECONDS = 0.001
/** From bits. */
const BYTES = 0.125

function counter(name: string, help: string, scale = 1): Row {
  return { name: `${name}_total`, help, type: 'counter', scale }
}

function gauge(name: string, help: string, scale = 1): Row {
  return { name, help, type: 'gauge', scale }
}

export const ENDPOINT: Readonly<Record<(typeof ENDPOINT_NUMBERS)[number] | 'crossings', Row>> = {
  datagramsReceived: counter('endpoint_datagrams_received', 'Datagrams received, whatever they were.'),
  datagramsSent: counter('endpoint_datagrams_sent', 'Datagrams that the sockets took.'),
  bytesReceived: counter('endpoint_received_bytes', 'UDP payload bytes received.'),
  bytesSent: counter('endpoint_sent_bytes', 'UDP payload bytes that the sockets took.'),
  sendCalls: counter('endpoint_send_calls', 'System calls for sending.'),
  receiveCalls: counter('endpoint_receive_calls', 'System calls for receiving.'),
  connections: gauge('endpoint_connections', 'Connections alive.'),
  halfOpen: gauge('endpoint_half_open_connections', 'Accepted connections whose handshake is not complete, and attempts that wait for a verdict.'),
  accepted: counter('endpoint_connections_accepted', 'Connections accepted.'),
  refused: counter('endpoint_connections_refused', 'Clients refused with CONNECTION_CLOSE.'),
  retries: counter('endpoint_retries', 'Retry packets sent.'),
  versionNegotiations: counter('endpoint_version_negotiations', 'Version Negotiation packets sent.'),
  statelessResets: counter('endpoint_stateless_resets', 'Stateless resets sent.'),
  poolBytesUsed: gauge('endpoint_pool_used_bytes', 'Bytes of the buffer pool in use.'),
  poolBytesMax: gauge('endpoint_pool_max_bytes', 'Bytes that the buffer pool may have.'),
  eventsDropped: counter('endpoint_events_dropped', 'Events and datagrams that were lost because the program was slow.'),
  rawReceived: counter('endpoint_raw_datagrams_received', 'Datagrams received that are no QUIC.'),
  rawSent: counter('endpoint_raw_datagrams_sent', 'Datagrams sent that are no QUIC.'),
  crossings: counter('endpoint_crossings', 'Calls between JavaScript and the engine.'),
}

export const INFO: Family = gauge('endpoint_info', 'What the endpoint is; always 1.')
export const DROPS: Family = counter('endpoint_drops', 'Datagrams and packets dropped, by reason, of the endpoint and of all its connections.')
export const LISTED: Family = gauge('endpoint_connections_listed', 'Connections that have series of their own; the others, and those that have ended, are summed up as connection="other".')

type Blocked = (typeof BLOCK_REASONS)[number] | (typeof SIGNALS)[number]

export const CONNECTION: Readonly<Record<Exclude<(typeof CONNECTION_NUMBERS)[number], Blocked>, Row>> = {
  bytesSent: counter('connection_sent_bytes', 'UDP payload bytes sent.'),
  bytesReceived: counter('connection_received_bytes', 'UDP payload bytes received.'),
  streamBytesSent: counter('connection_stream_sent_bytes', 'Bytes of streams sent for the first time.'),
  streamBytesReceived: counter('connection_stream_received_bytes', 'Bytes of streams received for the first time.'),
  datagramsSent: counter('connection_datagrams_sent', 'UDP datagrams sent.'),
  datagramsReceived: counter('connection_datagrams_received', 'UDP datagrams received.'),
  packetsSent: counter('connection_packets_sent', 'QUIC packets sent.'),
  packetsReceived: counter('connection_packets_received', 'QUIC packets received.'),
  packetsLost: counter('connection_packets_lost', 'Packets declared lost.'),
  packetsSpuriouslyLost: counter('connection_packets_spuriously_lost', 'Packets declared lost and acknowledged later.'),
  bytesReinjected: counter('connection_reinjected_bytes', 'Bytes copied to another path.'),
  bytesInFlight: gauge('connection_in_flight_bytes', 'Bytes sent and neither acknowledged nor lost.'),
  streamsOpen: gauge('connection_open_streams', 'Streams open.'),
  streamsOpened: counter('connection_streams_opened', 'Streams opened by either end.'),
  paths: gauge('connection_paths', 'Paths.'),
  bursts: counter('connection_bursts', 'Bursts sent.'),
  segments: counter('connection_segments', 'Datagrams in those bursts.'),
  keyUpdates: counter('connection_key_updates', 'Key updates.'),
  maxStallMs: gauge('connection_max_stall_seconds', 'Longest time without progress while streams were unfinished.', SECONDS),
  eventsDropped: counter('connection_events_dropped', 'Records of traces that were lost because the program was slow.'),
  coalesced: counter('connection_coalesced_datagrams', 'Datagrams sent with more than one packet.'),
  cancelledSegments: counter('connection_cancelled_segments', 'Datagrams that a socket did not take.'),
  bufferedBytes: gauge('connection_buffered_bytes', 'Bytes of the buffer pool that it uses.'),
  waitingForMemory: gauge('connection_waiting_for_memory', '1 while it stands in the line for memory.'),
}

export const CONNECTION_INFO: Family = gauge('connection_info', 'What the connection is; always 1.')
export const BLOCKED_SECONDS: Row = counter('connection_blocked_seconds', 'Time in which bytes stood still, by reason.', SECONDS)
export const BLOCKED_BURSTS: Family = counter('connection_blocked_bursts', 'Times that nothing could be sent, by the signal that was waited for.')

/** `ecn` is a label of `PATH_INFO`, the time of the last datagram is told as its age. */
export const PATH: Readonly<Record<Exclude<(typeof PATH_NUMBERS)[number], 'ecn' | 'lastReceivedAtMs'>, Row>> = {
  latestRttMs: gauge('path_latest_rtt_seconds', 'Last round-trip time.', SECONDS),
  smoothedRttMs: gauge('path_smoothed_rtt_seconds', 'Smoothed round-trip time.', SECONDS),
  rttvarMs: gauge('path_rttvar_seconds', 'Variation of the round-trip time.', SECONDS),
  minRttMs: gauge('path_min_rtt_seconds', 'Least round-trip time.', SECONDS),
  ptoCount: gauge('path_pto_count', 'Probe timeouts in a row.'),
  congestionWindowBytes: gauge('path_congestion_window_bytes', 'Congestion window.'),
  ssthreshBytes: gauge('path_ssthresh_bytes', 'Slow start threshold.'),
  bytesInFlight: gauge('path_in_flight_bytes', 'Bytes sent and neither acknowledged nor lost.'),
  pacingRateBitsPerSec: gauge('path_pacing_rate_bytes_per_second', 'Rate of the pacer.', BYTES),
  deliveryRateBitsPerSec: gauge('path_delivery_rate_bytes_per_second', 'Rate at which bytes were delivered.', BYTES),
  mtuBytes: gauge('path_mtu_bytes', 'Largest UDP payload.'),
  amplificationCreditBytes: gauge('path_amplification_credit_bytes', 'Bytes that may be sent before the address is validated; +Inf afterwards.'),
  bytesSent: counter('path_sent_bytes', 'UDP payload bytes sent.'),
  bytesReceived: counter('path_received_bytes', 'UDP payload bytes received.'),
  packetsSent: counter('path_packets_sent', 'QUIC packets sent.'),
  packetsReceived: counter('path_packets_received', 'QUIC packets received.'),
  packetsLost: counter('path_packets_lost', 'Packets declared lost.'),
  bytesReinjected: counter('path_reinjected_bytes', 'Bytes copied from other paths.'),
  bursts: counter('path_bursts', 'Bursts sent.'),
  segments: counter('path_segments', 'Datagrams in those bursts.'),
  sendErrors: counter('path_send_errors', 'Bursts that the system refused.'),
  weight: gauge('path_weight', 'Share under the scheduler weighted.'),
}

export const PATH_INFO: Family = gauge('path_info', 'What the path is; always 1.')
export const PATH_SILENCE: Row = gauge('path_silence_seconds', 'Time since the last datagram received.', SECONDS)
