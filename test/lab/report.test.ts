/** The HTML report: whole, without outside references, nothing of the rows taken for markup. */
import { describe, expect, it } from 'vitest'
import type { Row } from '../../src/lab/index.ts'
import { report } from '../../src/lab/report.ts'

const rows: Row[] = ['a', '<b>"&'].flatMap((mode) => [0, 5, 20].flatMap((loss) => [1, 2, 3].map((seed): Row => ({
  experiment: 'x', cell: { mode, loss, fixed: 7 }, seed, ok: !(loss === 20 && seed === 3), values: loss === 20 && seed === 3 ? {} : { ms: seed * (loss + 1) * 10, won: seed === 1, same: 4, word: 'w' },
  error: loss === 20 && seed === 3 ? { code: 'QB_X', message: '<script>alert(1)</script>' } : null, traceHash: '', virtualMs: 1000, realMs: 1, version: '0.1.0',
}))))

/** Every tag that is opened is closed, in order. */
function unbalanced(html: string): string[] {
  const open: string[] = []
  for (const [tag, end, name = '', own] of html.matchAll(/<(\/?)([a-z][a-z0-9]*)[^>]*?(\/?)>/g)) {
    if (own === '/' || name === 'meta') continue
    if (end === '') open.push(name)
    else if (open.pop() !== name) return [tag]
  }
  return open
}

describe('a report', () => {
  const html = report(rows, { title: 'A & B' })

  it('is one well-formed file that refers to nothing outside', () => {
    expect(html).toMatch(/^<!doctype html>/)
    expect(unbalanced(html)).toEqual([])
    expect(html).not.toMatch(/https?:|src=|href=|url\(|@import|<script/)
    expect(html).toContain('prefers-color-scheme:dark')
  })

  it('takes nothing of the rows for markup', () => {
    expect(html).not.toContain('<b>"')
    expect(html).toContain('&#60;b&#62;&#34;&#38;')
    expect(html).toContain('&#60;script&#62;')
    expect(html).toContain('A &#38; B')
  })

  it('has curves in a panel for each value of the second axis, a heat map, all cells and the failures', () => {
    expect([...html.matchAll(/<svg/g)]).toHaveLength(3)
    expect([...html.matchAll(/class="curve/g)]).toHaveLength(6)
    expect(html).toContain('P50 by mode and loss')
    expect(html).toContain('Mean by mode and loss')
    expect(html).not.toContain('<h2>same</h2>')
    expect(html).toContain('fixed 7')
    expect(html).toContain('Failed runs')
  })

  it('can be of a single cell, of rows that all failed, and of none', () => {
    for (const some of [rows.slice(0, 3), rows.filter(({ ok }) => !ok), []]) expect(unbalanced(report(some))).toEqual([])
  })

  it('is of all cells in a size that a browser opens, however many seeds there are', () => {
    const many = Array.from({ length: 20_000 }, (_, index): Row => ({ ...(rows[0] as Row), cell: { mode: index % 2, loss: index % 3 }, seed: index, values: { ms: index } }))
    expect(report(many).length).toBeLessThan(100_000)
  })
})
