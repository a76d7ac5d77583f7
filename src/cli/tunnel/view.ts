/** What `quicbraid tunnel` shows: a line for each bridge and each path, what has ended, how to reach a server. Pure. */
import type { BridgeEvent, OpenBridge, TunnelStatistics } from '../../tunnel/index.ts'
import { formatBytes, formatCount, formatMs, formatRate, printable } from '../format.ts'
import type { LivePath } from '../paths.ts'
import type { Frame } from '../progress.ts'
import type { Colors } from '../terminal.ts'

/** Lines of one kind on the screen. */
const MOST_LINES = 8

/** Paths of one connection, and what it is called. */
export interface PathGroup {
  name: string
  /** Null: not connected now. */
  paths: readonly LivePath[] | null
}

/** What is going on. */
export function frameOf(statistics: TunnelStatistics, groups: readonly PathGroup[], bridges: readonly OpenBridge[], colors: Colors): Frame {
  const { bridgesOpen, bridgesTotal, flowsOpen, flowsTotal, pending, bytesUp, bytesDown } = statistics
  const waiting = pending === 0 ? '' : `, ${formatCount(pending)} waiting`
  const head = `${formatCount(bridgesOpen + flowsOpen)} open of ${formatCount(bridgesTotal + flowsTotal)}${waiting}  up ${formatBytes(bytesUp)}  down ${formatBytes(bytesDown)}`
  const paths = groups.flatMap(({ name, paths: some }) => (some === null ? [`  ${name}  ${colors.yellow('not connected')}`] : some.map((path) => pathLine(name, path, colors))))
  const rates = groups.flatMap(({ paths: some }) => (some ?? []).map(({ report, rateBitsPerSec }) => `path ${report.id} ${formatRate(rateBitsPerSec)}`))
  return {
    lines: [colors.bold(head), ...most(paths, colors), ...most(bridges.map((bridge) => bridgeLine(bridge, colors)), colors)],
    line: [head, ...rates.slice(0, MOST_LINES)].join('  '),
  }
}

function pathLine(name: string, { report, rateBitsPerSec }: LivePath, { cyan, yellow }: Colors): string {
  const { id, local, remote, bytesSent, bytesReceived, rttMs, state, status } = report
  const words = state === 'open' ? (status === 'backup' ? '  backup' : '') : `  ${yellow(state)}`
  return `  ${name}  path ${id}  ${local} - ${remote}  ${cyan(formatRate(rateBitsPerSec))}  sent ${formatBytes(bytesSent)}  received ${formatBytes(bytesReceived)}  rtt ${formatMs(rttMs)}${words}`
}

function bridgeLine({ peer, protocol, target, bytesUp, bytesDown }: OpenBridge, { dim }: Colors): string {
  return `  ${wayOf(peer, `${protocol === 'udp' ? 'udp:' : ''}${target ?? '?'}`)}  ${dim(`up ${formatBytes(bytesUp)}  down ${formatBytes(bytesDown)}`)}`
}

/** A bridge that has ended; `ms` since its beginning. */
export function endedLine(event: BridgeEvent, ms: number, { green, red }: Colors): string {
  const { peer, target, bytesUp, bytesDown, type, reason, protocol } = event
  const way = wayOf(peer, `${protocol === 'udp' ? 'udp:' : ''}${target ?? '?'}`)
  return type === 'closed'
    ? `${green('ok')}  ${way}  up ${formatBytes(bytesUp)}  down ${formatBytes(bytesDown)}  ${formatMs(ms)}`
    : `${red('--')}  ${way}  ${REASONS[reason ?? 'end']}${bytesUp + bytesDown === 0 ? '' : ` after up ${formatBytes(bytesUp)}, down ${formatBytes(bytesDown)}`}`
}

const REASONS: Readonly<Record<NonNullable<BridgeEvent['reason']>, string>> = {
  connect: 'the target does not answer', 'bad-init': 'the other end does not keep to the protocol', tcp: 'reset', refused: 'not allowed by the server', shutdown: 'cut: this is being stopped',
  overflow: 'too many wait', timeout: 'waited too long', idle: 'silent for too long', replaced: 'replaced by another', connection: 'the connection was lost', end: 'ended',
}

export function summaryOf({ bridgesTotal, flowsTotal, bytesUp, bytesDown, reconnects, failed }: TunnelStatistics, ms: number): string {
  const bad = Object.entries(failed).map(([name, count]) => `${formatCount(count)} ${name}`)
  const again = reconnects === 0 ? '' : `, ${formatCount(reconnects)} times connected again`
  return `TCP connections: ${formatCount(bridgesTotal)}${flowsTotal === 0 ? '' : `, flows of UDP: ${formatCount(flowsTotal)}`}, up ${formatBytes(bytesUp)}, down ${formatBytes(bytesDown)} in ${formatMs(ms)}${again}${bad.length === 0 ? '' : `; failed: ${bad.join(', ')}`}`
}

/** Where a server is, whom it serves, and what to type at a client. */
export function introduction(server: { local: readonly string[]; pin: string; allow: readonly string[]; listen: readonly string[]; clients: string; certificate: boolean }): string[] {
  const { local, pin, allow, listen, clients, certificate } = server
  const [first = ''] = local
  const host = first.replace(/^0\.0\.0\.0:/, 'THIS-HOST:').replace(/^\[::\]:/, 'THIS-HOST:')
  const trust = ` --pin ${pin}${certificate ? ' --cert cert.pem --key key.pem' : ''}`
  const [target] = allow
  const [bind] = listen
  const [kind, where] = target?.startsWith('udp:') === true ? ['udp:', target.slice(4)] : ['', target]
  return [
    ...local.map((one) => `listening on ${one}, for ${clients}`), `pin ${pin}`,
    ...(allow.length === 0 ? [] : [`allowed: ${allow.join(' ')}`]), ...(listen.length === 0 ? [] : [`ports for -R: ${listen.join(' ')}`]),
    ...(where === undefined ? [] : [`quicbraid tunnel -L ${kind}8080:${where.replace(/-\d+$/, '')} ${host}${trust}`]),
    ...(bind === undefined ? [] : [`quicbraid tunnel -R ${bind.replace(/-\d+$/, '')}:localhost:80 ${host}${trust}`]),
  ]
}

/** Peers choose these words: they must not steer the terminal. */
export function wayOf(peer: string | null, target: string | null): string {
  return `${printable(peer ?? '?')} -> ${printable(target ?? '?')}`
}

function most(lines: readonly string[], { dim }: Colors): string[] {
  return lines.length <= MOST_LINES ? [...lines] : [...lines.slice(0, MOST_LINES - 1), dim(`  and ${formatCount(lines.length - MOST_LINES + 1)} more`)]
}
