/** Sweeps on worker threads, over the built package. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, describe, expect, it } from 'vitest'
import type * as Lab from '../../src/lab/index.ts'
import type { Row, SweepOptions, SweepPlan } from '../../src/lab/index.ts'
import { BUILT } from '../native/built.ts'

const PATIENCE_MS = 120_000
const EXAMPLE = fileURLToPath(new URL('example.mjs', import.meta.url))
const DOOR = fileURLToPath(new URL('../../dist/lab.mjs', import.meta.url))
const folder = mkdtempSync(join(tmpdir(), 'quicbraid-lab-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

async function rowsOf(options: SweepOptions): Promise<Row[]> {
  const { sweep$ } = (await import(DOOR)) as typeof Lab
  const rows: Row[] = []
  await new Promise<void>((resolve, reject) => void sweep$(options).subscribe({ next: (row) => rows.push(row), error: reject, complete: resolve }))
  return rows
}

/** What a run made, by run. */
const made = (rows: readonly Row[]): object => Object.fromEntries(rows.map(({ cell, seed, traceHash, values }) => [`${JSON.stringify(cell)} ${seed}`, [traceHash, values]]).sort())

describe.skipIf(!BUILT)('a sweep', () => {
  it('gives every run the same datagrams on one thread and on three', { timeout: PATIENCE_MS }, async () => {
    const part = { module: EXAMPLE, axes: { fails: ['no'] } }
    const [one, three] = [await rowsOf({ ...part, workers: 1 }), await rowsOf({ ...part, workers: 3 })]
    expect(one).toHaveLength(8)
    expect(one.every(({ ok, traceHash }) => ok && /^[0-9a-f]{64}$/.test(traceHash))).toBe(true)
    expect(new Set(one.map(({ traceHash }) => traceHash)).size).toBeGreaterThan(6)
    expect(made(three)).toEqual(made(one))
  })

  it('gives the built-in handshakes the same datagrams on one thread and on three', { timeout: PATIENCE_MS }, async () => {
    const part = { module: 'builtin:handshake', quick: true, seeds: 1, axes: { loss: [5], rttRatio: [4], certificate: ['large'] } }
    const [one, three] = [await rowsOf({ ...part, workers: 1 }), await rowsOf({ ...part, workers: 3 })]
    expect(one).toHaveLength(10)
    expect(one.filter(({ ok }) => !ok)).toEqual([])
    expect(made(three)).toEqual(made(one))
  })

  it('makes a row of every failure and goes on, even when the thread dies', { timeout: PATIENCE_MS }, async () => {
    const rows = await rowsOf({ module: EXAMPLE, axes: { delayMs: [5], loss: [0] }, workers: 2 })
    const errors = Object.fromEntries(rows.filter(({ seed }) => seed === 2).map(({ cell, error }) => [cell['fails'], error?.code ?? null]))
    expect(errors).toEqual({ no: null, throws: 'RangeError', stray: 'Error', stuck: 'QB_SIM_STUCK', dies: 'QB_LAB_WORKER' })
    expect(rows).toHaveLength(10)
  })

  it('does not run again what the file has, and tells it first', { timeout: PATIENCE_MS }, async () => {
    const out = join(folder, 'rows.jsonl')
    const options = { module: EXAMPLE, axes: { fails: ['no', 'throws'] }, workers: 2, out }
    const first = await rowsOf({ ...options, seeds: 1 })
    expect(readFileSync(out, 'utf8').trimEnd().split('\n')).toHaveLength(8)
    let plan: SweepPlan | null = null
    const both = await rowsOf({ ...options, seeds: 2, onPlan: (told) => { plan = told } })
    expect(plan).toMatchObject({ runs: 16, there: 8 })
    expect(both.slice(0, 8)).toEqual(first)
    expect(both).toHaveLength(16)
    expect(readFileSync(out, 'utf8').trimEnd().split('\n')).toHaveLength(16)
  })

  it('ends with the reason of its signal, and the file has the rows so far', { timeout: PATIENCE_MS }, async () => {
    const out = join(folder, 'aborted.jsonl')
    const { sweep$ } = (await import(DOOR)) as typeof Lab
    const over = new AbortController()
    let rows = 0
    const error = await new Promise((resolve) => void sweep$({ module: EXAMPLE, axes: { fails: ['no'] }, seeds: 1000, workers: 2, out, signal: over.signal }).subscribe({
      next: () => { if ((rows += 1) === 5) over.abort('enough') }, error: resolve, complete: () => resolve('complete'),
    }))
    expect(error).toBe('enough')
    expect(readFileSync(out, 'utf8').trimEnd().split('\n')).toHaveLength(rows)
  })

  it('runs a TypeScript file', { timeout: PATIENCE_MS }, async () => {
    const module = join(folder, 'mine.ts')
    writeFileSync(join(folder, 'axes.ts'), 'export type Cell = { a: number }\nexport const axes: Record<keyof Cell, number[]> = { a: [1, 2] }\n')
    writeFileSync(module, `import { axes, type Cell } from './axes.ts'\nexport const experiment = { name: 'mine', axes, columns: { b: '' }, run: async (cell: Cell): Promise<{ b: number }> => ({ b: cell.a * 2 }) }\n`)
    expect((await rowsOf({ module, seeds: 1, workers: 1 })).map(({ values }) => values)).toEqual([{ b: 2 }, { b: 4 }])
  })

  it('names what is wrong with a file before anything runs', { timeout: PATIENCE_MS }, async () => {
    const broken = join(folder, 'broken.mjs')
    writeFileSync(broken, 'export const a = 1\nthrow new Error("here")\n')
    await expect(rowsOf({ module: broken })).rejects.toMatchObject({ code: 'QB_LAB_MODULE', message: expect.stringMatching(/broken\.mjs.*here \(line 2\)/) })
    writeFileSync(join(folder, 'empty.mjs'), 'export const a = 1\n')
    await expect(rowsOf({ module: join(folder, 'empty.mjs') })).rejects.toMatchObject({ code: 'QB_LAB_MODULE', message: expect.stringContaining('exports no') })
    await expect(rowsOf({ module: 'builtin:nothing' })).rejects.toMatchObject({ code: 'QB_LAB_MODULE', message: expect.stringContaining('handshake') })
  })

  it('refuses wrong options', async () => {
    await expect(rowsOf({ module: EXAMPLE, workers: 0 })).rejects.toMatchObject({ code: 'QB_OPTION_INVALID', field: 'workers' })
    await expect(rowsOf({ module: EXAMPLE, workers: 'redis://localhost/name' })).rejects.toMatchObject({ code: 'QB_OPTION_INVALID', field: 'workers' })
    await expect(rowsOf({ module: EXAMPLE, axes: { loss: [7] } })).rejects.toMatchObject({ code: 'QB_OPTION_INVALID', field: 'axes.loss' })
  })
})
