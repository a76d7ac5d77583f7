/** qlog over the native module and loopback: files of both ends, records with their connection. */
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { createDevCertificate, Endpoint } from '../../src/index.ts'
import type { EndpointOptions } from '../../src/index.ts'
import { MODULE_BUILT } from './built.ts'
import { until } from './pair.ts'

interface Event {
  name?: string
  data?: { frames?: unknown[]; new?: string }
  trace?: { common_fields: { group_id: string } }
}

let folder: string
beforeEach(() => void (folder = mkdtempSync(join(tmpdir(), 'qlog-'))))
afterEach(() => rmSync(folder, { recursive: true, force: true }))

/** One connection that carries a request and its answer, from start to end. */
async function exchange(near: EndpointOptions, far: EndpointOptions): Promise<void> {
  const { cert, key } = createDevCertificate()
  const server = await Endpoint.bind({ local: '127.0.0.1:0', server: { alpn: 'test', cert, key }, ...far })
  const client = await Endpoint.bind(near)
  const connection = await client.connect(server.local[0] ?? '', { alpn: 'test', verify: 'none' })
  const [accepted] = server.connections
  await connection.close()
  await accepted?.closed
  await client.close()
  await server.close()
}

const read = (text: string): Event[] => text.split('\u001e').slice(1).map((record) => JSON.parse(record) as Event)

describe.skipIf(!MODULE_BUILT)('qlog', () => {
  it('has a file for each end, of the same group', async () => {
    await exchange({ qlog: folder }, { qlog: folder })
    const ended = (): boolean => readdirSync(folder).length === 2 && readdirSync(folder).every((name) => readFileSync(join(folder, name), 'utf8').includes('connection_closed'))
    await until(ended)
    const names = readdirSync(folder).toSorted()
    const id = names[0]?.split('_')[0] ?? ''
    expect(names).toEqual([`${id}_client.sqlog`, `${id}_server.sqlog`])
    for (const name of names) {
      const [header, ...events] = read(readFileSync(join(folder, name), 'utf8'))
      expect(header?.trace?.common_fields.group_id).toBe(id)
      const told = new Set(events.map((event) => event.name))
      for (const event of ['quic:packet_sent', 'quic:packet_received', 'quic:parameters_set', 'quic:connection_closed']) expect(told).toContain(event)
    }
  })

  // attacks I13
  it('attack I13: that cannot be written leaves the connection alone', async () => {
    const warnings: string[] = []
    await exchange({ qlog: '/dev/null/logs', logger: { warn: (message) => void warnings.push(message) } }, {})
    expect(warnings.filter((message) => message.startsWith('qlog'))).toEqual(['qlog failed and is off'])
  })

  it('calls a function with each record and its connection', async () => {
    const seen = new Map<object, string>()
    await exchange({ qlog: (record, connection) => void seen.set(connection, (seen.get(connection) ?? '') + record) }, {})
    expect(seen.size).toBe(1)
    expect(read([...seen.values()][0] ?? '').length).toBeGreaterThan(20)
  })
})
