/** `--metrics` over real HTTP: the server of the command line before endpoints of the fake engine. */
import { once } from 'node:events'
import { request } from 'node:http'
import type { IncomingMessage } from 'node:http'
import { connect, createServer } from 'node:net'
import type { AddressInfo } from 'node:net'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { parseMetricsAddress } from '../../src/cli/metrics/address.ts'
import { EventStream } from '../../src/cli/metrics/events.ts'
import { MetricsServer } from '../../src/cli/metrics/index.ts'
import { merged } from '../../src/cli/metrics/merge.ts'
import { connectedPair, watchContract } from '../fake/pair.ts'
import { parseExposition } from '../endpoint/exposition.ts'

watchContract()

const LIMIT_MS = 60_000
const patiently = (check: () => void): Promise<void> => vi.waitFor(check, { timeout: 30_000, interval: 2 })

let servers: MetricsServer[] = []
afterEach(async () => {
  await Promise.all(servers.splice(0).map((server) => server[Symbol.asyncDispose]()))
})

async function open(text = '0'): Promise<MetricsServer> {
  const server = await MetricsServer.open(parseMetricsAddress(text))
  servers.push(server)
  return server
}

async function ask(url: string, more: { method?: string; host?: string } = {}): Promise<{ status: number; type: string; text: string }> {
  const asking = request(url, { method: more.method ?? 'GET', headers: { connection: 'close', ...(more.host === undefined ? {} : { host: more.host }) } })
  asking.end()
  const [response] = (await once(asking, 'response')) as [IncomingMessage]
  let text = ''
  for await (const chunk of response) text += String(chunk)
  return { status: response.statusCode ?? 0, type: response.headers['content-type'] ?? '', text }
}

/** A reader of events: what it has read, block by block. */
async function reader(url: string): Promise<{ status: number; blocks: () => { event: string; data: Record<string, unknown> }[]; close: () => void; ended: Promise<unknown> }> {
  const asking = request(url)
  asking.on('error', () => undefined)
  asking.end()
  const [response] = (await once(asking, 'response')) as [IncomingMessage]
  let text = ''
  response.on('data', (chunk) => { text += String(chunk) })
  response.on('error', () => undefined)
  const blocks = (): { event: string; data: Record<string, unknown> }[] => text.split('\n\n').slice(0, -1).flatMap((block) => {
    const [, event] = /^event: (.*)$/m.exec(block) ?? []
    const [, data] = /^data: (.*)$/m.exec(block) ?? []
    return event === undefined || data === undefined ? [] : [{ event, data: JSON.parse(data) as Record<string, unknown> }]
  })
  return { status: response.statusCode ?? 0, blocks, close: () => asking.destroy(), ended: new Promise((resolve) => response.once('close', resolve)) }
}

describe('the address of --metrics', () => {
  it('is of this machine, unless another one is named', () => {
    for (const [text, host, port] of [['9100', '127.0.0.1', 9100], [':9100', '127.0.0.1', 9100], ['localhost:1', '127.0.0.1', 1], ['127.0.0.2:0', '127.0.0.2', 0], ['[::1]:9100', '::1', 9100]] as const) {
      expect(parseMetricsAddress(text), text).toEqual({ host, port, reach: 'loopback' })
    }
    expect(parseMetricsAddress('0.0.0.0:9100')).toEqual({ host: '0.0.0.0', port: 9100, reach: 'network' })
    for (const text of ['', 'x', '127.0.0.1', '127.0.0.1:', '1.2.3:80', '65536', '::1:80', 'example.net:80', '-1']) expect(() => parseMetricsAddress(text), text).toThrow(/--metrics '.*' is not an address; write \[HOST:\]PORT/)
  })
})

describe('the server of --metrics', () => {
  it('answers with the numbers, its health, and what else there is', { timeout: LIMIT_MS }, async () => {
    const server = await open()
    expect(await ask(`${server.url}/metrics`)).toMatchObject({ status: 503, text: 'starting\n' })
    const pair = await connectedPair()
    server.watch(pair.server)
    const metrics = await ask(`${server.url}/metrics?x=1`)
    expect(metrics).toMatchObject({ status: 200, type: 'text/plain; version=0.0.4; charset=utf-8' })
    expect(parseExposition(metrics.text).get('quicbraid_connection_info')?.samples[0]?.labels['connection']).toBe(pair.far.id)
    const health = await ask(`${server.url}/healthz`)
    expect(health).toMatchObject({ status: 200, type: 'application/json' })
    expect(JSON.parse(health.text)).toMatchObject({ ok: true, local: pair.server.local, listening: true, connections: 1 })
    expect(await ask(`${server.url}/healthz`, { method: 'HEAD' })).toMatchObject({ status: 200, text: '' })
    expect(await ask(`${server.url}/metrics`, { method: 'POST' })).toMatchObject({ status: 405 })
    expect(await ask(`${server.url}/../etc/passwd`)).toMatchObject({ status: 404, text: 'there are /metrics, /events, /healthz\n' })
    await pair.done()
  })

  it('shows other numbers behind those of the endpoint', { timeout: LIMIT_MS }, async () => {
    const server = await open()
    const pair = await connectedPair()
    server.watch(pair.server)
    server.also({ prometheus: () => '# HELP quicbraid_more_total More.\n# TYPE quicbraid_more_total counter\nquicbraid_more_total 7\n' })
    const { text } = await ask(`${server.url}/metrics`)
    expect(parseExposition(text).get('quicbraid_more_total')?.samples[0]?.value).toBe(7)
    expect(parseExposition(text).has('quicbraid_connection_info')).toBe(true)
    await pair.done()
  })

  it('answers nobody who came by a name that is not of this machine', { timeout: LIMIT_MS }, async () => {
    const server = await open()
    const pair = await connectedPair()
    server.watch(pair.server)
    for (const host of ['evil.example', 'evil.example:80', '192.0.2.1']) expect((await ask(`${server.url}/metrics`, { host })).status, host).toBe(403)
    for (const host of ['localhost:9100', '127.0.0.1', '[::1]:9100']) expect((await ask(`${server.url}/metrics`, { host })).status, host).toBe(200)
    await pair.done()
  })

  it('tells events as they happen, as JSON, and ends with the endpoint', { timeout: LIMIT_MS }, async () => {
    const server = await open()
    const pair = await connectedPair()
    server.watch(pair.server)
    const { status, blocks, ended } = await reader(`${server.url}/events`)
    expect(status).toBe(200)
    await patiently(() => expect(blocks()[0]).toMatchObject({ event: 'hello', data: { local: pair.server.local, connections: 1 } }))
    // What happened before is not told again.
    expect(blocks()).toHaveLength(1)
    const more = await pair.client.connect(pair.server.local[0] ?? '', { alpn: 'test', ca: 'ca' })
    const stream = await more.openBidirectional()
    stream.write(Uint8Array.of(1))
    const is = (event: string, type: string): boolean => blocks().some((block) => block.event === event && block.data['type'] === type)
    await patiently(() => expect(is('endpoint', 'connection') && is('connection', 'opened') && is('path', 'validated') && is('connection', 'stream')).toBe(true))
    expect(blocks().find(({ data }) => data['type'] === 'stream')?.data).toMatchObject({ id: 0, direction: 'bidi', initiated: 'peer', atMs: expect.any(Number) as never })
    await more.close({ code: 7, reason: 'enough' })
    await patiently(() => expect(blocks().find(({ data }) => data['type'] === 'closing')?.data).toMatchObject({ info: { errorCode: 7, by: 'peer' } }))
    await pair.done()
    await ended
  })

  it('has a bounded number of readers, and watches nothing while there is none', { timeout: LIMIT_MS }, async () => {
    const server = await open()
    const pair = await connectedPair()
    server.watch(pair.server)
    const readers = await Promise.all(Array.from({ length: 8 }, () => reader(`${server.url}/events`)))
    expect(readers.map(({ status }) => status)).toEqual(Array.from({ length: 8 }, () => 200))
    expect(await ask(`${server.url}/events`)).toMatchObject({ status: 503 })
    readers[0]?.close()
    await vi.waitFor(async () => {
      const late = await reader(`${server.url}/events`)
      late.close()
      expect(late.status).toBe(200)
    }, { timeout: 30_000, interval: 10 })
    await pair.done()
  })

  it('drops what a slow reader does not take, tells it how much, and waits for nobody', async () => {
    const pair = await connectedPair()
    const events = new EventStream(pair.server)
    const slow = { text: '', writableLength: 0, writeHead() {}, once() {}, end() {}, write(more: string) { slow.text += more } }
    expect(events.add(slow as never)).toBe(true)
    slow.writableLength = 300 * 1024
    const before = slow.text
    for (let index = 0; index < 3; index++) await pair.client.connect(pair.server.local[0] ?? '', { alpn: 'test', ca: 'ca' })
    expect(slow.text).toBe(before)
    slow.writableLength = 0
    await pair.client.connect(pair.server.local[0] ?? '', { alpn: 'test', ca: 'ca' })
    const lost = Number(/event: lost\ndata: \{"events":(\d+)\}/.exec(slow.text)?.[1])
    expect(lost).toBeGreaterThanOrEqual(3)
    events.stop()
    await pair.done()
  })

  it('survives broken requests, long headers and clients that leave', { timeout: LIMIT_MS }, async () => {
    const server = await open()
    const pair = await connectedPair()
    server.watch(pair.server)
    const port = Number(new URL(server.url).port)
    for (const text of ['\u0000\u0001\u0002\r\n\r\n', `GET /metrics HTTP/1.1\r\nx: ${'y'.repeat(20_000)}\r\n\r\n`, 'GET /events HTTP/1.1\r\nhost: localhost\r\n\r\n']) {
      const socket = connect(port, '127.0.0.1')
      socket.on('error', () => undefined)
      socket.write(text)
      if (text.includes('/events')) socket.destroy()
      else await once(socket, 'close')
    }
    expect((await ask(`${server.url}/healthz`)).status).toBe(200)
    await pair.done()
  })

  it('names the port that is taken', async () => {
    const other = createServer().listen(0, '127.0.0.1')
    await once(other, 'listening')
    const { port } = other.address() as AddressInfo
    await expect(MetricsServer.open(parseMetricsAddress(String(port)))).rejects.toMatchObject({ code: 'QB_BIND_FAILED', exit: 2, message: `--metrics 127.0.0.1:${port}: another program has this port; choose another, or 0 for any` })
    other.close()
  })

  it('lets go of its port and its readers at the end of the command', { timeout: LIMIT_MS }, async () => {
    const server = await MetricsServer.open(parseMetricsAddress('0'))
    const pair = await connectedPair()
    server.watch(pair.server)
    const { ended } = await reader(`${server.url}/events`)
    const { port } = new URL(server.url)
    await server[Symbol.asyncDispose]()
    await ended
    const again = createServer().listen(Number(port), '127.0.0.1')
    await once(again, 'listening')
    again.close()
    await pair.done()
  })
})

it('a family of several sources is said once, with all its rows', () => {
  const one = '# HELP a A.\n# TYPE a counter\na{x="1"} 1\n# HELP b B.\n# TYPE b gauge\nb 2\n'
  const two = '# HELP a A.\n# TYPE a counter\na{x="2"} 3\n'
  expect(merged([one, two])).toBe('# HELP a A.\n# TYPE a counter\na{x="1"} 1\na{x="2"} 3\n# HELP b B.\n# TYPE b gauge\nb 2\n')
  expect(merged([one])).toBe(one)
  expect(merged([])).toBe('')
})
