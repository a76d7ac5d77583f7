/** The numbers of a manager in the text format of Prometheus: base units, one row a number. */
import { Exposition, labelText } from '../endpoint/index.ts'
import type { Family } from '../endpoint/index.ts'
import type { Step, TunnelStatistics } from './ledger.ts'

type Plain = Exclude<keyof TunnelStatistics, 'failed' | 'demuxDrops' | 'udpDrops' | 'durations'>

const SECONDS = 0.001

const NUMBERS: Readonly<Record<Plain, Family>> = {
  tunnels: { name: 'tunnel_tunnels', help: 'Client tunnels.', type: 'gauge' },
  bridgesOpen: { name: 'tunnel_bridges_open', help: 'TCP connections that are joined to streams.', type: 'gauge' },
  bridgesTotal: { name: 'tunnel_bridges_total', help: 'TCP connections, or streams that asked for one, so far.', type: 'counter' },
  flowsOpen: { name: 'tunnel_flows_open', help: 'Flows of UDP that are joined to streams.', type: 'gauge' },
  flowsTotal: { name: 'tunnel_flows_total', help: 'Flows of UDP, or streams that asked for one, so far.', type: 'counter' },
  pending: { name: 'tunnel_pending', help: 'TCP connections that wait for a stream.', type: 'gauge' },
  reconnects: { name: 'tunnel_reconnects_total', help: 'Times a tunnel dialled again.', type: 'counter' },
  bytesUp: { name: 'tunnel_up_bytes_total', help: 'Bytes from clients to targets.', type: 'counter' },
  bytesDown: { name: 'tunnel_down_bytes_total', help: 'Bytes from targets to clients.', type: 'counter' },
  datagramsUp: { name: 'tunnel_up_datagrams_total', help: 'Datagrams of UDP from clients to targets.', type: 'counter' },
  datagramsDown: { name: 'tunnel_down_datagrams_total', help: 'Datagrams of UDP from targets to clients.', type: 'counter' },
}
const FAILED: Family = { name: 'tunnel_failed_total', help: 'Bridges that failed, and what was refused by a limit.', type: 'counter' }
const DROPS: Family = { name: 'tunnel_demux_drops_total', help: 'Datagrams of a header carrier that were dropped, by reason.', type: 'counter' }
const UDP_DROPS: Family = { name: 'tunnel_udp_drops_total', help: 'Datagrams of UDP that were dropped, by reason.', type: 'counter' }
const STEPS: Family = { name: 'tunnel_steps_total', help: 'Steps on the way to a bridge that were taken.', type: 'counter' }
const STEP_SECONDS: Family = { name: 'tunnel_step_seconds_total', help: 'Time that these steps took.', type: 'counter' }

export function exposition(numbers: TunnelStatistics): string {
  const text = new Exposition()
  for (const [name, family] of Object.entries(NUMBERS)) text.add(family, '', numbers[name as Plain])
  for (const [reason, count] of Object.entries(numbers.failed)) text.add(FAILED, labelText({ reason }), count)
  for (const [reason, count] of Object.entries(numbers.demuxDrops)) text.add(DROPS, labelText({ reason }), count)
  for (const [reason, count] of Object.entries(numbers.udpDrops)) text.add(UDP_DROPS, labelText({ reason }), count)
  for (const step of Object.keys(numbers.durations) as Step[]) text.add(STEPS, labelText({ step }), numbers.durations[step].count)
  for (const step of Object.keys(numbers.durations) as Step[]) text.add(STEP_SECONDS, labelText({ step }), numbers.durations[step].totalMs * SECONDS)
  return text.toString()
}
