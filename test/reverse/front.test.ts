/** The HTTP front (reverse.md V40-V47 from the side of browsers): messages as they go through, on sockets, with a fake `open`. */
import { createHash, randomBytes } from 'node:crypto'
import { request } from 'node:http'
import type { IncomingMessage } from 'node:http'
import { connect as netConnect } from 'node:net'
import { describe, expect, it } from 'vitest'
import { ask, ask2, bench, bodyOf, later, raw, session, settled, target } from './front-kit.ts'

const echo = (asked: IncomingMessage): string => JSON.stringify({ method: asked.method, url: asked.url, headers: asked.rawHeaders })
const sha = (bytes: Buffer): string => createHash('sha256').update(bytes).digest('hex')

describe('what goes through', () => {
  it('hands on requests of both versions of HTTP on one port, told apart by the first bytes', async () => {
    const web = await target((asked, answer) => answer.end(`${asked.method} ${asked.url} ${asked.headers.host}`))
    const { port, seen } = await bench(web.port)
    expect(await ask(port, { path: '/a?b=c', headers: { host: 'example.org' } })).toMatchObject({ status: 200, body: 'GET /a?b=c example.org' })
    expect(await ask2(session(port), { ':path': '/d', ':authority': 'h2.example' })).toMatchObject({ status: 200, body: 'GET /d h2.example' })
    await settled(() => seen.length === 2)
    expect(seen).toMatchObject([
      { type: 'request', method: 'GET', host: 'example.org', path: '/a?b=c', status: 200, bytesUp: 0, bytesDown: 22, service: 'web', protocol: 'http/1.1', remote: '127.0.0.1', reason: null },
      { method: 'GET', host: 'h2.example', path: '/d', status: 200, service: 'web', protocol: 'h2', reason: null },
    ])
  })

  it('tells them apart when the first bytes come one by one', async () => {
    const web = await target((_, answer) => answer.end('here'))
    const { port } = await bench(web.port)
    const socket = netConnect({ port, host: '127.0.0.1', noDelay: true })
    later(() => socket.destroy())
    let all = ''
    socket.on('data', (chunk) => (all += chunk))
    for (const letter of 'PRI / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n') {
      socket.write(letter)
      await new Promise((resolve) => setImmediate(resolve))
    }
    await settled(() => all !== '')
    expect(all).toMatch(/^HTTP\/1\.1 (200|400)/)
  })

  it('hands on several requests of one connection, with a way of its own for each', async () => {
    const web = await target((asked, answer) => answer.end(asked.url))
    const { port, ways, front } = await bench(web.port)
    const answer = await raw(port, 'GET /1 HTTP/1.1\r\nHost: a\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\n\r\nGET /3 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n')
    expect(answer.match(/HTTP\/1.1 200 OK/g)).toHaveLength(3)
    expect(answer.indexOf('/1')).toBeLessThan(answer.indexOf('/2'))
    expect(ways.opened).toBe(3)
    const client = session(port)
    const all = await Promise.all(Array.from({ length: 40 }, (_, at) => ask2(client, { ':path': `/${at}` })))
    expect(all.map(({ body }) => body)).toEqual(Array.from({ length: 40 }, (_, at) => `/${at}`))
    await settled(() => ways.live.size === 0)
    expect(front.statistics()).toMatchObject({ requestsTotal: 43, requestsOpen: 0, status: { '2xx': 43 } })
  })

  it('takes away what is between neighbours, and writes X-Forwarded-* and Via itself', async () => {
    const web = await target((asked, answer) => {
      answer.setHeader('Connection', 'close, X-Secret')
      answer.setHeader('X-Secret', '1')
      answer.setHeader('Keep-Alive', 'timeout=3')
      answer.setHeader('Set-Cookie', ['a=1', 'b=2'])
      answer.end(echo(asked))
    })
    const { port } = await bench(web.port)
    const text = await raw(port, ['GET / HTTP/1.1', 'Host: a.example:8080', 'Connection: close, X-Hop, Host, Cookie', 'X-Hop: 1', 'Keep-Alive: 5', 'Proxy-Connection: x', 'TE: gzip', 'X-Forwarded-For: 6.6.6.6', 'X-Forwarded-Proto: https', 'Forwarded: for=6.6.6.6', 'X-Real-IP: 6.6.6.6', 'Via: 1.0 fred', 'Cookie: c=d', 'X-Kept: yes', '', ''].join('\r\n'))
    const { headers } = JSON.parse(text.slice(text.indexOf('{'), text.lastIndexOf('}') + 1)) as { headers: string[] }
    expect(headers).toEqual(['Host', 'a.example:8080', 'Cookie', 'c=d', 'X-Kept', 'yes', 'X-Forwarded-For', '127.0.0.1', 'X-Forwarded-Proto', 'http', 'X-Forwarded-Host', 'a.example:8080', 'Via', '1.0 fred, 1.1 quicbraid', 'Connection', 'close'])
    const head = text.slice(0, text.indexOf('\r\n\r\n'))
    expect(head).not.toMatch(/x-secret|timeout=3/i)
    expect(head.match(/set-cookie: [ab]=/gi)).toHaveLength(2)
    expect(head).toMatch(/via: 1\.1 quicbraid/i)
  })

  it('goes on with X-Forwarded-* of others when it is told to believe them', async () => {
    const web = await target((asked, answer) => answer.end(echo(asked)))
    const { port } = await bench(web.port, { forwarded: 'append', name: 'edge-1' })
    const { body } = await ask(port, { headers: { host: 'b', 'x-forwarded-for': '9.9.9.9', 'x-forwarded-proto': 'https', 'x-forwarded-host': 'outer' } })
    const { headers } = JSON.parse(body) as { headers: string[] }
    const value = (name: string): string | undefined => headers[headers.findIndex((item) => item.toLowerCase() === name) + 1]
    expect([value('x-forwarded-for'), value('x-forwarded-proto'), value('x-forwarded-host'), value('via')]).toEqual(['9.9.9.9, 127.0.0.1', 'https', 'outer', '1.1 edge-1'])
  })

  it('joins the cookie lines of HTTP/2 and splits set-cookie', async () => {
    const web = await target((asked, answer) => {
      answer.writeHead(200, ['Set-Cookie', 'x=1', 'Set-Cookie', 'y=2', 'Content-Type', 'text/plain', 'Content-Type', 'text/html'])
      answer.end(String(asked.headers.cookie))
    })
    const { port } = await bench(web.port)
    const answer = await ask2(session(port), { ':path': '/', cookie: ['a=1', 'b=2'] as unknown as string })
    expect(answer.body).toBe('a=1; b=2')
    expect(answer.headers).toMatchObject({ 'set-cookie': ['x=1', 'y=2'], 'content-type': 'text/plain' })
  })

  it('knows which responses have no body: HEAD, 204, 304', async () => {
    const web = await target((asked, answer) => {
      const status = Number(asked.url?.slice(1))
      answer.writeHead(status, status === 204 ? {} : { 'content-length': '1234' })
      answer.end()
    })
    const { port } = await bench(web.port)
    const client = session(port)
    for (const [method, status] of [['HEAD', 200], ['GET', 204], ['GET', 304]] as const) {
      expect(await ask(port, { method, path: `/${status}` })).toMatchObject({ status, body: '', headers: status === 204 ? {} : { 'content-length': '1234' } })
      expect(await ask2(client, { ':method': method, ':path': `/${status}` })).toMatchObject({ status, body: '', headers: status === 204 ? {} : { 'content-length': '1234' } })
    }
  })

  it('keeps the framing of bodies: a length where there was one, chunks where there was none', async () => {
    const web = await target(async (asked, answer) => {
      const body = await bodyOf(asked)
      answer.write(`${asked.headers['content-length'] ?? asked.headers['transfer-encoding'] ?? 'none'} `)
      answer.end(body)
    })
    const { port } = await bench(web.port)
    expect((await ask(port, { method: 'POST', headers: { 'content-length': '5' } }, 'hello')).body).toBe('5 hello')
    expect((await ask(port, { method: 'POST', headers: { 'transfer-encoding': 'chunked' } }, 'hello')).body).toBe('chunked hello')
    expect((await ask(port, { method: 'POST', headers: { 'content-length': '0' } })).body).toBe('0 ')
    expect((await ask(port, { method: 'DELETE' })).body).toBe('none ')
    const client = session(port)
    expect((await ask2(client, { ':method': 'POST', ':path': '/', 'content-length': '5' }, 'hello')).body).toBe('5 hello')
    expect((await ask2(client, { ':method': 'POST', ':path': '/' }, 'hello')).body).toBe('chunked hello')
    expect((await ask2(client, { ':method': 'PUT', ':path': '/' })).body).toBe('0 ')
    expect(await raw(port, 'POST / HTTP/1.0\r\nContent-Length: 2\r\n\r\nhi')).toMatch(/^HTTP\/1\.1 200 OK[^]*\r\n\r\n2 hi$/)
  })

  it('carries trailers both ways', async () => {
    const web = await target(async (asked, answer) => {
      await bodyOf(asked)
      answer.writeHead(200, { Trailer: 'X-Sum' })
      answer.write(`${asked.headers.te} ${asked.trailers['x-check']} ${asked.trailers['authorization']}`)
      answer.addTrailers({ 'X-Sum': 'abc' })
      answer.end()
    })
    const { port } = await bench(web.port)
    const first = await new Promise<IncomingMessage>((resolve) => {
      const asked = request({ port, host: '127.0.0.1', agent: false, method: 'POST', headers: { TE: 'trailers', Trailer: 'X-Check', Connection: 'close, TE' } }, resolve)
      asked.write('some')
      asked.addTrailers({ 'X-Check': '42', Authorization: '7' })
      asked.end()
    })
    expect((await bodyOf(first)).toString()).toBe('trailers 42 undefined')
    expect(first.trailers).toEqual({ 'x-sum': 'abc' })
    const client = session(port)
    const stream = client.request({ ':method': 'POST', ':path': '/', te: 'trailers' }, { waitForTrailers: true })
    stream.on('wantTrailers', () => stream.sendTrailers({ 'x-check': '43' }))
    let trailers = {}
    stream.on('trailers', (fields) => (trailers = fields))
    stream.end('some')
    expect((await bodyOf(stream)).toString()).toBe('trailers 43 undefined')
    expect(trailers).toMatchObject({ 'x-sum': 'abc' })
  })

  it('carries 100 Continue and 103 Early Hints', async () => {
    const web = await target(() => {})
    web.server.on('checkContinue', (asked: IncomingMessage, answer) => {
      if (asked.url === '/no') {
        answer.writeHead(413, { connection: 'close' })
        answer.end('no')
        return
      }
      answer.writeEarlyHints({ link: '</a.css>; rel=preload' })
      answer.writeContinue()
      asked.resume()
      asked.on('end', () => answer.end('yes'))
    })
    const { port } = await bench(web.port)
    const told: unknown[] = []
    const reply = await new Promise<IncomingMessage>((resolve) => {
      const asked = request({ port, host: '127.0.0.1', agent: false, method: 'POST', headers: { Expect: '100-continue', 'Content-Length': '3' } }, resolve)
      asked.on('information', (info) => told.push([info.statusCode, info.headers['link']]))
      asked.on('continue', () => asked.end('abc'))
      asked.flushHeaders()
    })
    expect((await bodyOf(reply)).toString()).toBe('yes')
    expect(told).toEqual([[103, '</a.css>; rel=preload'], [100, undefined]])
    const refused = await raw(port, 'POST /no HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n', '\r\n\r\n')
    expect(refused).toMatch(/^HTTP\/1\.1 413 /)
    const stream = session(port).request({ ':method': 'POST', ':path': '/', expect: '100-continue' }, { endStream: false })
    const hints: unknown[] = []
    stream.on('headers', (fields) => hints.push(fields[':status'], fields['link']))
    stream.once('continue', () => stream.end('abc'))
    expect((await bodyOf(stream)).toString()).toBe('yes')
    expect(hints).toEqual([103, '</a.css>; rel=preload', 100, undefined])
  })

  it('takes the authority of a target in absolute form for the host', async () => {
    const web = await target((asked, answer) => answer.end(`${asked.headers.host} ${asked.url}`))
    const { port, seen } = await bench(web.port)
    expect(await raw(port, 'GET http://real.example?x HTTP/1.1\r\nHost: other\r\nConnection: close\r\n\r\n')).toMatch(/real\.example \/\?x/)
    expect(await raw(port, 'OPTIONS * HTTP/1.1\r\nHost: other\r\nConnection: close\r\n\r\n')).toMatch(/other \*/)
    expect(seen.map(({ host, path }) => [host, path])).toEqual([['real.example', '/?x'], ['other', '*']])
  })
})

describe('bodies of 50 MB', () => {
  const big = randomBytes(1_048_576)
  const sumOf = (times: number): string => {
    const sum = createHash('sha256')
    for (let at = 0; at < times; at++) sum.update(big)
    return sum.digest('hex')
  }

  it('go up and down unharmed by HTTP/1.1, and 8 MB by HTTP/2', async () => {
    const web = await target((asked, answer) => {
      if (asked.method === 'POST') {
        const sum = createHash('sha256')
        asked.on('data', (chunk) => sum.update(chunk))
        asked.on('end', () => answer.end(sum.digest('hex')))
        return
      }
      let left = Number(asked.url?.slice(1))
      const write = (): void => {
        while (left > 0) {
          left -= 1
          if (!answer.write(big)) return void answer.once('drain', write)
        }
        answer.end()
      }
      write()
    })
    const { port } = await bench(web.port)
    const feed = async (sink: NodeJS.WritableStream, times: number): Promise<void> => {
      for (let at = 0; at < times; at++) if (!sink.write(big)) await new Promise((resolve) => sink.once('drain', resolve))
      sink.end()
    }
    const up = await new Promise<IncomingMessage>((resolve, reject) => {
      const asked = request({ port, host: '127.0.0.1', agent: false, method: 'POST' }, resolve)
      asked.once('error', reject)
      void feed(asked, 50)
    })
    expect((await bodyOf(up)).toString()).toBe(sumOf(50))
    const stream = session(port).request({ ':method': 'POST', ':path': '/' })
    void feed(stream, 8)
    expect((await bodyOf(stream)).toString()).toBe(sumOf(8))
    const down = await new Promise<IncomingMessage>((resolve) => request({ port, host: '127.0.0.1', agent: false, path: '/50' }, resolve).end())
    expect(sha(await bodyOf(down))).toBe(sumOf(50))
    expect(sha(await bodyOf(session(port).request({ ':path': '/8' })))).toBe(sumOf(8))
  }, 60_000)
})
