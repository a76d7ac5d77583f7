/** The demo's result: the JSON of the contract and the table for people. Pure. */
import { formatBytes, formatCount, formatMs, formatRate, formatTable } from '../format.ts'
import { rounded } from '../paths.ts'
import type { Colors } from '../terminal.ts'
import type { FlightBurst, HandshakeFacts, LinkCounts, ReceivedPath, SentPath } from './messages.ts'

/** Everything that was measured. */
export interface Measured {
  bytes: number
  /** Of the file at the server. */
  expectedBytes: number
  seconds: number
  stallMs: number
  sha256Sent: string
  sha256Received: string
  received: readonly ReceivedPath[]
  sent: readonly SentPath[]
  clientHandshake: HandshakeFacts
  serverHandshake: HandshakeFacts | null
  flight: readonly FlightBurst[]
  links: readonly LinkCounts[]
  /** Path links that were cut, for the words of the table; null: none. */
  cut: { link: number; ms: number | null } | null
}

/** `--json` of `demo` (api section 4). */
export interface DemoJson {
  ok: boolean
  bytes: number
  seconds: number
  sha256Match: boolean
  stallMs: number
  paths: { id: number; local: string; remote: string; bytesSent: number; bytesReceived: number; rttMs: number; lost: number; bursts: number; segmentsPerBurst: number }[]
  handshake: { ms: number; datagrams: number; coalesced: number }
}

/** `bytesReceived` is the receiver's count, everything else of a path the sender's. Handshake datagrams are those of both ends. */
export function jsonOf(measured: Measured): DemoJson {
  const { clientHandshake: client, serverHandshake: server } = measured
  return {
    ok: faultsOf(measured).length === 0,
    bytes: measured.bytes,
    seconds: rounded(measured.seconds),
    sha256Match: measured.sha256Sent === measured.sha256Received,
    stallMs: rounded(measured.stallMs),
    paths: measured.received.map(({ id, local, remote, bytesReceived }) => {
      const sent = measured.sent.find((path) => path.id === id)
      const bursts = sent?.bursts ?? 0
      return {
        id, local, remote, bytesSent: sent?.bytesSent ?? 0, bytesReceived, rttMs: rounded(sent?.rttMs ?? 0), lost: sent?.lost ?? 0,
        bursts, segmentsPerBurst: bursts === 0 ? 0 : rounded((sent?.segments ?? 0) / bursts),
      }
    }),
    handshake: { ms: rounded(client.ms), datagrams: client.datagramsSent + (server?.datagramsSent ?? 0), coalesced: client.coalesced + (server?.coalesced ?? 0) },
  }
}

/** From this size on each of two paths must have carried more than its probes. */
const LARGE_BYTES = 8 * 1024 * 1024
const SHARE_BYTES = 256 * 1024

/** What went wrong, in words; empty if the demo shows what it is meant to show. */
export function faultsOf(measured: Measured): string[] {
  const faults: string[] = []
  if (measured.bytes !== measured.expectedBytes) faults.push(`received ${formatCount(measured.bytes)} of ${formatCount(measured.expectedBytes)} bytes`)
  if (measured.sha256Sent !== measured.sha256Received) faults.push('the SHA-256 of both ends differ')
  if (measured.clientHandshake.multipath !== 'ietf') faults.push(`multipath is '${measured.clientHandshake.multipath}'`)
  if (measured.received.length < 2) faults.push('there was only one path')
  else if (measured.expectedBytes >= LARGE_BYTES && measured.received.filter((path) => path.bytesReceived >= SHARE_BYTES).length < 2) faults.push('only one path carried data')
  return faults
}

/** For people, on stdout. */
export function tableOf(measured: Measured, colors: Colors): string[] {
  const json = jsonOf(measured)
  const match = json.sha256Match ? colors.green('SHA-256 equal at both ends') : colors.red('SHA-256 differs')
  const rows = json.paths.map((path) => [
    String(path.id), path.local, formatBytes(path.bytesSent), formatBytes(path.bytesReceived), formatMs(path.rttMs), formatCount(path.lost), formatCount(path.bursts), String(path.segmentsPerBurst),
  ])
  return [
    colors.bold(`${formatBytes(json.bytes)} over ${json.paths.length} paths in ${formatMs(json.seconds * 1000)} (${formatRate((json.bytes * 8) / json.seconds)})`),
    `${match}, longest stall ${formatMs(json.stallMs)}`,
    ...cutWords(measured),
    '',
    ...formatTable([['path', 'local', 'sent', 'received', 'rtt', 'lost', 'bursts', 'segments/burst'], ...rows]),
    '',
    `handshake ${formatMs(json.handshake.ms)}, ${json.handshake.datagrams} datagrams, ${json.handshake.coalesced} of them with several packets`,
    ...measured.flight.map(flightLine),
  ]
}

function cutWords({ cut, links }: Measured): string[] {
  if (cut === null) return []
  const dropped = links[cut.link]?.droppedByCut ?? 0
  const long = cut.ms === null ? 'until the end' : `for ${formatMs(cut.ms)}`
  return [`link ${cut.link} was cut ${long}; it swallowed ${formatCount(dropped)} datagrams, and nobody was told`]
}

function flightLine(burst: FlightBurst): string {
  const segments = burst.segments.map(({ bytes, packets }) => `[${packets.join(' + ')}] ${bytes}`)
  return `  ${burst.from.padEnd(6)}  ${segments.join('  ')}`
}
