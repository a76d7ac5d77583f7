/** The numbers of a public end in the text format of Prometheus: base units, one row a number. */
import { Exposition, labelText } from '../endpoint/index.ts'
import type { Family } from '../endpoint/index.ts'
import type { ReverseHealth, ReverseStatistics } from './types.ts'

type Plain = Exclude<keyof ReverseStatistics, 'refused'>

const NUMBERS: Readonly<Record<Plain, Family>> = {
  connections: { name: 'reverse_connections', help: 'Accepted reverse connections that take requests.', type: 'gauge' },
  draining: { name: 'reverse_draining', help: 'Accepted reverse connections that only end what is under way.', type: 'gauge' },
  pending: { name: 'reverse_pending', help: 'Connections that are not accepted yet.', type: 'gauge' },
  keys: { name: 'reverse_keys', help: 'Pools that are not empty.', type: 'gauge' },
  waiting: { name: 'reverse_waiting', help: 'Requests that wait for a connection.', type: 'gauge' },
  streamsOpen: { name: 'reverse_streams_open', help: 'Request streams that are open.', type: 'gauge' },
  accepted: { name: 'reverse_accepted_total', help: 'Connections that were accepted.', type: 'counter' },
  closed: { name: 'reverse_closed_total', help: 'Accepted connections that have ended.', type: 'counter' },
  requests: { name: 'reverse_requests_total', help: 'Request streams that were handed out.', type: 'counter' },
  unserved: { name: 'reverse_unserved_total', help: 'Requests that found no connection.', type: 'counter' },
  repeated: { name: 'reverse_repeated_total', help: 'Requests that were sent again over another connection.', type: 'counter' },
}
const REFUSED: Family = { name: 'reverse_refused_total', help: 'Connections that were not accepted, by reason.', type: 'counter' }
const POOL: Family = { name: 'reverse_pool_connections', help: 'Connections that take requests, by pool key.', type: 'gauge' }

/** Keys with a series of their own; private ends choose them, within what `poolKey` allows. */
const MAX_SERIES = 64

export function exposition(numbers: ReverseStatistics, { keys }: ReverseHealth): string {
  const text = new Exposition()
  for (const [name, family] of Object.entries(NUMBERS)) text.add(family, '', numbers[name as Plain])
  for (const [reason, count] of Object.entries(numbers.refused)) text.add(REFUSED, labelText({ reason }), count)
  for (const [key, size] of Object.entries(keys).slice(0, MAX_SERIES)) text.add(POOL, labelText({ key }), size)
  return text.toString()
}
