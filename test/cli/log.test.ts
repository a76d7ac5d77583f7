import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from 'vitest'
import { createLogger } from '../../src/cli/log.ts'
import type { LogValues } from '../../src/cli/log.ts'
import { Terminal } from '../../src/cli/terminal.ts'
import { QuicbraidError } from '../../src/errors/index.ts'

function lines(values: LogValues): string[] {
  let out = ''
  let err = ''
  const logger = createLogger(values, new Terminal({ write: (text: string) => (out += text) }, { write: (text: string) => (err += text) }, {}))
  logger.debug?.('d', {})
  logger.info?.('i', { count: 3n })
  logger.warn?.('w', { remote: 'a\u001b[31mb', token: 'abc', none: undefined })
  logger.error?.('e', { error: new QuicbraidError('QB_INTERNAL', 'broken'), cause: Object.assign(new Error('no'), { code: 'ENOENT' }), big: 2n ** 60n })
  expect(out).toBe('')
  return err.trimEnd().split('\n')
}

describe('the log of the command line', () => {
  it('has warnings and errors; more with -v, errors only with -q', () => {
    expect(lines({})).toEqual(['warning: w (remote: a?[31mb, token: [***])', 'error: e (error: broken, cause: no, big: 1152921504606846976)'])
    expect(lines({ verbose: true }).map((line) => line.slice(0, 7))).toEqual(['debug: ', 'info: i', 'warning', 'error: '])
    expect(lines({ quiet: true })).toHaveLength(1)
  })

  it('is JSON lines with --log json, whatever the facts are', () => {
    const [info, warning, error] = lines({ log: 'json', verbose: true }).slice(1).map((line) => JSON.parse(line) as Record<string, unknown>)
    expect(info).toMatchObject({ level: 'info', message: 'i', count: 3, time: expect.stringMatching(/^\d{4}-\d\d-\d\dT[\d:.]+Z$/) as never })
    expect(warning).toMatchObject({ level: 'warning', message: 'w', token: '[***]' })
    expect(error).toMatchObject({ level: 'error', error: { code: 'QB_INTERNAL', message: 'broken' }, cause: { code: 'ENOENT', message: 'no' }, big: '1152921504606846976' })
  })

  it('leaves out what --insecure has said', () => {
    let err = ''
    createLogger({}, new Terminal({ write: () => undefined }, { write: (text: string) => (err += text) }, {})).warn?.('the server certificate is not verified (verify: none)', {})
    expect(err).toBe('')
  })
})

describe('the library', () => {
  const SRC = fileURLToPath(new URL('../../src', import.meta.url))
  /** A program of its own: the laboratory reads its lines. */
  const PROGRAM = 'lab/real/peer.ts'
  const files = readdirSync(SRC, { recursive: true, encoding: 'utf8' }).filter((name) => name.endsWith('.ts') && !name.startsWith('cli') && name !== PROGRAM)

  it('writes to no stream of the process, and knows no logger', () => {
    expect(files.length).toBeGreaterThan(100)
    const loud = files.filter((name) => /\bconsole\s*\.|process\.(?:stdout|stderr)|from 'tslog'/.test(readFileSync(join(SRC, name), 'utf8').replace(/\/\*[\s\S]*?\*\/|\/\/.*/g, '')))
    expect(loud).toEqual([])
  })
})
