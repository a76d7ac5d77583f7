/** `nat matrix --real`: the same pairs between network namespaces of this machine, whose NATs are the kernel's. Pairs one after the other, rows as those of the experiment `nat`. */
import { appendFileSync, existsSync } from 'node:fs'
import { packageVersion } from '../../config/index.ts'
import { readRows } from '../../lab/index.ts'
import type { MatrixNat, Row, SweepPlan } from '../../lab/index.ts'
import { PairLab, whatIsMissing } from '../../lab/real/index.ts'
import { nowMs } from '../clock.ts'
import { CommandError, Exit } from '../exit.ts'
import { rounded } from '../paths.ts'

export interface RealOptions {
  nats: readonly MatrixNat[]
  seeds: number
  search: 'off' | 'on'
  out: string | undefined
  signal: AbortSignal
  onPlan(plan: SweepPlan): void
}

/** Not to be taken for rows of simulated worlds. */
const EXPERIMENT = 'nat-real'

/** Rows that are in the file come first. @throws CommandError where there can be no namespaces; QB_LAB_REAL; the signal's reason */
export async function runReal({ nats, seeds, search, out, signal, onPlan }: RealOptions, onRow: (row: Row) => void): Promise<void> {
  const missing = whatIsMissing()
  if (missing !== null) throw new CommandError('QB_LAB_REAL', Exit.LOCAL, `--real: ${missing}`)
  const axes = { a: [...nats], b: [...nats], loss: [0], search: [search], strategy: ['matrix'] }
  const runs = Array.from({ length: seeds }, (_, index) => nats.flatMap((a) => nats.map((b) => ({ cell: { a, b, loss: 0, search, strategy: 'matrix' }, seed: index + 1 })))).flat()
  const there = out === undefined || !existsSync(out) ? [] : readRows(out).filter(({ experiment, version }) => experiment === EXPERIMENT && version === packageVersion())
  const known = new Map(there.map((row) => [keyOf(row), row]))
  const kept = runs.map((run) => known.get(keyOf(run))).filter((row) => row !== undefined)
  onPlan({ experiment: { name: EXPERIMENT, axes, seeds, columns: {}, quick: { axes: {}, seeds: 1 } }, axes, seeds, runs: runs.length, there: kept.length, workers: 1, server: null })
  for (const row of kept) onRow(row)
  const left = runs.filter((run) => !known.has(keyOf(run)))
  if (left.length === 0) return
  await using lab = await PairLab.open()
  const onAbort = (): void => void lab.close()
  signal.addEventListener('abort', onAbort, { once: true })
  try {
    for (const run of left) {
      signal.throwIfAborted()
      const row = await rowOf(lab, run, search, signal)
      if (out !== undefined) appendFileSync(out, `${JSON.stringify(row)}\n`)
      onRow(row)
    }
  } finally {
    signal.removeEventListener('abort', onAbort)
  }
}

async function rowOf(lab: PairLab, { cell, seed }: { cell: { a: MatrixNat; b: MatrixNat } & Row['cell']; seed: number }, search: 'off' | 'on', signal: AbortSignal): Promise<Row> {
  const started = nowMs()
  const row = { experiment: EXPERIMENT, cell, seed, traceHash: '', virtualMs: 0, version: packageVersion() }
  try {
    const values = await lab.runPair(cell.a, cell.b, { portSearch: search === 'on' })
    return { ...row, ok: true, values: { ...values }, error: null, realMs: rounded(nowMs() - started) }
  } catch (error) {
    signal.throwIfAborted()
    const { code = 'Error', message } = error as { code?: string; message: string }
    return { ...row, ok: false, values: {}, error: { code, message }, realMs: rounded(nowMs() - started) }
  }
}

function keyOf({ cell, seed }: { cell: Row['cell']; seed: number }): string {
  return `${seed} ${String(cell['a'])} ${String(cell['b'])} ${String(cell['search'])}`
}
