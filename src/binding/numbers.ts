/**
 * The order in which `statistics` fills a Float64Array, one list a scope, and the names of the burst signals.
 * Part of the N-API contract: the Rust side writes in exactly this order.
 */

/** `DROPS`: of the endpoint and of all its connections so far, connection and path 0. */
export const Scope = { ENDPOINT: 0, CONNECTION: 1, PATH: 2, DROPS: 3 } as const

export const ENDPOINT_NUMBERS = [
  'datagramsReceived', 'datagramsSent', 'bytesReceived', 'bytesSent', 'sendCalls', 'receiveCalls', 'connections',
  'halfOpen', 'accepted', 'refused', 'retries', 'versionNegotiations', 'statelessResets', 'poolBytesUsed',
  'poolBytesMax', 'eventsDropped', 'rawReceived', 'rawSent',
] as const

/** Behind `waitingForMemory` milliseconds blocked by each of `BLOCK_REASONS`; the ten last are `blocked` by signal, in the order of `SIGNALS`. */
export const CONNECTION_NUMBERS = [
  'bytesSent', 'bytesReceived', 'streamBytesSent', 'streamBytesReceived', 'datagramsSent', 'datagramsReceived',
  'packetsSent', 'packetsReceived', 'packetsLost', 'packetsSpuriouslyLost', 'bytesReinjected', 'bytesInFlight',
  'streamsOpen', 'streamsOpened', 'paths', 'bursts', 'segments', 'keyUpdates', 'maxStallMs', 'eventsDropped',
  'coalesced', 'cancelledSegments', 'bufferedBytes', 'waitingForMemory',
  'RX_BUF', 'TX_BUF', 'RX_FULL', 'CONN_CREDIT', 'STREAM_CREDIT', 'GATE', 'CWND', 'PACING', 'ANTI_AMPLIFICATION',
  'CONGESTION', 'FLOW_CONTROL', 'TRANSPORT', 'WRITTEN', 'CONNECTION_ID', 'CREDIT', 'KEYS', 'PING', 'TLS_FIN', 'PATH_VALIDATE',
] as const

/** Why the bytes of a connection stand still (mux R14). */
export const BLOCK_REASONS = ['RX_BUF', 'TX_BUF', 'RX_FULL', 'CONN_CREDIT', 'STREAM_CREDIT', 'GATE', 'CWND', 'PACING', 'ANTI_AMPLIFICATION'] as const

export const SIGNALS = CONNECTION_NUMBERS.slice(-10) as readonly Signal[]

/** `ecn`: 0 testing, 1 capable, 2 failed. `amplificationCreditBytes`: Infinity once validated. */
export const PATH_NUMBERS = [
  'latestRttMs', 'smoothedRttMs', 'rttvarMs', 'minRttMs', 'ptoCount', 'congestionWindowBytes', 'ssthreshBytes',
  'bytesInFlight', 'pacingRateBitsPerSec', 'deliveryRateBitsPerSec', 'mtuBytes', 'ecn', 'amplificationCreditBytes',
  'bytesSent', 'bytesReceived', 'packetsSent', 'packetsReceived', 'packetsLost', 'bytesReinjected', 'bursts',
  'segments', 'lastReceivedAtMs', 'sendErrors', 'weight',
] as const

/** Why a datagram or packet was dropped, in the engine's order. */
export const DROP_REASONS = [
  'headerTruncated', 'fixedBitClear', 'unknownVersion', 'cidTooLong', 'lengthTooLarge', 'tooShort', 'emptyRetryToken',
  'wrongType', 'malformedVersions', 'otherConnection', 'malformedHeader', 'emptyDatagram', 'notQuic', 'blocked',
  'shortInitial', 'shortConnectionId', 'unknownConnection', 'misrouted', 'pathwayLimit', 'notListening', 'halfOpenLimit', 'connectionLimit',
  'refused', 'closing', 'invalidToken', 'invalidRetry', 'unexpectedVersionNegotiation', 'noKeys', 'keptForKeys',
  'undecryptableLimit', 'undecryptable', 'duplicate', 'unknownPath', 'migration', 'pathLimit', 'amplification',
  'answerLimit', 'queueFull', 'eventsWaiting', 'connectionClosed',
] as const

/** Why the bytes of a connection stand still (mux R14). */
export type BlockReason = (typeof BLOCK_REASONS)[number]

/** Why a burst was not sent (burst spec, signals). */
export type Signal =
  | 'CONGESTION' | 'FLOW_CONTROL' | 'TRANSPORT' | 'WRITTEN' | 'CONNECTION_ID' | 'CREDIT' | 'KEYS' | 'PING' | 'TLS_FIN' | 'PATH_VALIDATE'

