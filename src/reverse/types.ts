/** What people hold of both ends, and what these tell. Types only; the public end makes them in `listener.ts`, the private end in `dialler.ts`. */
import type { Observable, Waiting } from '../config/index.ts'
import type { Connection } from '../connection/index.ts'
import type { BidirectionalStream } from '../stream/index.ts'
import type { ReverseReason } from './codes.ts'
import type { RequestOptions } from './options.ts'

/** STOP: not enabled; INIT: below the pool; FULL: the pool is there; ERR: the last attempt failed. */
export type PreconnectState = 'STOP' | 'INIT' | 'FULL' | 'ERR'

export interface PreconnectChange {
  state: PreconnectState
  /** For people. */
  reason: string
  /** What the attempt failed with, or the connection was lost by; null: nothing went wrong. */
  error: Error | null
  atMs: number
}

/** States of one connection of a private end (reverse.md section 2). */
export type LineStep = 'CONNECTING' | 'HANDSHAKED' | 'REVERSING' | 'ACCEPTED' | 'IDLE' | 'BUSY' | 'DRAINING' | 'CLOSED' | 'FAILED'

/** A connection of a private end has come to a state. */
export interface DiallerEvent {
  atMs: number
  /** Id of the connection; null before there is one. */
  connection: string | null
  state: LineStep
  /** For people. */
  reason: string
}

/** What becomes of a request at its private end. */
export interface ServedRequest {
  atMs: number
  /** 'failed': a part of its stream was cut, by either end. */
  type: 'opened' | 'closed' | 'failed'
  /** Id of the connection. */
  connection: string
  stream: bigint
  /** Since it was opened. */
  ms: number
  bytesIn: number
  bytesOut: number
  error: Error | null
}

export interface DiallerStatistics {
  /** Accepted connections that take requests. */
  connections: number
  /** Accepted ones that only end what is under way. */
  draining: number
  attempts: number
  accepted: number
  /** Attempts that failed, by code of the error. */
  failed: Readonly<Record<string, number>>
  /** Accepted connections that ended, or were taken out of the pool, without a `stop` of this end. */
  lost: number
  requests: number
  requestsOpen: number
  /** Requests whose stream was cut, by either end. */
  requestsFailed: number
  /** From dial to ACCEPT. */
  accepting: Readonly<{ count: number; totalMs: number; maxMs: number }>
}

/** A service behind a NAT that dials out: keeps connections to a public end and serves the requests that come over them. */
export interface ReverseDialler extends AsyncDisposable {
  readonly state: PreconnectState
  /** Only changes, with the reason; of ERR also that of its reason, by code. [H1] tick */
  readonly state$: Observable<PreconnectChange>
  /** Accepted connections that take requests. [H1] tick */
  readonly connections$: Observable<readonly Connection[]>
  /** What becomes of each connection. [H0] tick */
  readonly events$: Observable<DiallerEvent>
  /** [H0] tick */
  readonly requests$: Observable<ServedRequest>
  /** [H1] sample */
  readonly metrics$: Observable<DiallerStatistics>
  statistics(): DiallerStatistics
  /** The same as Prometheus text, names `quicbraid_reverse_dial_*`. */
  prometheus(): string
  /** Dials again after a `stop`; else nothing. Returns at once. @throws QB_REVERSE_SHUTDOWN after its disposal */
  enable(): void
  /** Cancels the attempt, tells the public end to send no more requests, lets those under way end for `drainMs`, closes; an endpoint of its own, too. Nothing happens after it resolves. While it goes on: the same promise. @throws QB_OPTION_INVALID QB_OPTION_UNKNOWN */
  stop(options?: { /** @default 2000 */ drainMs?: number }): Promise<void>
}

/** What becomes of connections at a public end. */
export interface ReverseEvent {
  atMs: number
  /** 'accepted': requests can go out. 'draining': those under way end, none begins. 'closed': of one that was accepted. */
  type: 'accepted' | 'refused' | 'draining' | 'closed'
  /** As HELLO said, null before there was one. */
  service: string | null
  /** Pool key, null for one that has none. */
  key: string | null
  remote: string
  /** Why; null: accepted, or an end without a code of ours. */
  reason: ReverseReason | null
  /** For people. */
  text: string
  /** Id of the connection. */
  connection: string
  /** Connections with this key that take requests, afterwards. */
  size: number
}

export interface ReverseStatistics {
  /** Accepted connections that take requests. */
  connections: number
  /** Accepted ones that only end what is under way. */
  draining: number
  /** Not accepted yet. */
  pending: number
  /** Pools that are not empty. */
  keys: number
  accepted: number
  /** By reason. */
  refused: Readonly<Record<string, number>>
  closed: number
  /** Request streams that were handed out. */
  requests: number
  /** Requests that found no connection. */
  unserved: number
  /** Requests that were sent again over another connection. */
  repeated: number
  /** Requests that wait for a connection. */
  waiting: number
  /** Request streams that are open. */
  streamsOpen: number
}

/** Accepted connections under one key, or under any. */
export interface ReversePool {
  /** Null: all keys. */
  readonly key: string | null
  /** Connections that take requests. */
  readonly size: number
  /** Replays whether it is empty; then each change. [H1] tick */
  readonly empty$: Observable<boolean>
  /** A request stream on the best connection: fewest open streams, then lowest smoothed RTT (V41). @throws QB_REVERSE_NO_CONNECTION QB_REVERSE_DRAINING, the abort reason */
  request(key?: string, options?: RequestOptions & Waiting): Promise<BidirectionalStream>
  /** Takes no requests and no connections until `resume()`; resolves when what was under way has ended and the connections are closed. */
  drain(): Promise<void>
  /** Takes them again. */
  resume(): void
}

/** Whether work could be handed on now. */
export interface ReverseHealth {
  /** At least one connection takes requests. */
  ok: boolean
  /** Connections that take requests, by key. */
  keys: Readonly<Record<string, number>>
}

export interface ReverseListener extends AsyncDisposable {
  /** Bound addresses with real ports. */
  readonly local: readonly string[]
  /** Of one key; without: all. */
  pool(key?: string): ReversePool
  /** The key of a connection from outside, by `keyFromSni`. */
  keyOf(serverName: string): string | undefined
  /** Those that take requests. [H1] tick */
  readonly connections$: Observable<readonly Connection[]>
  /** [H0] tick */
  readonly events$: Observable<ReverseEvent>
  /** [H1] sample */
  readonly metrics$: Observable<ReverseStatistics>
  statistics(): ReverseStatistics
  /** The same as Prometheus text, names `quicbraid_reverse_*`. */
  prometheus(): string
  health(): ReverseHealth
  /** Accepts nothing any more, lets requests end for `drainMs`, closes; an endpoint of its own, too. Again: the same promise. @throws QB_OPTION_INVALID */
  close(options?: { /** @default 2000 */ drainMs?: number }): Promise<void>
}
