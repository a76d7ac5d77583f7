import { mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { keylogSink } from '../../src/endpoint/keylog.ts'

let folder: string
let warnings: { message: string; facts: Record<string, unknown> }[]
const logger = { warn: (message: string, facts: object): void => void warnings.push({ message, facts: facts as Record<string, unknown> }) }

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'keylog-'))
  warnings = []
})
afterEach(() => {
  vi.unstubAllEnvs()
  rmSync(folder, { recursive: true, force: true })
})

const soon = (check: () => void): Promise<void> => vi.waitFor(check, { timeout: 10_000, interval: 2 })

describe('the key log', () => {
  it('adds lines to a file that only its owner reads', async () => {
    const file = join(folder, 'keys.txt')
    for (const line of ['one', 'two']) {
      const sink = keylogSink(file, logger)
      sink.write(line)
      sink.close()
      await soon(() => expect(readFileSync(file, 'utf8')).toContain(line))
    }
    expect(readFileSync(file, 'utf8')).toBe('one\ntwo\n')
    expect(statSync(file).mode & 0o077).toBe(0)
    expect(warnings).toEqual([])
  })

  it('goes where SSLKEYLOGFILE says, and nowhere without it', async () => {
    const file = join(folder, 'env.txt')
    vi.stubEnv('SSLKEYLOGFILE', file)
    const sink = keylogSink('env', logger)
    sink.write('line')
    sink.close()
    await soon(() => expect(readFileSync(file, 'utf8')).toBe('line\n'))
    vi.stubEnv('SSLKEYLOGFILE', '')
    keylogSink('env', logger).write('line')
    expect(warnings).toEqual([])
  })

  it('is given to a function line by line; one that throws is told of and called again', () => {
    const seen: string[] = []
    const sink = keylogSink((line) => {
      seen.push(line)
      throw new Error('no')
    }, logger)
    sink.write('one')
    sink.write('two')
    sink.close()
    expect(seen).toEqual(['one', 'two'])
    expect(warnings.map(({ facts }) => facts['field'])).toEqual(['keylog', 'keylog'])
  })

  // attacks I13
  it.each(['/dev/full', join('/dev/null', 'keys.txt')])('attack I13: that cannot be written (%s) is off after one warning that names option and file', async (file) => {
    const sink = keylogSink(file, logger)
    sink.write('line')
    await soon(() => expect(warnings).toHaveLength(1))
    for (let line = 0; line < 100; line++) sink.write('line')
    sink.close()
    expect(warnings).toMatchObject([{ message: 'the key log failed and is off', facts: { field: 'keylog', value: file, error: { code: expect.stringMatching(/^E/) as never } } }])
  })
})
