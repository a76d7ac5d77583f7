import { describe, expect, it } from 'vitest'
import { parseCount, parseLocal, parsePath, parseRate, parseShare, parseSize, parseTime, parseUrl } from '../../src/cli/parse.ts'

const usage = expect.objectContaining({ code: 'QB_OPTION_INVALID', exit: 1 })

describe('sizes, times, rates, shares', () => {
  it('reads what the help shows', () => {
    const cases: [(text: string) => number, string, number][] = [
      [parseSize, '1500', 1500], [parseSize, '64KiB', 65_536], [parseSize, '10MB', 10e6], [parseSize, '256mib', 268_435_456], [parseSize, '1.5 GiB', 1_610_612_736],
      [parseTime, '250ms', 250], [parseTime, '5s', 5000], [parseTime, '2m', 120_000], [parseTime, '0', 0], [parseTime, '1.5s', 1500],
      [parseRate, '20mbit', 20e6], [parseRate, '1gbit', 1e9], [parseRate, '500kbit', 500e3],
      [parseShare, '40%', 0.4], [parseShare, '40', 0.4], [parseShare, '0', 0], [parseShare, '100 %', 1],
    ]
    for (const [parse, text, value] of cases) expect(parse(text), text).toBeCloseTo(value, 9)
  })

  it('refuses what has no unit where one is needed, and nonsense', () => {
    const cases: [(text: string) => number, string][] = [
      [parseSize, ''], [parseSize, '-1'], [parseSize, '10 mbit'], [parseSize, 'x'], [parseTime, '250'], [parseTime, '5 years'], [parseRate, '20'], [parseRate, '20MB'],
      [parseShare, '101%'], [parseShare, '-1'], [parseShare, 'half'],
    ]
    for (const [parse, text] of cases) expect(() => parse(text), text).toThrow(usage)
  })

  it('keeps whole numbers in their range', () => {
    expect(parseCount('8', 1, 64)).toBe(8)
    for (const text of ['0', '65', '1.5', 'x', '']) expect(() => parseCount(text, 1, 64), text).toThrow(usage)
  })
})

describe('--path', () => {
  it('is LOCAL, with a remote and backup if wanted', () => {
    expect(parsePath('192.0.2.7')).toEqual({ local: '192.0.2.7' })
    expect(parsePath('192.0.2.7,backup')).toEqual({ local: '192.0.2.7', status: 'backup' })
    expect(parsePath('192.0.2.7=203.0.113.5:4433,backup')).toEqual({ local: '192.0.2.7', remote: '203.0.113.5:4433', status: 'backup' })
    expect(parsePath('[2001:db8::1]:4=[2001:db8::2]:5')).toEqual({ local: '[2001:db8::1]:4', remote: '[2001:db8::2]:5' })
  })

  it('refuses other words and empty parts', () => {
    for (const text of ['', '=1.2.3.4:5', '1.2.3.4=', '1.2.3.4,standby', '1.2.3.4,backup,backup', 'a=b=c']) expect(() => parsePath(text), text).toThrow(usage)
  })
})

describe('addresses to listen on', () => {
  it('are IPs of this machine, with a port in any case', () => {
    for (const [text, whole] of [['127.0.0.1', '127.0.0.1:4433'], ['127.0.0.1:0', '127.0.0.1:0'], ['0.0.0.0:5000', '0.0.0.0:5000'], ['::1', '[::1]:4433'], ['[::]', '[::]:4433'], ['[::1]:7', '[::1]:7']] as const) expect(parseLocal(text, 4433), text).toBe(whole)
    for (const text of ['', '5000', ':5000', 'localhost:5000', 'host', '1.2.3.4:99999', '[::1', '::1]:5']) expect(() => parseLocal(text, 4433), text).toThrow(usage)
  })
})

describe('URLs', () => {
  it('have port 4433 unless they say another', () => {
    expect(parseUrl('https://example.net/a/b.txt')).toEqual({ url: 'https://example.net/a/b.txt', origin: 'example.net:4433', path: '/a/b.txt', name: 'b.txt' })
    expect(parseUrl('https://example.net:443/x').origin).toBe('example.net:443')
    expect(parseUrl('https://[::1]:5000/x').origin).toBe('[::1]:5000')
    expect(parseUrl('https://127.0.0.1:5000').path).toBe('/')
  })

  it('keep the query in the path and out of the name', () => {
    expect(parseUrl('https://h/a%20b?x=1#frag')).toMatchObject({ path: '/a%20b?x=1', name: 'a b' })
  })

  it('give no name that would leave the folder', () => {
    for (const text of ['https://h/', 'https://h/a/', 'https://h/%2e%2e%2fx', 'https://h/a%2fb', 'https://h/a%5Cb', 'https://h/a%00', 'https://h/%ff']) expect(parseUrl(text).name, text).toBeNull()
  })

  it('refuse other schemes and user names', () => {
    for (const text of ['http://h/x', 'h/x', 'https://user:word@h/x', '']) expect(() => parseUrl(text), text).toThrow(usage)
  })
})
