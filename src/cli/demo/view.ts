/** What moves on the screen while the demo runs: a bar of the whole and one of each path. Pure. */
import { formatBar, formatBytes, formatRate, formatShare } from '../format.ts'
import type { Frame } from '../progress.ts'
import type { Colors } from '../terminal.ts'
import type { ReceivedPath } from './messages.ts'

export interface Live {
  bytes: number
  total: number
  paths: readonly ReceivedPath[]
  /** By path id, bits per second now. */
  rates: ReadonlyMap<number, number>
  /** Full bar of a path. */
  rateBitsPerSec: number
  /** Remote address (the relay's) of a link that is cut now. */
  cut: string | null
}

const TOTAL_CELLS = 40
const PATH_CELLS = 16

export function frameOf(live: Live, colors: Colors): Frame {
  const share = live.total === 0 ? 0 : live.bytes / live.total
  const sum = [...live.rates.values()].reduce((total, rate) => total + rate, 0)
  const head = `${formatShare(share).padStart(5)}  ${formatBytes(live.bytes)} of ${formatBytes(live.total)}  ${formatRate(sum)}`
  const each = live.paths.map((path) => `path ${path.id} ${formatRate(rateOf(live, path))}${stateOf(live, path)}`)
  return {
    lines: [`${colors.green(formatBar(share, TOTAL_CELLS))} ${head}`, ...live.paths.map((path) => pathLine(live, path, colors))],
    line: [head.trim(), ...each].join('  '),
  }
}

function pathLine(live: Live, path: ReceivedPath, colors: Colors): string {
  const rate = rateOf(live, path)
  const paint = live.cut === path.remote ? colors.red : colors.cyan
  const name = `path ${path.id}  ${path.local.padEnd(21)}`
  return `${name} ${paint(formatBar(rate / live.rateBitsPerSec, PATH_CELLS))} ${formatRate(rate).padStart(11)}  ${formatBytes(path.bytesReceived)}${paint(stateOf(live, path))}`
}

function stateOf(live: Live, path: ReceivedPath): string {
  if (path.state !== 'open') return `  ${path.state}`
  if (live.cut === path.remote) return path.suspect ? '  cut, noticed' : '  cut'
  return path.suspect ? '  silent' : ''
}

function rateOf(live: Live, path: ReceivedPath): number {
  return live.rates.get(path.id) ?? 0
}
