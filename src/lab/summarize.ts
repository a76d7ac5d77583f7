/** Rows to cells: quantiles of every column that holds numbers. Pure. */
import { cellKey } from './experiment.ts'
import type { Cell, Row } from './experiment.ts'

export interface ColumnSummary {
  p50: number
  p90: number
  p99: number
  mean: number
  min: number
  max: number
}

export interface Summary {
  cell: Cell
  runs: number
  failed: number
  /** Of the runs that did not fail; columns without a number in any of them are left out. true counts 1, false 0. */
  columns: Readonly<Record<string, ColumnSummary>>
}

/** Cells in the order of their first row. */
export function summarize(rows: Iterable<Row>): Summary[] {
  const cells = new Map<string, { cell: Cell; rows: Row[] }>()
  for (const row of rows) {
    const key = cellKey(row.cell)
    const group = cells.get(key)
    if (group === undefined) cells.set(key, { cell: row.cell, rows: [row] })
    else group.rows.push(row)
  }
  return [...cells.values()].map(({ cell, rows }) => {
    const columns: Record<string, ColumnSummary> = {}
    for (const [name, values] of numbersOf(rows)) columns[name] = columnOf(values)
    return { cell, runs: rows.length, failed: rows.filter(({ ok }) => !ok).length, columns }
  })
}

/** Numbers of each column, rising. */
export function numbersOf(rows: readonly Row[]): Map<string, number[]> {
  const found = new Map<string, number[]>()
  for (const { values } of rows) {
    for (const [name, value] of Object.entries(values)) {
      if (typeof value !== 'number' && typeof value !== 'boolean') continue
      const list = found.get(name)
      if (list === undefined) found.set(name, [Number(value)])
      else list.push(Number(value))
    }
  }
  for (const list of found.values()) list.sort((one, other) => one - other)
  return found
}

/** Nearest rank: the smallest value that at least this share does not exceed. `sorted` is not empty. */
export function quantile(sorted: readonly number[], share: number): number {
  return sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)] ?? Number.NaN
}

function columnOf(sorted: readonly number[]): ColumnSummary {
  const mean = sorted.reduce((sum, value) => sum + value, 0) / sorted.length
  return { p50: quantile(sorted, 0.5), p90: quantile(sorted, 0.9), p99: quantile(sorted, 0.99), mean, min: sorted[0] ?? Number.NaN, max: sorted.at(-1) ?? Number.NaN }
}
