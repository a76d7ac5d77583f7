/** What a person sees of `get`: a moving line with each path's rate, then what was fetched. */
import { formatBytes, formatMs, formatRate, formatTable } from '../format.ts'
import type { LivePath, PathReport } from '../paths.ts'
import type { Frame } from '../progress.ts'
import type { Colors } from '../terminal.ts'

export interface Fetched {
  url: string
  file: string | null
  bytes: number
  sha256: string
  ms: number
}

/** `done` of `jobs` files, `bytes` so far, in `ms`. */
export function frameOf(state: { done: number; jobs: number; bytes: number; ms: number }, paths: readonly LivePath[], colors: Colors): Frame {
  const rate = state.ms < 1 ? 0 : (state.bytes * 8000) / state.ms
  const files = state.jobs === 1 ? '' : `${state.done} of ${state.jobs} files  `
  const head = `${files}${formatBytes(state.bytes)}  ${formatRate(rate)}`
  const each = paths.map(({ report, rateBitsPerSec }) => `path ${report.id} ${formatRate(rateBitsPerSec)}`)
  return {
    lines: [colors.bold(head), ...paths.map((path) => pathLine(path, colors))],
    line: [head, ...each].join('  '),
  }
}

function pathLine({ report, rateBitsPerSec }: LivePath, colors: Colors): string {
  const state = report.state === 'open' ? '' : `  ${report.state}`
  return `  path ${report.id}  ${report.local}  ${colors.cyan(formatRate(rateBitsPerSec))}  ${formatBytes(report.bytesReceived)}  rtt ${formatMs(report.rttMs)}${state}`
}

/** After the end, on stderr: files, then paths. */
export function summaryOf(fetched: readonly Fetched[], total: { bytes: number; seconds: number; stallMs: number }, paths: readonly PathReport[]): string[] {
  const files = fetched.map((one) => `${one.file ?? 'stdout'}  ${formatBytes(one.bytes)}  ${formatMs(one.ms)}  sha256 ${one.sha256}`)
  const rate = total.seconds > 0 ? (total.bytes * 8) / total.seconds : 0
  const head = ['path', 'local', 'remote', 'received', 'rtt', 'lost', 'state']
  const rows = paths.map((path) => [String(path.id), path.local, path.remote, formatBytes(path.bytesReceived), formatMs(path.rttMs), String(path.lost), path.state])
  return [
    ...files,
    `${formatBytes(total.bytes)} in ${formatMs(total.seconds * 1000)} (${formatRate(rate)}), longest stall ${formatMs(total.stallMs)}`,
    ...(rows.length === 0 ? [] : formatTable([head, ...rows])),
  ]
}
