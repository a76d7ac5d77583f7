/** The numbers of a private end in the text format of Prometheus: base units, one row a number. */
import { Exposition, labelText } from '../endpoint/index.ts'
import type { Family } from '../endpoint/index.ts'
import type { DiallerStatistics, PreconnectState } from './types.ts'

type Plain = Exclude<keyof DiallerStatistics, 'failed' | 'accepting'>

const NUMBERS: Readonly<Record<Plain, Family>> = {
  connections: { name: 'reverse_dial_connections', help: 'Accepted connections that take requests.', type: 'gauge' },
  draining: { name: 'reverse_dial_draining', help: 'Accepted connections that only end what is under way.', type: 'gauge' },
  attempts: { name: 'reverse_dial_attempts_total', help: 'Attempts to connect.', type: 'counter' },
  accepted: { name: 'reverse_dial_accepted_total', help: 'Connections that the public end accepted.', type: 'counter' },
  lost: { name: 'reverse_dial_lost_total', help: 'Accepted connections that ended or were drained by the public end.', type: 'counter' },
  requests: { name: 'reverse_dial_requests_total', help: 'Requests that came.', type: 'counter' },
  requestsOpen: { name: 'reverse_dial_requests_open', help: 'Requests that have not ended.', type: 'gauge' },
  requestsFailed: { name: 'reverse_dial_requests_failed_total', help: 'Requests whose stream was cut, by either end.', type: 'counter' },
}
const STATE: Family = { name: 'reverse_dial_state', help: '1 for the state that the private end is in.', type: 'gauge' }
const FAILED: Family = { name: 'reverse_dial_failed_total', help: 'Attempts that failed, by code of the error.', type: 'counter' }
const ACCEPT_SECONDS: Family = { name: 'reverse_dial_accept_seconds_total', help: 'Time from dial to ACCEPT of those that were accepted.', type: 'counter' }
const STATES: readonly PreconnectState[] = ['STOP', 'INIT', 'FULL', 'ERR']

export function exposition(service: string, state: PreconnectState, numbers: DiallerStatistics): string {
  const text = new Exposition()
  const labels = labelText({ service })
  for (const each of STATES) text.add(STATE, labelText({ service, state: each }), each === state ? 1 : 0)
  for (const [name, family] of Object.entries(NUMBERS)) text.add(family, labels, numbers[name as Plain])
  for (const [code, count] of Object.entries(numbers.failed)) text.add(FAILED, labelText({ service, code }), count)
  text.add(ACCEPT_SECONDS, labels, numbers.accepting.totalMs / 1000)
  return text.toString()
}
