/** Changes of protocol through the HTTP front: WebSockets of HTTP/1.1 and of HTTP/2 (RFC 8441), refusals, wishes that are not heard. */
import { createHash } from 'node:crypto'
import { createServer as createHttp2 } from 'node:http2'
import type { IncomingMessage } from 'node:http'
import { connect as http2Connect } from 'node:http2'
import { connect as netConnect } from 'node:net'
import type { AddressInfo, Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { describe, expect, it } from 'vitest'
import { ask2, bench, bodyOf, later, raw, session, settled, target } from './front-kit.ts'
import type { Target } from './front-kit.ts'

const GUID = '258EAFA5-E914-47DA-95CA-C5AB0DC85B11'
const KEY = 'dGhlIHNhbXBsZSBub25jZQ=='

/** Echoes whatever comes after the change; ends its direction when the other has ended. */
async function echoing(): Promise<Target & { open: () => number }> {
  let open = 0
  const web = await target((asked, answer) => answer.end(`plain ${asked.headers.upgrade}`))
  web.server.on('upgrade', (asked: IncomingMessage, socket: Socket, head: Buffer) => {
    if (asked.url === '/no') return void socket.end('HTTP/1.1 403 Forbidden\r\nContent-Length: 4\r\nConnection: close\r\n\r\nnope')
    open += 1
    socket.on('error', () => {})
    socket.once('close', () => (open -= 1))
    const accept = createHash('sha1').update(`${asked.headers['sec-websocket-key']}${asked.url === '/lie' ? 'x' : GUID}`).digest('base64')
    socket.write(`HTTP/1.1 101 Switching Protocols\r\nUpgrade: ${asked.headers.upgrade}\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${accept}\r\n\r\nhi `)
    if (head.length > 0) socket.write(head)
    socket.pipe(socket)
  })
  return Object.assign(web, { open: () => open })
}

const wish = (path: string, protocol = 'websocket'): string => `GET ${path} HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\nUpgrade: ${protocol}\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: ${KEY}\r\n\r\n`

describe('a change of protocol', () => {
  it('passes a WebSocket both ways, with what came along with the head, until both directions have ended', async () => {
    const web = await echoing()
    const { port, seen, ways, front } = await bench(web.port)
    const socket = netConnect({ port, host: '127.0.0.1', allowHalfOpen: true })
    later(() => socket.destroy())
    socket.write(`${wish('/')}first `)
    let all = ''
    socket.on('data', (chunk) => (all += chunk))
    await settled(() => all.endsWith('hi first '))
    expect(all).toContain(`Sec-WebSocket-Accept: ${createHash('sha1').update(KEY + GUID).digest('base64')}\r\n`)
    expect(all).toMatch(/^HTTP\/1\.1 101 /)
    expect(all).toMatch(/connection: upgrade\r\nupgrade: websocket/i)
    socket.write('second')
    await settled(() => all.endsWith('second'))
    expect(seen).toHaveLength(0)
    socket.end()
    await settled(() => seen.length === 1 && ways.live.size === 0 && web.open() === 0)
    expect(seen[0]).toMatchObject({ status: 101, bytesUp: 12, bytesDown: 15, reason: null })
    expect(front.statistics()).toMatchObject({ upgrades: 1, requestsOpen: 0 })
  })

  it('moves 8 MB through it, with the back-pressure of a slow reader', async () => {
    const web = await echoing()
    const { port } = await bench(web.port)
    const socket = netConnect({ port, host: '127.0.0.1', allowHalfOpen: true })
    later(() => socket.destroy())
    socket.write(wish('/'))
    const chunk = Buffer.alloc(65_536, 7)
    for (let at = 0; at < 128; at++) socket.write(chunk)
    socket.end()
    await new Promise((resolve) => setTimeout(resolve, 50))
    const body = await bodyOf(socket)
    const echoed = body.subarray(body.indexOf('\r\n\r\n') + 4 + 3)
    expect([echoed.length, echoed.every((byte) => byte === 7)]).toEqual([8_388_608, true])
  })

  it('ends on both sides when one breaks', async () => {
    const web = await echoing()
    const { port, seen, ways } = await bench(web.port)
    for (const who of ['client', 'upstream'] as const) {
      const socket = netConnect({ port, host: '127.0.0.1' })
      socket.on('error', () => {})
      let all = ''
      socket.on('data', (chunk) => (all += chunk))
      socket.write(wish('/'))
      await settled(() => all.endsWith('hi '))
      if (who === 'client') socket.resetAndDestroy()
      else for (const other of web.sockets) other.destroy()
      await settled(() => ways.live.size === 0 && web.open() === 0 && socket.destroyed, who)
    }
    await settled(() => seen.length === 2)
  })

  it('is a refusal of the service where it refuses, and may be idle only so long', async () => {
    const web = await echoing()
    const { port, ways, seen } = await bench(web.port, { limits: { upgradeIdleMs: 100 } })
    expect(await raw(port, wish('/no'))).toMatch(/^HTTP\/1\.1 403 Forbidden\r\n[^]*nope$/)
    expect(await raw(port, wish('/'))).toMatch(/^HTTP\/1\.1 101 [^]*hi $/)
    await settled(() => ways.live.size === 0)
    expect(seen.map(({ status, reason }) => [status, reason])).toEqual([[403, null], [101, 'timeout']])
  })

  it('to HTTP/2 is not heard: the request is answered as it stands, with its body', async () => {
    const web = await target(async (asked, answer) => answer.end(`${asked.method} ${asked.headers.upgrade} ${asked.headers['http2-settings']} ${await bodyOf(asked)}`))
    const { port } = await bench(web.port)
    const fields = 'Host: a\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n'
    expect(await raw(port, `GET / HTTP/1.1\r\n${fields}\r\nGET /2 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n`)).toMatch(/GET undefined undefined [^]*GET undefined undefined /)
    expect(await raw(port, `POST / HTTP/1.1\r\n${fields}Content-Length: 5\r\n\r\nhello`, 'hello')).toMatch(/POST undefined undefined hello/)
    expect(await raw(port, `POST / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: 5\r\n\r\nhello`, 'hello')).toMatch(/POST undefined undefined hello/)
  })

  it('of HTTP/2 (extended CONNECT) becomes one of HTTP/1.1, whose proof is looked at', async () => {
    const web = await echoing()
    const { port, seen, ways } = await bench(web.port)
    const client = session(port)
    await new Promise((resolve) => client.once('remoteSettings', resolve))
    expect(client.remoteSettings.enableConnectProtocol).toBe(true)
    const open = (path: string) => client.request({ ':method': 'CONNECT', ':protocol': 'websocket', ':path': path, ':scheme': 'http', ':authority': 'a', 'sec-websocket-version': '13' }, { endStream: false })
    const stream = open('/')
    const status = new Promise((resolve) => stream.once('response', (fields) => resolve([fields[':status'], fields['sec-websocket-accept'], fields['upgrade']])))
    stream.write('first')
    expect(await status).toEqual([200, undefined, undefined])
    stream.end(' last')
    expect((await bodyOf(stream)).toString()).toBe('hi first last')
    const lie = open('/lie')
    lie.on('error', () => {})
    expect(await new Promise((resolve) => lie.once('response', (fields) => resolve(fields[':status'])))).toBe(502)
    const no = open('/no')
    expect(await new Promise((resolve) => no.once('response', (fields) => resolve(fields[':status'])))).toBe(403)
    no.end()
    expect((await bodyOf(no)).toString()).toBe('nope')
    await settled(() => ways.live.size === 0 && seen.length === 3)
    expect(await ask2(client, { ':path': '/' })).toMatchObject({ status: 200 })
  })
})

/** A service that is reached by HTTP/2. */
async function service2(settings: object): Promise<{ session: ReturnType<typeof http2Connect>; open: Set<Duplex>; refuse: (times: number) => void }> {
  const open = new Set<Duplex>()
  let refusals = 0
  const server = createHttp2({ settings })
  server.on('stream', async (stream, headers) => {
    stream.on('error', () => {})
    open.add(stream)
    stream.once('close', () => open.delete(stream))
    if (refusals > 0) {
      refusals -= 1
      return stream.close(7)
    }
    if (headers[':protocol'] !== undefined) {
      stream.respond({ ':status': 200 })
      return void stream.pipe(stream)
    }
    if (headers[':path'] === '/wait') return
    const body = await bodyOf(stream)
    if (stream.destroyed) return
    stream.additionalHeaders({ ':status': 103, link: '</x>; rel=preload' })
    stream.respond({ ':status': 200, 'set-cookie': ['a=1', 'b=2'] }, { waitForTrailers: true })
    stream.on('wantTrailers', () => stream.sendTrailers({ 'x-sum': '9' }))
    stream.end(`${headers[':method']} ${headers[':path']} ${headers[':authority']} ${headers['x-forwarded-for']} ${headers['via']} ${body.length}`)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const client = http2Connect(`http://127.0.0.1:${(server.address() as AddressInfo).port}`)
  await new Promise((resolve) => client.once('remoteSettings', resolve))
  later(() => {
    client.destroy()
    server.close()
  })
  return { session: client, open, refuse: (times) => (refusals = times) }
}

describe('services that are reached by HTTP/2', () => {
  it('get requests of both versions, with trailers, hints and 300,000 bytes', async () => {
    const service = await service2({})
    const { port, front } = await bench(0, { session: async () => service.session })
    const body = Buffer.alloc(300_000, 1)
    const answer = await raw(port, Buffer.concat([Buffer.from(`POST /x HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: ${body.length}\r\n\r\n`), body]))
    expect(answer).toMatch(/^HTTP\/1\.1 103 Early Hints\r\n[^]*HTTP\/1\.1 200 [^]*POST \/x a 127\.0\.0\.1 1\.1 quicbraid 300000[^]*x-sum: 9\r\n\r\n$/)
    expect(answer.match(/set-cookie: /g)).toHaveLength(2)
    const client = session(port)
    expect(await ask2(client, { ':method': 'POST', ':path': '/y', ':authority': 'b' }, body)).toMatchObject({ status: 200, body: 'POST /y b 127.0.0.1 2 quicbraid 300000', trailers: { 'x-sum': '9' } })
    const many = await Promise.all(Array.from({ length: 40 }, (_, at) => ask2(client, { ':path': `/${at}` })))
    expect(many.every(({ status }) => status === 200)).toBe(true)
    await settled(() => service.open.size === 0 && front.statistics().requestsOpen === 0)
  })

  it('may refuse a stream: it is asked again, as long as there is no body (reverse V47)', async () => {
    const service = await service2({})
    const { port, front } = await bench(0, { session: async () => service.session })
    service.refuse(2)
    expect(await ask2(session(port), { ':path': '/' })).toMatchObject({ status: 200 })
    expect(front.statistics().retries).toBe(2)
    service.refuse(1)
    expect(await ask2(session(port), { ':method': 'POST', ':path': '/' }, 'body')).toMatchObject({ status: 502 })
    service.refuse(3)
    expect(await ask2(session(port), { ':path': '/' })).toMatchObject({ status: 502 })
  })

  it('are told when the client has gone', async () => {
    const service = await service2({})
    const { port } = await bench(0, { session: async () => service.session })
    const socket = netConnect({ port, host: '127.0.0.1' })
    socket.write('GET /wait HTTP/1.1\r\nHost: a\r\n\r\n')
    await settled(() => service.open.size === 1)
    socket.destroy()
    await settled(() => service.open.size === 0)
  })

  it('take WebSockets of both versions where they say that they can, and refuse them otherwise', async () => {
    const able = await service2({ enableConnectProtocol: true })
    const { port } = await bench(0, { session: async () => able.session })
    const answer = await raw(port, `${wish('/ws')}echo this`, 'echo this')
    expect(answer).toMatch(/^HTTP\/1\.1 101 /)
    expect(answer).toContain(`Sec-WebSocket-Accept: ${createHash('sha1').update(KEY + GUID).digest('base64')}\r\n`)
    const client = session(port)
    await new Promise((resolve) => client.once('remoteSettings', resolve))
    const stream = client.request({ ':method': 'CONNECT', ':protocol': 'websocket', ':path': '/', ':scheme': 'http', ':authority': 'a' }, { endStream: false })
    stream.end('and this')
    expect((await bodyOf(stream)).toString()).toBe('and this')
    const unable = await service2({})
    const other = await bench(0, { session: async () => unable.session })
    expect(await raw(other.port, wish('/ws'))).toMatch(/^HTTP\/1\.1 501 /)
  })
})
