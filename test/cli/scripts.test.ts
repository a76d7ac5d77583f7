import { describe, expect, it } from 'vitest'

interface Counts { passed: number; failed: number; skipped: number }
interface CountsModule {
  cargoCounts(text: string): Counts
  countsLine(counts: Counts): string
  oneCheck(code: number): Counts
  sum(list: Counts[]): Counts
  summaryCounts(text: string): Counts
  vitestCounts(report: object): Counts
  withCode(counts: Counts, code: number): Counts
}
interface PreflightModule {
  cargoMissing(answer: string | null): string | null
  nodeMissing(version: string): string | null
}

const script = async <T>(name: string): Promise<T> => (await import(new URL(`../../scripts/lib/${name}.mjs`, import.meta.url).href)) as T

describe('counts of npm test', async () => {
  const { cargoCounts, countsLine, oneCheck, sum, summaryCounts, vitestCounts, withCode } = await script<CountsModule>('counts')

  it('add up all binaries of cargo', () => {
    const text = 'running 2 tests\ntest a ... ok\ntest result: ok. 2 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out\n\ntest result: FAILED. 3 passed; 1 failed; 0 ignored; 0 measured\n'
    expect(cargoCounts(text)).toEqual({ passed: 5, failed: 1, skipped: 1 })
  })

  it('count a test file that cannot be loaded', () => {
    const report = { numPassedTests: 4, numFailedTests: 1, numPendingTests: 2, testResults: [{ status: 'failed', assertionResults: [] }, { status: 'failed', assertionResults: [{ status: 'failed' }] }] }
    expect(vitestCounts(report)).toEqual({ passed: 4, failed: 2, skipped: 2 })
  })

  it('find the summary of peers among other lines', () => {
    expect(summaryCounts('row a pass\n{"passed":3,"failed":0,"skipped":2}\n\n')).toEqual({ passed: 3, failed: 0, skipped: 2 })
    expect(summaryCounts('nothing')).toEqual({ passed: 0, failed: 0, skipped: 0 })
  })

  it('never call a failed run a success', () => {
    expect(withCode({ passed: 3, failed: 0, skipped: 0 }, 101).failed).toBe(1)
    expect(withCode({ passed: 3, failed: 2, skipped: 0 }, 101).failed).toBe(2)
    expect(sum([oneCheck(0), oneCheck(1)])).toEqual({ passed: 1, failed: 1, skipped: 0 })
  })

  it('are one line', () => {
    expect(countsLine({ passed: 12, failed: 0, skipped: 0 })).toBe('12 passed, 0 failed')
    expect(countsLine({ passed: 12, failed: 1, skipped: 3 })).toBe('12 passed, 1 failed, 3 skipped')
  })
})

describe('preflight', async () => {
  const { cargoMissing, nodeMissing } = await script<PreflightModule>('preflight')

  it('says in one line what to install', () => {
    expect(nodeMissing('20.19.0')).toBeNull()
    expect(nodeMissing('18.20.1')).toContain('Node 20.19 or newer')
    expect(cargoMissing('cargo 1.95.0 (f2d3ce0bd 2026-03-21)')).toBeNull()
    expect(cargoMissing('cargo 1.70.0')).toContain('rustup')
    expect(cargoMissing(null)).toContain('rustup.rs')
  })
})
