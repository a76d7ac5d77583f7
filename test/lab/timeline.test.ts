/** One run over time, over the built package. */
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from 'vitest'
import type * as Lab from '../../src/lab/index.ts'
import type { Row } from '../../src/lab/index.ts'
import { BUILT } from '../native/built.ts'

const DOOR = fileURLToPath(new URL('../../dist/lab.mjs', import.meta.url))
const PATIENCE_MS = 120_000
const CELL = { scheduler: 'min-rtt', rttMs: 20, silentAtMs: 500, path: 'second', direction: 'both' }

describe.skipIf(!BUILT)('a run over time', () => {
  it('is the run of the sweep, with rates of both links, RTTs and windows of both paths', { timeout: PATIENCE_MS }, async () => {
    const { report, sweep$, timeline } = (await import(DOOR)) as typeof Lab
    const rows: Row[] = []
    const axes = Object.fromEntries(Object.entries(CELL).map(([name, value]) => [name, [value]]))
    await new Promise<void>((resolve, reject) => void sweep$({ module: 'builtin:failover', axes, seeds: 1, workers: 1 }).subscribe({ next: (row) => rows.push(row), error: reject, complete: resolve }))
    const made = await timeline({ module: 'builtin:failover', cell: CELL })
    expect(made.traceHash).toBe(rows[0]?.traceHash)
    const between = (link: number, from: number, to: number): number[] => (made.rates[link]?.points ?? []).filter(([ms]) => ms > from && ms < to).map(([, mbit]) => mbit)
    expect(made.rates.map(({ name }) => name)).toEqual(['link 0', 'link 1'])
    expect(Math.min(...between(0, 1000, 5000))).toBeGreaterThan(15)
    expect(Math.min(...between(1, 250, 450))).toBeGreaterThan(15)
    expect(Math.max(...between(1, 800, made.endMs))).toBe(0)
    expect([made.rtts, made.windows].map((list) => list.map(({ name }) => name))).toEqual([['path 0', 'path 1'], ['path 0', 'path 1']])
    expect(made.rtts[0]?.points.every(([ms, rtt], index, all) => rtt >= 20 && ms >= (all[index - 1]?.[0] ?? 0) && ms <= made.endMs)).toBe(true)
    const html = report(rows, { timelines: [made] })
    expect(html.match(/<svg/g)?.length).toBeGreaterThanOrEqual(3)
    expect(html).toContain('silentAtMs 500, path second, direction both, seed 1')
    expect(html).not.toMatch(/NaN|undefined|Infinity/)
  })
})
