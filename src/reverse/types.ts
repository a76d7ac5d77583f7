/** What people hold of both ends, and what these tell. Types only; the public end makes them in `listener.ts`, the private end in `dialler.ts`. */
import type { Observable, Waiting } from '../config/index.ts'
import type { Connection } from '../connection/index.ts'
import type { BidirectionalStream } from '../stream/index.ts'
import type { ReverseReason } from './codes.ts'
import type { RequestOptions } from './options.ts'

export type PreconnectState = 'STOP' | 'INIT' | 'FULL' | 'ERR'

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
