/** What an experiment is, cells, rows of a file, quantiles. No threads and no native module. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import { cross, defineExperiment, factsOf, narrowed, runKey, runsOf } from '../../src/lab/experiment.ts'
import type { Row } from '../../src/lab/experiment.ts'
import { BUILT_IN, builtIn } from '../../src/lab/experiments/index.ts'
import { readRows, Store } from '../../src/lab/store.ts'
import { MODULE_BUILT } from '../native/built.ts'
import { summarize } from '../../src/lab/summarize.ts'

const folder = mkdtempSync(join(tmpdir(), 'quicbraid-lab-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

const whole = { name: 'x', axes: { loss: [0, 5], mode: ['a', 'b', null] }, columns: { ms: 'ms' }, quick: { axes: { loss: [0] }, seeds: 2 }, run: async () => ({ ms: 1 }) }

const row = (cell: Row['cell'], seed: number, values: Row['values'], ok = true): Row => (
  { experiment: 'x', cell, seed, ok, values, error: ok ? null : { code: 'Error', message: 'no' }, traceHash: '', virtualMs: 1, realMs: 1, version: '0' })

describe('an experiment', () => {
  it('is answered as it was given, with defaults in its facts', () => {
    expect(defineExperiment(whole)).toBe(whole)
    expect(factsOf(whole)).toMatchObject({ name: 'x', seeds: 20, quick: { seeds: 2 } })
  })

  it('is refused with what is wrong about it', () => {
    for (const [wrong, words] of [[{ name: '' }, 'name'], [{ axes: { loss: [] } }, 'axes.loss'], [{ axes: { loss: [{}] } }, 'axes.loss'], [{ run: 5 }, 'run'], [{ seeds: 0 }, 'seeds'], [{ columns: ['ms'] }, 'columns'], [{ quick: { axes: { more: [1] } } }, 'more']] as const) {
      expect(() => factsOf({ ...whole, ...wrong })).toThrow(words)
    }
    expect(() => factsOf(null)).toThrow('no object')
  })

  it('crosses its axes, the last one fastest, and runs seed by seed', () => {
    const { axes, seeds } = narrowed(factsOf(whole), {})
    expect(cross(axes).map((cell) => Object.values(cell))).toEqual([[0, 'a'], [0, 'b'], [0, null], [5, 'a'], [5, 'b'], [5, null]])
    const runs = runsOf({ axes, seeds })
    expect(runs).toHaveLength(120)
    expect(runs.slice(0, 7).map(({ seed }) => seed)).toEqual([1, 1, 1, 1, 1, 1, 2])
  })

  it('is narrowed by values as text, and a quick look can be widened by them', () => {
    const facts = factsOf(whole)
    expect(narrowed(facts, { axes: { mode: ['null', 'a'] } }).axes).toEqual({ loss: [0, 5], mode: ['a', null] })
    expect(narrowed(facts, { quick: true })).toEqual({ axes: { loss: [0], mode: ['a', 'b', null] }, seeds: 2 })
    expect(narrowed(facts, { quick: true, seeds: 7, axes: { loss: ['5'] } })).toMatchObject({ axes: { loss: [5] }, seeds: 7 })
    expect(() => narrowed(facts, { axes: { lost: ['5'] } })).toThrow('loss, mode')
    expect(() => narrowed(facts, { axes: { loss: ['6'] } })).toThrow('0, 5')
  })

  it('is refused when it has more runs than anybody waits for', () => {
    const many = Array.from({ length: 400 }, (_, index) => index)
    expect(() => runsOf({ axes: { a: many, b: many, c: many }, seeds: 1 })).toThrow('narrow')
  })

  it('knows a run by its cell whatever the order of the axes', () => {
    expect(runKey({ a: 1, b: 2 }, 3)).toBe(runKey({ b: 2, a: 1 }, 3))
    expect(runKey({ a: 1, b: 2 }, 3)).not.toBe(runKey({ a: '1', b: 2 }, 3))
  })

  it.skipIf(!MODULE_BUILT)('is well formed if it is one of ours', () => {
    for (const name of BUILT_IN) expect(factsOf(builtIn(name)).name).toBe(name)
  })
})

describe('a summary', () => {
  it('has nearest-rank quantiles of each cell, without failed runs and missing values', () => {
    const rows = [...Array.from({ length: 100 }, (_, index) => row({ loss: 0 }, index, { ms: 100 - index, won: index < 25, word: 'x' })), row({ loss: 0 }, 101, {}, false), row({ loss: 5 }, 1, { ms: null })]
    expect(summarize(rows)).toEqual([
      { cell: { loss: 0 }, runs: 101, failed: 1, columns: { ms: { p50: 50, p90: 90, p99: 99, mean: 50.5, min: 1, max: 100 }, won: { p50: 0, p90: 1, p99: 1, mean: 0.25, min: 0, max: 1 } } },
      { cell: { loss: 5 }, runs: 1, failed: 0, columns: {} },
    ])
    expect(summarize([])).toEqual([])
  })
})

describe('a file of rows', () => {
  it('keeps what is there and cuts off the line that an interruption left', () => {
    const file = join(folder, 'rows.jsonl')
    const store = new Store(file)
    store.append(row({ word: 'ä' }, 1, { ms: 2 }))
    store.close()
    writeFileSync(file, `${readFileSync(file, 'utf8')}not a row\n{"experiment":"x","ce`)
    const again = new Store(file)
    expect(again.rows).toEqual([row({ word: 'ä' }, 1, { ms: 2 })])
    again.append(row({ word: 'ä' }, 2, { ms: 3 }))
    again.close()
    expect(readRows(file).map(({ seed }) => seed)).toEqual([1, 2])
    expect(readFileSync(file, 'utf8').split('\n')[1]).toBe('not a row')
  })
})
