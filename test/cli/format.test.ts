import { describe, expect, it } from 'vitest'
import { fit, formatBar, formatBytes, formatCount, formatMs, formatRate, formatShare, formatTable } from '../../src/cli/format.ts'

const RED = '\u001B[31m'
const PLAIN = '\u001B[39m'

describe('numbers', () => {
  it('have three digits and a unit', () => {
    expect([0, 999, 1024, 1536, 268_435_456, 1.5 * 2 ** 40].map(formatBytes)).toEqual(['0 B', '999 B', '1 KiB', '1.5 KiB', '256 MiB', '1.5 TiB'])
    expect([0, 999, 250e6, 1.234e9].map(formatRate)).toEqual(['0 bit/s', '999 bit/s', '250 Mbit/s', '1.23 Gbit/s'])
    expect([0.4213, 12.34, 999, 4200, 90_000, Infinity].map(formatMs)).toEqual(['0.421 ms', '12.3 ms', '999 ms', '4.2 s', '1 min 30 s', '-'])
    expect([0, 999, 1234, 1_234_567].map(formatCount)).toEqual(['0', '999', '1,234', '1,234,567'])
    expect([0, 0.4, 1].map(formatShare)).toEqual(['0 %', '40 %', '100 %'])
  })
})

describe('tables', () => {
  it('stand numbers right and words left, without trailing blanks', () => {
    expect(formatTable([['path', 'local', 'sent'], ['0', '127.0.0.1:1', '10 MiB'], ['1', 'x', '999 B']])).toEqual([
      'path  local          sent',
      '   0  127.0.0.1:1  10 MiB',
      '   1  x             999 B',
    ])
  })
})

describe('bars', () => {
  it('fill from empty to full and never beyond', () => {
    expect(formatBar(0, 4)).toBe('    ')
    expect(formatBar(0.5, 4)).toBe('██  ')
    expect(formatBar(1, 4)).toBe('████')
    expect(formatBar(7, 4)).toBe('████')
    for (let share = 0; share <= 1; share += 0.01) expect(formatBar(share, 10)).toHaveLength(10)
  })
})

describe('lines', () => {
  it('are cut where the terminal ends, and colours take no room', () => {
    expect(fit('abcdef', 10)).toBe('abcdef')
    expect(fit('abcdef', 4)).toBe('abc…')
    expect(fit(`${RED}abcdef${PLAIN}`, 6)).toBe(`${RED}abcdef${PLAIN}`)
    expect(fit(`${RED}abcdef${PLAIN}ghi`, 4)).toBe(`${RED}abc…${PLAIN}`)
  })
})
