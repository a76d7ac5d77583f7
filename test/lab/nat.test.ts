/** Pairs of NATs: the reference table, cells and measures out of rows, the report. No threads and no native module. */
import { describe, expect, it } from 'vitest'
import { builtIn } from '../../src/lab/experiments/index.ts'
import { factsOf, runsOf } from '../../src/lab/experiment.ts'
import type { Row } from '../../src/lab/experiment.ts'
import { isReached, MATRIX_NATS, natMatrix, natReport } from '../../src/lab/index.ts'
import { natOptions } from '../../src/lab/experiments/nat-kinds.ts'

const pairs = MATRIX_NATS.flatMap((a) => MATRIX_NATS.map((b) => [a, b] as const))

/** What happens in a network that keeps to the table. */
function row(a: string, b: string, seed: number, values: Row['values'] = {}, ok = true): Row {
  const direct = isReached(a as never, b as never)
  const relayRttMs = 100 + seed
  return {
    experiment: 'nat', cell: { a, b, loss: 0, search: 'off', strategy: 'matrix' }, seed, ok, error: ok ? null : { code: 'Error', message: '5 of 6 bytes <came> back' }, traceHash: '', virtualMs: 1000, realMs: 1, version: '0',
    values: ok ? { direct, directMs: direct ? 2.5 * relayRttMs : null, firstByteMs: 2 * relayRttMs, relayRttMs, directRttMs: 60, plainFirstByteMs: a === 'none' && b === 'none' ? 120 : null, probes: seed, rounds: 1, winner: direct ? (seed % 3 === 0 ? 'server' : 'client') : null, pauseMs: 0, ...values } : {},
  }
}

const rows = (): Row[] => [1, 2, 3, 4].flatMap((seed) => pairs.map(([a, b]) => row(a, b, seed)))

describe('the reference table', () => {
  it('has 45 of 64 pairs that meet: 41 by opening at the same time, two by ordering, two by a foretold port', () => {
    const met = pairs.filter(([a, b]) => isReached(a, b))
    expect(met).toHaveLength(45)
    const added = met.filter(([a, b]) => [a, b].includes('port-restricted') && ([a, b].includes('linux') || [a, b].includes('apdm-apdf-sequential')))
    expect(added).toEqual([['port-restricted', 'linux'], ['port-restricted', 'apdm-apdf-sequential'], ['linux', 'port-restricted'], ['apdm-apdf-sequential', 'port-restricted']])
    expect(pairs.every(([a, b]) => isReached(a, b) === isReached(b, a))).toBe(true)
  })

  it('gains by a search of ports every pair of which one end keeps its port', () => {
    const gained = pairs.filter(([a, b]) => isReached(a, b, 'on') && !isReached(a, b))
    expect(gained).toHaveLength(10)
    expect(gained.every(([a, b]) => ['port-restricted', 'linux'].some((kind) => kind === a || kind === b))).toBe(true)
    expect(isReached('symmetric', 'symmetric', 'on')).toBe(false)
  })

  it('knows the kinds in the words of RFC 4787', () => {
    expect(natOptions('none')).toBeNull()
    expect(natOptions('symmetric')).toEqual({ mapping: 'address-port', filtering: 'address-port', ports: 'random' })
    expect(natOptions('apdm-apdf-sequential')).toMatchObject({ ports: 'sequential' })
  })
})

describe('the experiment nat', () => {
  it('is told losses, search and strategy besides its axes', () => {
    const facts = factsOf(builtIn('nat', new URLSearchParams('loss=0,2.5&search=on&strategy=/tmp/own.mjs')))
    expect(facts.axes).toMatchObject({ a: MATRIX_NATS, b: MATRIX_NATS, loss: [0, 2.5], search: ['on'], strategy: ['/tmp/own.mjs'] })
    expect(runsOf({ axes: facts.axes, seeds: 2 })).toHaveLength(64 * 2 * 2)
    expect(factsOf(builtIn('nat')).axes).toMatchObject({ search: ['off', 'on'], strategy: ['matrix'] })
  })

  it('imports no strategy that a queue names', () => {
    const cell = { a: 'none', b: 'none', loss: 0, search: 'off', strategy: '/tmp/foreign.mjs' }
    expect(() => builtIn('nat')?.run(cell, {} as never)).toThrow('there is no strategy /tmp/foreign.mjs here')
  })
})

describe('the matrix of rows', () => {
  it('has shares, quantiles, probes and winners of every cell', () => {
    const { cells } = natMatrix(rows())
    expect(cells).toHaveLength(64)
    expect(cells[0]).toEqual({ a: 'none', b: 'none', loss: 0, runs: 4, failed: 0, direct: 1, msP50: 255, msP95: 260, probes: 2.5, winner: 'client', verdict: 'direct', expected: 'direct' })
    expect(cells.find(({ a, b }) => a === 'symmetric' && b === 'symmetric')).toMatchObject({ direct: 0, msP50: null, msP95: null, winner: null, verdict: 'relayed', expected: 'relayed' })
  })

  it('counts cells that are direct and those that should be', () => {
    expect(natMatrix(rows())).toMatchObject({ reached: 45, expected: 45, runs: 256, failed: 0, probes: { mean: 2.5, max: 4 } })
    const missed = natMatrix(rows().map((one) => (one.cell['a'] === 'linux' && one.cell['b'] === 'linux' && one.seed > 2 ? row('linux', 'linux', one.seed, { direct: false, directMs: null }) : one)))
    expect(missed).toMatchObject({ reached: 44, expected: 45 })
    expect(missed.cells.filter(({ verdict }) => verdict === 'mixed')).toMatchObject([{ a: 'linux', b: 'linux', direct: 0.5 }])
  })

  it('holds the time to the direct path of cones against two round trips over the relay and 150 ms', () => {
    expect(natMatrix(rows()).cones).toEqual({ runs: 36, msP50: 255, limitMs: 354 })
    expect(natMatrix([row('none', 'none', 1)]).cones).toBeNull()
  })

  it('compares the first byte over the relay with that of a server that can be dialled, in the same worlds', () => {
    expect(natMatrix(rows()).firstByte).toEqual({ relayedMsP50: 204, relayRttMsP50: 102, directMsP50: 120, directRttMsP50: 60 })
    expect(natMatrix([row('linux', 'none', 1)]).firstByte).toEqual({ relayedMsP50: 202, relayRttMsP50: 101, directMsP50: null, directRttMsP50: null })
  })

  it('takes nothing from runs that failed', () => {
    const { cells, failed } = natMatrix([row('none', 'none', 1), row('none', 'none', 2, {}, false)])
    expect(failed).toBe(1)
    expect(cells).toMatchObject([{ runs: 1, failed: 1, direct: 1, msP50: 252.5 }])
    expect(natMatrix([row('none', 'none', 1, {}, false)]).cells).toMatchObject([{ runs: 0, direct: 0, msP50: null, verdict: 'relayed' }])
    expect(natMatrix([])).toMatchObject({ cells: [], reached: 0, expected: 0, cones: null, firstByte: null, probes: { mean: 0, max: 0 } })
  })
})

describe('the report', () => {
  it('is one file with the map, the measures and a line for every cell', () => {
    const html = natReport(rows())
    expect(html.match(/<td class="(?:yes|no|some)/g)).toHaveLength(64)
    expect(html).toContain('45 of 64')
    expect(html).not.toMatch(/(?:src|href)=/)
    expect(html.match(/<tr><td>/g)).toHaveLength(64)
  })

  it('marks what is not as the table says, and shows what failed as text', () => {
    const html = natReport([row('none', 'none', 1, { direct: false, directMs: null }), row('none', 'linux', 1, {}, false)])
    expect(html.match(/<td class="no odd"/g)).toHaveLength(2)
    expect(html).toContain('not as the reference table says')
    expect(html).not.toContain('<came>')
  })
})
