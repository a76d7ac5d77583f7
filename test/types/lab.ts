/** Compiled, never run: the laboratory's part of the public contract. A line that stops compiling is a broken promise. */
import { BUILT_IN, defineExperiment, readRows, report, summarize, sweep$ } from '../../src/lab/index.ts'
import type { Experiment, Row, Scalar, Summary, SweepOptions, SweepPlan } from '../../src/lab/index.ts'

export const experiment: Experiment<{ loss: number; mode: 'a' | 'b' }, { ms: number | null }> = defineExperiment<{ loss: number; mode: 'a' | 'b' }, { ms: number | null }>({
  name: 'x', axes: { loss: [0, 5], mode: ['a', 'b'] }, seeds: 3, columns: { ms: 'ms' }, quick: { axes: { loss: [0] }, seeds: 1 },
  run: ({ loss, mode }, world) => world.run(async () => ({ ms: mode === 'a' ? world.nowMs + loss : null })),
})

export function all(signal: AbortSignal, workers: `redis://${string}` | number): SweepOptions {
  const options: SweepOptions = { module: `builtin:${BUILT_IN[0] ?? ''}`, seeds: 1, workers, out: 'rows.jsonl', axes: { loss: ['0'] }, quick: true, signal, onPlan: ({ runs, there }: SweepPlan) => void (runs + there) }
  const rows: Row[] = readRows('rows.jsonl')
  sweep$(options).subscribe(({ experiment, cell, seed, ok, values, error, traceHash, virtualMs, realMs, version }: Row) => {
    const value: Scalar | undefined = values['ms'] ?? cell['loss']
    rows.push({ experiment, cell, seed, ok, values: { value: value ?? null }, error: error === null ? null : { code: error.code, message: error.message }, traceHash, virtualMs, realMs, version })
  })
  const summaries: Summary[] = summarize(rows)
  const text: string = report(rows, { title: `${summaries[0]?.columns['ms']?.p99 ?? 0} of ${summaries[0]?.runs ?? 0}` })
  return text === '' ? { module: text } : options
}
