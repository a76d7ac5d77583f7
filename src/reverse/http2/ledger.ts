/** Counts what the ends over TCP do, and writes it as Prometheus text. Never decides. */
import { Exposition, labelText } from '../../endpoint/index.ts'
import type { Family } from '../../endpoint/index.ts'
import { isQuicbraidError } from '../../errors/index.ts'
import type { ReverseReason } from '../codes.ts'
import type { DiallerStatistics, PreconnectState, ReverseStatistics } from '../types.ts'

/** Repeating is the front's, who has the request (`FrontStatistics.retries`). */
export type ListenerNumbers = Omit<ReverseStatistics, 'repeated'>
/** What is counted where it is. */
export type ListenerStanding = Pick<ListenerNumbers, 'connections' | 'draining' | 'pending' | 'keys' | 'waiting' | 'streamsOpen' | 'requests'>

/** Keys with a series of their own; private ends choose them, within what `poolKey` allows. */
const MAX_SERIES = 64

type DialPlain = Exclude<keyof DiallerStatistics, 'failed' | 'accepting'>
const DIAL: Readonly<Record<DialPlain, Family>> = {
  connections: { name: 'reverse_http2_dial_connections', help: 'Connections that take requests.', type: 'gauge' },
  draining: { name: 'reverse_http2_dial_draining', help: 'Connections that only end what is under way.', type: 'gauge' },
  attempts: { name: 'reverse_http2_dial_attempts_total', help: 'Attempts to connect.', type: 'counter' },
  accepted: { name: 'reverse_http2_dial_accepted_total', help: 'Connections on which the public end sent its SETTINGS.', type: 'counter' },
  lost: { name: 'reverse_http2_dial_lost_total', help: 'Such connections that ended or were drained by the public end.', type: 'counter' },
  requests: { name: 'reverse_http2_dial_requests_total', help: 'Requests that came.', type: 'counter' },
  requestsOpen: { name: 'reverse_http2_dial_requests_open', help: 'Requests that have not ended.', type: 'gauge' },
  requestsFailed: { name: 'reverse_http2_dial_requests_failed_total', help: 'Requests whose stream was cut, by either end.', type: 'counter' },
}
const STATE: Family = { name: 'reverse_http2_dial_state', help: '1 for the state that the private end is in.', type: 'gauge' }
const FAILED: Family = { name: 'reverse_http2_dial_failed_total', help: 'Attempts that failed, by code of the error.', type: 'counter' }
const ACCEPT_SECONDS: Family = { name: 'reverse_http2_dial_accept_seconds_total', help: 'Time from dial to SETTINGS of those that got so far.', type: 'counter' }
const STATES: readonly PreconnectState[] = ['STOP', 'INIT', 'FULL', 'ERR']

type ListenPlain = Exclude<keyof ListenerNumbers, 'refused'>
const LISTEN: Readonly<Record<ListenPlain, Family>> = {
  connections: { name: 'reverse_http2_connections', help: 'Accepted reverse connections that take requests.', type: 'gauge' },
  draining: { name: 'reverse_http2_draining', help: 'Accepted reverse connections that only end what is under way.', type: 'gauge' },
  pending: { name: 'reverse_http2_pending', help: 'Connections that are not accepted yet.', type: 'gauge' },
  keys: { name: 'reverse_http2_keys', help: 'Pools that are not empty.', type: 'gauge' },
  waiting: { name: 'reverse_http2_waiting', help: 'Requests that wait for a connection.', type: 'gauge' },
  streamsOpen: { name: 'reverse_http2_streams_open', help: 'Request streams that are open.', type: 'gauge' },
  accepted: { name: 'reverse_http2_accepted_total', help: 'Connections that were accepted.', type: 'counter' },
  closed: { name: 'reverse_http2_closed_total', help: 'Accepted connections that have ended.', type: 'counter' },
  requests: { name: 'reverse_http2_requests_total', help: 'Request streams that were opened.', type: 'counter' },
  unserved: { name: 'reverse_http2_unserved_total', help: 'Requests that found no connection.', type: 'counter' },
}
const REFUSED: Family = { name: 'reverse_http2_refused_total', help: 'Connections that were not accepted, by reason.', type: 'counter' }
const POOL: Family = { name: 'reverse_http2_pool_connections', help: 'Connections that take requests, by pool key.', type: 'gauge' }

/** Of a private end. */
export class DialLedger {
  readonly #failed: Record<string, number> = Object.create(null) as Record<string, number>
  readonly #accepting = { count: 0, totalMs: 0, maxMs: 0 }
  attempts = 0
  lost = 0
  requests = 0
  requestsOpen = 0
  requestsFailed = 0

  /** Reached after so long. */
  accepted(ms: number): void {
    this.#accepting.count += 1
    this.#accepting.totalMs += ms
    this.#accepting.maxMs = Math.max(this.#accepting.maxMs, ms)
  }

  failed(error: Error): void {
    const code = isQuicbraidError(error) ? error.code : 'other'
    this.#failed[code] = (this.#failed[code] ?? 0) + 1
  }

  statistics(connections: number, draining: number): DiallerStatistics {
    const { attempts, lost, requests, requestsOpen, requestsFailed } = this
    return { connections, draining, attempts, accepted: this.#accepting.count, failed: { ...this.#failed }, lost, requests, requestsOpen, requestsFailed, accepting: { ...this.#accepting } }
  }
}

/** Of a public end. */
export class ListenLedger {
  readonly #refused: Record<string, number> = Object.create(null) as Record<string, number>
  accepted = 0
  closed = 0
  unserved = 0

  refused(reason: ReverseReason): void {
    this.#refused[reason] = (this.#refused[reason] ?? 0) + 1
  }

  statistics(standing: ListenerStanding): ListenerNumbers {
    const { accepted, closed, unserved } = this
    return { ...standing, accepted, refused: { ...this.#refused }, closed, unserved }
  }
}

/** `to`: where it dials. */
export function dialText(to: string, state: PreconnectState, numbers: DiallerStatistics): string {
  const text = new Exposition()
  const labels = labelText({ to })
  for (const each of STATES) text.add(STATE, labelText({ to, state: each }), each === state ? 1 : 0)
  for (const [name, family] of Object.entries(DIAL)) text.add(family, labels, numbers[name as DialPlain])
  for (const [code, count] of Object.entries(numbers.failed)) text.add(FAILED, labelText({ to, code }), count)
  text.add(ACCEPT_SECONDS, labels, numbers.accepting.totalMs / 1000)
  return text.toString()
}

export function listenText(numbers: ListenerNumbers, sizes: Readonly<Record<string, number>>): string {
  const text = new Exposition()
  for (const [name, family] of Object.entries(LISTEN)) text.add(family, '', numbers[name as ListenPlain])
  for (const [reason, count] of Object.entries(numbers.refused)) text.add(REFUSED, labelText({ reason }), count)
  for (const [key, size] of Object.entries(sizes).slice(0, MAX_SERIES)) text.add(POOL, labelText({ key }), size)
  return text.toString()
}
