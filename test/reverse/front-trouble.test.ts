/** The HTTP front when something is wrong: ambiguous and broken messages, services that are not there, ends of either side at any time, limits (attacks rows H). */
import { request } from 'node:http'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { connect as netConnect, createServer as createNet } from 'node:net'
import type { AddressInfo } from 'node:net'
import { Duplex } from 'node:stream'
import { describe, expect, it } from 'vitest'
import { ServiceError } from '../../src/errors/index.ts'
import { HttpFront } from '../../src/reverse/front/index.ts'
import { ask, ask2, bench, later, portOf, raw, session, settled, target } from './front-kit.ts'

const HEAD = 'Host: a\r\nConnection: close\r\n'

/** A service that answers every connection with these bytes, then ends. */
async function liar(bytes: string, end: 'end' | 'stay' = 'end'): Promise<number> {
  const server = createNet((socket) => {
    socket.on('error', () => {})
    socket.once('data', () => {
      socket.write(Buffer.from(bytes, 'latin1'), () => (end === 'end' ? socket.end() : undefined))
    })
    later(() => socket.destroy())
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  later(() => server.close())
  return (server.address() as AddressInfo).port
}

describe('requests that are refused', () => {
  it.each([
    ['both Content-Length and Transfer-Encoding', `POST / HTTP/1.1\r\n${HEAD}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`, 400],
    ['Transfer-Encoding and then Content-Length', `POST / HTTP/1.1\r\n${HEAD}Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n`, 400],
    ['two lengths', `POST / HTTP/1.1\r\n${HEAD}Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello`, 400],
    ['a list of lengths', `POST / HTTP/1.1\r\n${HEAD}Content-Length: 5, 5\r\n\r\nhello`, 400],
    ['a length with a sign', `POST / HTTP/1.1\r\n${HEAD}Content-Length: +5\r\n\r\nhello`, 400],
    ['a coding that is not understood', `POST / HTTP/1.1\r\n${HEAD}Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n`, 501],
    ['chunked twice', `POST / HTTP/1.1\r\n${HEAD}Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n`, 400],
    ['a coding that does not end in chunked', `POST / HTTP/1.1\r\n${HEAD}Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n`, 400],
    ['a space before the colon', `POST / HTTP/1.1\r\n${HEAD}Content-Length : 5\r\n\r\nhello`, 400],
    ['a folded line', `GET / HTTP/1.1\r\n${HEAD}X: a\r\n b\r\n\r\n`, 400],
    ['a bare line feed', `GET / HTTP/1.1\n${HEAD}X: a\n\n`, 400],
    ['chunks of HTTP/1.0', `POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`, 400],
    ['a version that is none of HTTP/1', `GET / HTTP/2.0\r\n${HEAD}\r\n`, 505],
    ['two hosts', `GET / HTTP/1.1\r\n${HEAD}Host: b\r\n\r\n`, 400],
    ['no host', `GET / HTTP/1.1\r\nConnection: close\r\n\r\n`, 400],
    ['a host that is none', `GET / HTTP/1.1\r\nHost: a b\r\nConnection: close\r\n\r\n`, 400],
    ['a user in the authority', `GET http://me@x/ HTTP/1.1\r\n${HEAD}\r\n`, 400],
    ['a target of another scheme', `GET ftp://x/ HTTP/1.1\r\n${HEAD}\r\n`, 400],
    ['CONNECT', `CONNECT a:443 HTTP/1.1\r\n${HEAD}\r\n`, 405],
    ['bytes that are no HTTP', '\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03'.repeat(8), 400],
    ['a header that is too large', `GET / HTTP/1.1\r\n${HEAD}X: ${'x'.repeat(40_000)}\r\n\r\n`, 431],
    ['too many lines', `GET / HTTP/1.1\r\n${HEAD}${'X: y\r\n'.repeat(200)}\r\n`, 431],
    ['a wish that nobody knows', `GET / HTTP/1.1\r\n${HEAD}Expect: 200-ok\r\n\r\n`, 417],
  ])('%s', async (_, bytes, status) => {
    let served = 0
    const web = await target((__, answer) => {
      served += 1
      answer.end()
    })
    const { port, ways } = await bench(web.port)
    const answer = await raw(port, Buffer.from(bytes, 'latin1'))
    expect(answer.split('\r\n', 1)[0]).toMatch(new RegExp(`^HTTP/1\\.1 ${status} `))
    expect(answer.match(/HTTP\/1\.1 /g)).toHaveLength(1)
    expect([served, ways.opened]).toEqual([0, 0])
  })

  it('of HTTP/2 too, each with its stream only', async () => {
    const web = await target((_, answer) => answer.end('ok'))
    const { port, ways } = await bench(web.port)
    const client = session(port)
    expect(await ask2(client, { ':path': '/', ':authority': 'a', host: 'b' })).toMatchObject({ status: 400 })
    expect(await ask2(client, { ':path': 'http://x/', ':authority': 'a' }).catch(() => ({ status: 400 }))).toMatchObject({ status: 400 })
    expect(await ask2(client, { ':method': 'CONNECT', ':authority': 'a:1' }, '').catch((error: Error) => error)).toMatchObject({ status: 405 })
    expect(ways.opened).toBe(0)
    expect(await ask2(client, { ':path': '/' })).toMatchObject({ status: 200, body: 'ok' })
  })

  it('leave no request behind that a next client could get', async () => {
    const web = await target((asked, answer) => answer.end(asked.url))
    const { port, ways } = await bench(web.port)
    const answer = await raw(port, 'POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n')
    expect(answer).toMatch(/^HTTP\/1\.1 400 /)
    expect(ways.heads.join('')).not.toContain('smuggled')
  })
})

describe('services that do not answer as they should', () => {
  it('says 503 with Retry-After where nobody is connected, 504 where it took too long, 502 otherwise', async () => {
    const errors: Record<string, () => Promise<never>> = {
      nobody: () => Promise.reject(new ServiceError('QB_REVERSE_NO_CONNECTION', 'the pool has none: secret detail')),
      drains: () => Promise.reject(new ServiceError('QB_REVERSE_DRAINING', 'secret detail')),
      slow: () => Promise.reject(new ServiceError('QB_REVERSE_TIMEOUT', 'secret detail')),
      broken: () => Promise.reject(new Error('secret detail')),
      never: () => new Promise(() => {}),
    }
    const front = await HttpFront.listen({ http: '127.0.0.1:0', open: (key) => errors[key]!(), keyFromHost: (host) => host, limits: { openTimeoutMs: 100 } })
    later(() => front.close())
    const port = portOf(front.http[0])
    const results = await Promise.all(Object.keys(errors).map((host) => ask(port, { headers: { host } })))
    expect(results.map(({ status }) => status)).toEqual([503, 503, 504, 502, 504])
    expect(results[0]?.headers).toMatchObject({ 'retry-after': '1', 'content-type': 'text/plain; charset=utf-8' })
    expect(results[0]?.body).toBe('503 Service Unavailable\n\nThe service "nobody" is not connected at present.\n')
    for (const { body } of results) expect(body).not.toContain('secret')
    expect(await ask2(session(port), { ':path': '/', ':authority': 'nobody' })).toMatchObject({ status: 503, headers: { 'retry-after': '1' } })
    expect(front.statistics().failed).toMatchObject({ 'no-connection': 3, timeout: 2, upstream: 1 })
    expect(front.prometheus()).toContain('quicbraid_front_failed_total{reason="no-connection"} 3')
  })

  it.each([
    ['what is no HTTP', 'SSH-2.0-x\r\n\r\n', 502],
    ['nothing', '', 502],
    ['half a head', 'HTTP/1.1 200 OK\r\nContent-', 502],
    ['a coding that is not understood', 'HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n', 502],
    ['both length and chunks', 'HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n', 502],
    ['two lengths', 'HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd', 502],
    ['another protocol that nobody asked for', 'HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n', 502],
    ['a header without an end', `HTTP/1.1 200 OK\r\nX: ${'x'.repeat(200_000)}`, 502],
  ])('says 502 to %s', async (_, bytes, status) => {
    const { port, seen } = await bench(await liar(bytes))
    expect((await ask(port)).status).toBe(status)
    expect((await ask2(session(port), { ':path': '/' })).status).toBe(status)
    await settled(() => seen.length === 2)
    expect(seen.every(({ reason }) => reason === 'upstream' || reason === 'bad-response')).toBe(true)
  })

  it.each([
    ['ends in the middle of a length', 'HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nabc', null],
    ['ends in the middle of chunks', 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab', null],
    ['is reset in a body that ends with the connection', 'HTTP/1.1 200 OK\r\n\r\nabc', new Error('reset')],
  ])('does not make a whole of a part when the service %s', async (_, bytes, error) => {
    const open = async (): Promise<Duplex> => {
      const way = new Duplex({ read: () => {}, write: (_chunk, _encoding, done) => done() })
      way.push(bytes)
      if (error === null) way.push(null)
      else setImmediate(() => setImmediate(() => way.destroy(error)))
      return way
    }
    const { port, seen } = await bench(0, { open })
    await expect(ask(port)).rejects.toThrow()
    await expect(ask2(session(port), { ':path': '/' })).rejects.toThrow()
    await settled(() => seen.length === 2)
    expect(seen.map(({ reason }) => reason)).toEqual(['upstream', 'upstream'])
  })

  it('takes the end of the connection for the end of a body without a length', async () => {
    const { port } = await bench(await liar('HTTP/1.0 200 OK\r\nContent-Type: x/y\r\n\r\nall of it'))
    expect(await ask(port)).toMatchObject({ status: 200, body: 'all of it', headers: { 'transfer-encoding': 'chunked' } })
    expect((await ask2(session(port), { ':path': '/' })).body).toBe('all of it')
  })

  it('says 504 when the answer does not begin in time, and cuts when it does not go on', async () => {
    const limits = { responseTimeoutMs: 150, idleTimeoutMs: 150 }
    const silent = await bench(await liar('', 'stay'), { limits })
    expect((await ask(silent.port)).status).toBe(504)
    await settled(() => silent.ways.live.size === 0)
    const stops = await bench(await liar('HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc', 'stay'), { limits })
    await expect(ask(stops.port)).rejects.toThrow()
    await settled(() => stops.ways.live.size === 0)
    expect(stops.seen[0]?.reason).toBe('timeout')
  })
})

describe('whoever goes', () => {
  it('takes the other side along, at each phase and in both versions', async () => {
    let arrived = 0
    let open = 0
    const web = await target((asked: IncomingMessage, answer: ServerResponse) => {
      arrived += 1
      open += 1
      answer.once('close', () => (open -= 1))
      asked.on('error', () => {})
      asked.resume()
      if (asked.url === '/answering') answer.write('begun')
    })
    const { port, ways, seen, front } = await bench(web.port)
    for (const [path, method] of [['/waiting', 'GET'], ['/sending', 'POST'], ['/answering', 'GET']] as const) {
      const before = arrived
      const asked = request({ port, host: '127.0.0.1', agent: false, method, path, headers: method === 'POST' ? { 'content-length': '100000' } : {} })
      asked.on('error', () => {})
      if (method === 'POST') asked.write('some')
      else asked.end()
      if (path === '/answering') await new Promise((resolve) => asked.once('response', (answer: IncomingMessage) => answer.on('error', () => {}).once('data', resolve)))
      await settled(() => arrived > before, path)
      asked.destroy()
      await settled(() => ways.live.size === 0 && open === 0, `${path} of HTTP/1.1`)
      const client = session(port)
      const stream = client.request({ ':path': path, ':method': method }, { endStream: method !== 'POST' })
      stream.on('error', () => {})
      if (method === 'POST') stream.write('some')
      await settled(() => arrived > before + 1, path)
      if (path === '/answering') await new Promise((resolve) => stream.once('data', resolve))
      stream.close(8)
      await settled(() => ways.live.size === 0 && open === 0, `${path} of HTTP/2`)
    }
    await settled(() => seen.length === 6)
    expect(seen.map(({ reason }) => reason)).toEqual(Array.from({ length: 6 }, () => 'client'))
    expect(front.statistics()).toMatchObject({ requestsOpen: 0 })
  })

  it('is noticed while the way is still being opened: the opening is aborted and a way that comes late is ended', async () => {
    let aborted = 0
    let late: (() => void) | null = null
    const web = await target((_, answer) => answer.end())
    const front = await HttpFront.listen({
      http: '127.0.0.1:0', service: 'web',
      open: (_, { signal }) => new Promise((resolve) => {
        signal.addEventListener('abort', () => (aborted += 1))
        late = () => resolve(netConnect({ port: web.port, host: '127.0.0.1' }))
      }),
    })
    later(() => front.close())
    const asked = request({ port: portOf(front.http[0]), host: '127.0.0.1', agent: false }).on('error', () => {})
    asked.end()
    await settled(() => late !== null)
    asked.destroy()
    await settled(() => aborted === 1)
    late!()
    await settled(() => web.sockets.size === 0 && front.statistics().connections === 0)
  })

  it('early with an answer leaves the rest of the request unread, and the connection ends', async () => {
    const { port } = await bench(await liar('HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno', 'stay'))
    const status = await new Promise((resolve) => {
      const asked = request({ port, host: '127.0.0.1', agent: false, method: 'POST', headers: { 'content-length': '100000000' } }, (answer) => {
        answer.resume()
        resolve(answer.statusCode)
      })
      asked.on('error', () => {})
      asked.write('x')
    })
    expect(status).toBe(413)
    expect((await ask2(session(port), { ':method': 'POST', ':path': '/', 'content-length': '100000' }, 'x').catch(() => ({ status: 413 }))).status).toBe(413)
  })

  it('may read as slowly as he likes: the service is held back, and memory with it', async () => {
    let written = 0
    const chunk = Buffer.alloc(65_536)
    const web = await target((_, answer) => {
      const write = (): void => {
        while (written < 64 * 1_048_576) {
          written += chunk.length
          if (!answer.write(chunk)) return void answer.once('drain', write)
        }
        answer.end()
      }
      write()
    })
    const { port } = await bench(web.port)
    const socket = netConnect({ port, host: '127.0.0.1' })
    later(() => socket.destroy())
    socket.pause()
    socket.write('GET / HTTP/1.1\r\nHost: a\r\n\r\n')
    let last = -1
    await settled(() => written > 0)
    for (let same = 0; same < 20; same = written === last ? same + 1 : 0) {
      last = written
      await new Promise((resolve) => setTimeout(resolve, 10))
    }
    expect(written).toBeLessThan(48 * 1_048_576)
    socket.resume()
    await settled(() => written >= 64 * 1_048_576)
  })
})

describe('bounds', () => {
  it('on requests under way, on connections, and on the time for a header', async () => {
    const web = await target((asked, answer) => {
      if (asked.url !== '/wait') answer.end('ok')
    })
    const one = await bench(web.port, { limits: { maxRequests: 1 } })
    const waiting = request({ port: one.port, host: '127.0.0.1', agent: false, path: '/wait' }).on('error', () => {})
    waiting.end()
    await settled(() => one.ways.opened === 1)
    expect(await ask(one.port)).toMatchObject({ status: 503, body: '503 Service Unavailable\n\nThere are too many requests at present.\n' })
    waiting.destroy()
    await settled(() => one.front.statistics().requestsOpen === 0)
    expect((await ask(one.port)).status).toBe(200)

    const few = await bench(web.port, { limits: { maxConnections: 2 } })
    const sockets = Array.from({ length: 2 }, () => netConnect({ port: few.port, host: '127.0.0.1' }))
    for (const socket of sockets) later(() => socket.destroy())
    await settled(() => few.front.statistics().connections === 2)
    await expect(ask(few.port)).rejects.toThrow()
    expect(few.front.statistics().failed['maxConnections']).toBeGreaterThan(0)

    const slow = await bench(web.port, { limits: { headerTimeoutMs: 200 } })
    expect(await raw(slow.port, '')).toBe('')
    expect(await raw(slow.port, 'GET / HTTP/1.1\r\nHost: a\r\nX-')).toMatch(/^HTTP\/1\.1 408 /)
    expect(await raw(slow.port, 'PRI * HT')).toBe('')
    const client = session(slow.port)
    expect((await ask2(client, { ':path': '/' })).body).toBe('ok')
  })

  it('ends what is idle, and on close what is left, in order', async () => {
    const web = await target((asked, answer) => {
      if (asked.url === '/slow') setTimeout(() => answer.end('done'), 100)
      else if (asked.url === '/ever') answer.write('and ')
      else answer.end('ok')
    })
    const idle = await bench(web.port, { limits: { keepAliveMs: 100 } })
    expect(await raw(idle.port, 'GET / HTTP/1.1\r\nHost: a\r\n\r\n')).toMatch(/200 OK/)
    const client = session(idle.port)
    await ask2(client, { ':path': '/' })
    await settled(() => client.closed)
    const { port, front, seen } = await bench(web.port)
    const slow = ask(port, { path: '/slow' })
    const slow2 = ask2(session(port), { ':path': '/slow' })
    const ever = ask(port, { path: '/ever' })
    ever.catch(() => {})
    await settled(() => front.statistics().durations.response.count >= 1 && front.statistics().requestsOpen === 3)
    const closing = front.close({ drainMs: 600 })
    expect((await slow).body).toBe('done')
    expect((await slow2).body).toBe('done')
    await expect(ever).rejects.toThrow()
    await closing
    expect(seen.map(({ reason }) => reason)).toEqual([null, null, 'shutdown'])
    await expect(ask(port)).rejects.toThrow(/ECONNREFUSED/)
  })
})

describe('options', () => {
  it('are checked before anything is bound', async () => {
    const open = async (): Promise<never> => { throw new Error('no') }
    for (const [options, code] of [
      [{ open }, 'QB_OPTION_INVALID'], [{ http: '127.0.0.1:0' }, 'QB_OPTION_INVALID'], [{ open, session: open, http: '127.0.0.1:0' }, 'QB_OPTION_INVALID'], [{ open, https: '127.0.0.1:0' }, 'QB_OPTION_INVALID'],
      [{ open, http: 'x' }, 'QB_OPTION_INVALID'], [{ open, http: '127.0.0.1:0', limit: {} }, 'QB_OPTION_UNKNOWN'], [{ open, https: '127.0.0.1:0', tls: { cert: 'x', key: 'y' } }, 'QB_TLS_IDENTITY'],
    ] as const) await expect(HttpFront.listen(options as never)).rejects.toMatchObject({ code })
    const blocker = await target(() => {})
    await expect(HttpFront.listen({ open, http: `127.0.0.1:${blocker.port}` })).rejects.toMatchObject({ code: 'QB_BIND_FAILED' })
  })
})
