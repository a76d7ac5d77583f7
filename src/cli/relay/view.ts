/** What `quicbraid relay` shows: where it is and how to use it, what it forwards, what it drops. Pure. */
import type { RelayStatistics } from '../../traversal/index.ts'
import { formatBytes, formatCount, formatMs } from '../format.ts'
import type { Frame } from '../progress.ts'
import type { Colors } from '../terminal.ts'

export function introduction(local: readonly string[], address: string, pin: string | null, tokens: boolean): string[] {
  const reachable = address.replace(/^0\.0\.0\.0:/, 'THIS-HOST:').replace(/^\[::\]:/, 'THIS-HOST:')
  return [
    ...local.map((one) => `listening on ${one}`), ...(pin === null ? [] : [`pin ${pin}`]),
    `quicbraid nat punch --relay ${reachable}${pin === null ? '' : ` --pin ${pin}`}${tokens ? ' --token …' : ' --cert … --key …'}`,
  ]
}

export function frameOf(statistics: RelayStatistics, { dim, yellow }: Colors): Frame {
  const { registrations, forwardedDatagrams, forwardedBytes } = statistics
  const words = `${registrations} registered, ${formatCount(forwardedDatagrams)} datagrams (${formatBytes(forwardedBytes)}) forwarded`
  const drops = dropWords(statistics)
  return { lines: [`${words}${drops === '' ? dim(', nothing dropped') : `, ${yellow(drops)}`}`], line: `${words}${drops === '' ? '' : `, ${drops}`}` }
}

export function summaryOf(statistics: RelayStatistics, ms: number): string {
  const drops = dropWords(statistics)
  return `${formatCount(statistics.forwardedDatagrams)} datagrams, ${formatBytes(statistics.forwardedBytes)} forwarded in ${formatMs(ms)}${drops === '' ? ', nothing dropped' : `; ${drops}`}`
}

/** By reason, the most frequent first; empty: none. */
function dropWords({ drops }: RelayStatistics): string {
  const found = Object.entries(drops).filter(([, count]) => count > 0).sort(([, one], [, other]) => other - one)
  return found.length === 0 ? '' : `dropped ${found.map(([reason, count]) => `${formatCount(count)} ${reason}`).join(', ')}`
}
