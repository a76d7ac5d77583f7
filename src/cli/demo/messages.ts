/** What the demo's processes tell each other: JSON over the channel of `fork`. Each process is named by its role. */
import type { ErrorJson, ExitCode } from '../exit.ts'

export type Role = 'relay' | 'server' | 'client'

/** First message to the relay process; the others may follow at any time. */
export interface RelayStart {
  do: 'start'
  links: { listen: string; target: string; rateBitsPerSec: number; delayMs: number; queueBytes: number }[]
}
export type RelayOrder = RelayStart | { do: 'cut' | 'restore'; link: number } | { do: 'statistics' } | Stop

export interface ServerStart {
  do: 'start'
  /** Bound here: one address a family. */
  local: string[]
  file: string
  scheduler: string
}
export type ServerOrder = ServerStart | { do: 'statistics' } | Stop

export interface ClientStart {
  do: 'start'
  /** Ours and the relay's address of each path; the first carries the handshake. */
  paths: { local: string; remote: string }[]
  /** Trust anchor in PEM. */
  ca: string
  /** What to ask for. */
  path: string
  /** Where it goes. */
  file: string
  scheduler: string
  /** Numbers of received bytes at which a `mark` is sent, rising. */
  marks: number[]
}
export type ClientOrder = ClientStart | Stop

/** Close what is open and end. */
export interface Stop { do: 'stop' }

export type Order = RelayOrder | ServerOrder | ClientOrder

/** Sender's side of one path. */
export interface SentPath {
  id: number
  bytesSent: number
  rttMs: number
  lost: number
  bursts: number
  segments: number
  state: string
  reason: string
}

/** Receiver's side of one path. */
export interface ReceivedPath {
  id: number
  local: string
  remote: string
  bytesReceived: number
  state: string
  suspect: boolean
}

/** One burst of the handshake: packet types by segment. */
export interface FlightBurst {
  from: 'client' | 'server'
  atMs: number
  segments: { bytes: number; packets: string[] }[]
}

export interface HandshakeFacts {
  ms: number
  datagramsSent: number
  coalesced: number
  multipath: string
}

export interface LinkCounts {
  up: boolean
  delivered: number
  droppedByCut: number
  droppedByQueue: number
}

export type Event =
  | { event: 'relay-ready'; listen: string[] }
  | { event: 'relay-statistics'; links: LinkCounts[] }
  | { event: 'server-ready'; local: string[]; ca: string; bytes: number; sha256: string }
  | { event: 'server-statistics'; paths: SentPath[]; handshake: HandshakeFacts | null; flight: FlightBurst[] }
  | { event: 'path'; from: 'client' | 'server'; path: number; type: string; reason: string }
  | { event: 'opened'; handshake: HandshakeFacts }
  | { event: 'progress'; bytes: number; paths: ReceivedPath[] }
  | { event: 'mark'; index: number }
  | { event: 'done'; bytes: number; seconds: number; sha256: string; stallMs: number; paths: ReceivedPath[]; flight: FlightBurst[] }
  | { event: 'failed'; error: ErrorJson; exit: ExitCode }

export type EventOf<Name extends Event['event']> = Extract<Event, { event: Name }>
