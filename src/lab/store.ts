/**
 * Rows as JSON Lines in a file. A line that an interruption left unfinished is cut off; every other line stays as it is, rows of other
 * experiments and versions too. One writer at a time.
 */
import { closeSync, existsSync, openSync, readFileSync, truncateSync, writeSync } from 'node:fs'
import { isRecord } from './experiment.ts'
import type { Row } from './experiment.ts'

/** Rows of a file in its order; lines that are no rows are left out. @throws errors of the file system */
export function readRows(file: string): Row[] {
  return rowsIn(readFileSync(file, 'utf8'))
}

export function rowsIn(text: string): Row[] {
  const rows: Row[] = []
  for (const line of text.split('\n')) {
    const row = parseRow(line)
    if (row !== null) rows.push(row)
  }
  return rows
}

export class Store {
  /** What was there. */
  readonly rows: readonly Row[]
  readonly #descriptor: number

  /** @throws errors of the file system */
  constructor(file: string) {
    const text = existsSync(file) ? readFileSync(file, 'utf8') : ''
    const end = text.lastIndexOf('\n') + 1
    this.rows = rowsIn(text.slice(0, end))
    this.#descriptor = openSync(file, 'a')
    if (end < text.length) truncateSync(file, Buffer.byteLength(text.slice(0, end)))
  }

  /** The row is with the system when this returns. @throws errors of the file system */
  append(row: Row): void {
    writeSync(this.#descriptor, `${JSON.stringify(row)}\n`)
  }

  close(): void {
    closeSync(this.#descriptor)
  }
}

function parseRow(line: string): Row | null {
  if (line === '') return null
  try {
    const row = JSON.parse(line) as Partial<Row>
    const whole = isRecord(row) && typeof row.experiment === 'string' && isRecord(row.cell) && Number.isInteger(row.seed) && typeof row.ok === 'boolean' && isRecord(row.values) && typeof row.version === 'string'
    return whole ? (row as Row) : null
  } catch {
    return null
  }
}
