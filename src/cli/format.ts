/** Numbers as people read them, and tables. Pure. */

const BINARY = ['B', 'KiB', 'MiB', 'GiB', 'TiB'] as const
const DECIMAL = ['bit/s', 'kbit/s', 'Mbit/s', 'Gbit/s'] as const

/** `268435456` → `256 MiB`. */
export function formatBytes(bytes: number): string {
  return scaled(bytes, 1024, BINARY)
}

/** `250e6` → `250 Mbit/s`. */
export function formatRate(bitsPerSec: number): string {
  return scaled(bitsPerSec, 1000, DECIMAL)
}

/** `0.42` → `0.42 ms`, `12.3` → `12.3 ms`, `4200` → `4.2 s`, `90000` → `1 min 30 s`. */
export function formatMs(ms: number): string {
  if (!Number.isFinite(ms)) return '-'
  if (ms < 1000) return `${significant(ms)} ms`
  if (ms < 60_000) return `${significant(ms / 1000)} s`
  return `${Math.floor(ms / 60_000)} min ${Math.round((ms % 60_000) / 1000)} s`
}

/** `1234567` → `1,234,567`. */
export function formatCount(count: number): string {
  return String(Math.round(count)).replace(/\B(?=(\d{3})+$)/g, ',')
}

/** `0.4` → `40 %`. */
export function formatShare(share: number): string {
  return `${Math.round(share * 100)} %`
}

/** Columns as wide as their longest cell; cells that start with a digit stand right. `rows[0]` is the head. */
export function formatTable(rows: readonly (readonly string[])[]): string[] {
  const columns = Math.max(0, ...rows.map((row) => row.length))
  const widths = Array.from({ length: columns }, (_, column) => Math.max(...rows.map((row) => (row[column] ?? '').length)))
  const right = widths.map((_, column) => rows.slice(1).every((row) => /^(?:[\d.,-]+(?: \S+)?|)$/.test(row[column] ?? '')))
  return rows.map((row) => widths.map((width, column) => pad(row[column] ?? '', width, right[column] === true)).join('  ').trimEnd())
}

/** A bar of `width` cells, `share` of it full. */
export function formatBar(share: number, width: number): string {
  const cells = Math.max(0, Math.min(1, share)) * width
  const full = Math.floor(cells)
  const part = ' ▏▎▍▌▋▊▉'[Math.floor((cells - full) * 8)] ?? ''
  return (`${'█'.repeat(full)}${full < width ? part : ''}`).padEnd(width, ' ')
}

/** A peer's words must not steer the terminal. */
export function printable(text: string): string {
  return text.replace(/[^\u0020-\u007E\u00A0-\uFFFD]/g, '?')
}

/** Cuts what a terminal of that width would wrap; colour sequences take no room. */
export function fit(text: string, columns: number): string {
  let room = columns
  let result = ''
  for (const piece of text.split(COLOUR)) {
    if (piece.startsWith('\u001B')) {
      result += piece
    } else if (piece.length <= room) {
      result += piece
      room -= piece.length
    } else if (room > 0) {
      result += `${piece.slice(0, room - 1)}…`
      room = 0
    }
  }
  return result
}

const COLOUR = new RegExp(`(${String.fromCodePoint(27)}\\[[0-9;]*m)`)

function scaled(value: number, step: number, units: readonly string[]): string {
  let unit = 0
  let rest = value
  while (rest >= step && unit < units.length - 1) {
    rest /= step
    unit += 1
  }
  return `${unit === 0 ? Math.round(rest) : significant(rest)} ${units[unit]}`
}

/** Three significant digits, no trailing zeros. */
function significant(value: number): string {
  if (value >= 100) return String(Math.round(value))
  return String(Number(value.toPrecision(3)))
}

function pad(text: string, width: number, right: boolean): string {
  return right ? text.padStart(width) : text.padEnd(width)
}
