import { mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import type { Connection } from '../../src/connection/index.ts'
import { qlogSink } from '../../src/endpoint/qlog.ts'

/** The disk is asked by other threads: how many turns an answer takes is not ours to say. */
const written = (check: () => boolean): Promise<void> => vi.waitFor(() => expect(check()).toBe(true), { timeout: 10_000, interval: 1 })

const record = (text: string): string => `\u001e{"name":"${text}"}\n`
const connection = (id: string): Connection => ({ id }) as Connection

let folder: string
let warnings: string[]
const logger = { warn: (message: string): void => void warnings.push(message) }

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'qlog-'))
  warnings = []
})
afterEach(() => rmSync(folder, { recursive: true, force: true }))

describe('a folder', () => {
  it('gets one file per connection', async () => {
    const inner = join(folder, 'a', 'b')
    const sink = qlogSink(inner, logger)
    sink.write(1, `ab_client\n${record('one')}`, 'open')
    sink.write(2, `cd_client\n${record('other')}`, 'open')
    sink.write(1, `ab_client\n${record('two')}${record('three')}`, 'last')
    sink.close()
    const read = (name: string): string => readFileSync(join(inner, name), 'utf8')
    await written(() => readdirSync(inner).length === 2 && read('ab_client.sqlog').includes('three') && read('cd_client.sqlog') !== '')
    expect(read('ab_client.sqlog')).toBe(record('one') + record('two') + record('three'))
    expect(read('cd_client.sqlog')).toBe(record('other'))
    expect(warnings).toEqual([])
  })

  it('is not made before there is something to log', () => {
    const inner = join(folder, 'none')
    qlogSink(inner, logger).close()
    expect(readdirSync(folder)).toEqual([])
  })

  // attacks I13
  it('that cannot be made ends logging with one warning', () => {
    writeFileSync(join(folder, 'file'), '')
    const sink = qlogSink(join(folder, 'file', 'logs'), logger)
    for (const end of ['open', 'open', 'last'] as const) sink.write(1, `ab_client\n${record('x')}`, end)
    sink.close()
    expect(warnings).toEqual(['qlog failed and is off'])
  })

  // attacks I13
  it('attack I13: that goes away or fills up ends logging with one warning', async () => {
    const inner = join(folder, 'inner')
    const sink = qlogSink(inner, logger)
    sink.write(1, `ab_client\n${record('x')}`, 'last')
    await written(() => readdirSync(inner).length === 1)
    rmSync(inner, { recursive: true })
    sink.write(2, `cd_client\n${record('x')}`, 'open')
    await written(() => warnings.length > 0)
    sink.write(2, `cd_client\n${record('y')}`, 'last')
    sink.close()
    expect(warnings).toEqual(['qlog failed and is off'])
  })

  // attacks I13
  it('attack I13: on a full disk ends logging with one warning', async () => {
    symlinkSync('/dev/full', join(folder, 'ab_client.sqlog'))
    const sink = qlogSink(folder, logger)
    sink.write(1, `ab_client\n${record('x')}`, 'open')
    await written(() => warnings.length > 0)
    sink.close()
    expect(warnings).toEqual(['qlog failed and is off'])
  })
})

describe('a function', () => {
  it('gets each record with its connection, the last ones too', () => {
    const seen: [string, string][] = []
    const sink = qlogSink((text, of) => void seen.push([text, (of as Connection).id]), logger)
    sink.add(1, connection('one'))
    sink.write(1, `ab_client\n${record('a')}${record('b')}`, 'open')
    sink.write(0, `ab_client\n${record('c')}`, 'last')
    sink.write(0, `ee_server\n${record('refused')}`, 'last')
    expect(seen).toEqual([[record('a'), 'one'], [record('b'), 'one'], [record('c'), 'one']])
  })

  it('that throws is called again', () => {
    const seen: string[] = []
    const sink = qlogSink((text) => {
      seen.push(text)
      throw new Error('no')
    }, logger)
    sink.add(1, connection('one'))
    sink.write(1, `ab_client\n${record('a')}${record('b')}`, 'open')
    expect(seen.length).toBe(2)
    expect(warnings.length).toBe(2)
  })
})
