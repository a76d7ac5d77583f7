/** The HTTP front and clients who mean harm: several requests on one connection, ends at the wrong moment, fields that claim what is not so. */
import type { ServerResponse } from 'node:http'
import { connect as netConnect, createServer as createNet } from 'node:net'
import type { AddressInfo } from 'node:net'
import { Duplex } from 'node:stream'
import { describe, expect, it } from 'vitest'
import { DATA, END_HEADERS, END_STREAM, GET, GOAWAY, HEADERS, POST, RST_STREAM, Rough, WINDOW_UPDATE, fields, frame, framesOf } from './frames.ts'
import { ask, ask2, bench, later, raw, session, settled, target } from './front-kit.ts'

describe('a client who goes at the wrong moment', () => {
  it('ends nothing but his request: a stream that he closes without an error, while the service does not take his body', async () => {
    const ways: Duplex[] = []
    const { port, front, seen } = await bench(0, {
      open: async () => {
        const way = new Duplex({ read: () => {}, write: () => {} })
        ways.push(way)
        return way
      },
    })
    const rough = new Rough(port)
    rough.say(frame(HEADERS, END_HEADERS, 1, fields([...POST, ['content-length', '60000']])), ...Array.from({ length: 4 }, () => frame(DATA, 0, 1, Buffer.alloc(10_000))))
    await settled(() => front.statistics().durations.open.count === 1)
    // What is in it stays unread.
    await new Promise((resolve) => setTimeout(resolve, 50))
    rough.say(frame(RST_STREAM, 0, 1, Buffer.alloc(4)))
    await settled(() => seen.length === 1 && ways[0]!.destroyed)
    expect(seen[0]).toMatchObject({ reason: 'client', status: null })
    rough.say(frame(HEADERS, END_HEADERS | END_STREAM, 3, fields(GET)))
    await settled(() => ways.length === 2)
    ways[1]!.push('HTTP/1.1 204 No Content\r\n\r\n')
    await settled(() => rough.has(HEADERS, 3))
  })

  it('does not take the process along when the service answers a stream that is closed already', async () => {
    let way: Duplex | null = null
    const { port, front, seen } = await bench(0, { open: async () => (way = new Duplex({ read: () => {}, write: () => {} })) })
    const rough = new Rough(port)
    rough.say(frame(HEADERS, END_HEADERS, 1, fields([...POST, ['content-length', '60000']])), ...Array.from({ length: 4 }, () => frame(DATA, 0, 1, Buffer.alloc(10_000))))
    await settled(() => front.statistics().durations.open.count === 1)
    await new Promise((resolve) => setTimeout(resolve, 50))
    rough.say(frame(RST_STREAM, 0, 1, Buffer.alloc(4)))
    await new Promise((resolve) => setTimeout(resolve, 50))
    way!.push('HTTP/1.1 103 Early Hints\r\nLink: </a>; rel=preload\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok')
    await settled(() => seen.length === 1)
    expect(seen[0]).toMatchObject({ reason: 'client' })
  })

  it('is let go of when a change of protocol was refused, whatever he still says', async () => {
    const { port, front } = await bench(0, { open: () => Promise.reject(new Error('nobody')) })
    const socket = netConnect({ port, host: '127.0.0.1', allowHalfOpen: true })
    later(() => socket.destroy())
    socket.on('error', () => {})
    let all = ''
    socket.on('data', (chunk) => (all += chunk))
    socket.write('GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n')
    await settled(() => all.includes('502'))
    socket.write('more and more')
    // He never ends his side.
    await settled(() => front.statistics().connections === 0)
  })

  it('is let go of after an error in his HTTP/2, on which Node reads no more of the connection and tells nobody', async () => {
    const web = await target(() => {})
    const { port, front } = await bench(web.port, { limits: { keepAliveMs: 100, responseTimeoutMs: 100, idleTimeoutMs: 100 } })
    const rough = new Rough(port)
    rough.say(frame(HEADERS, END_HEADERS | END_STREAM, 1, fields(POST)))
    await settled(() => front.statistics().requestsOpen === 1)
    // Behind the end of the stream (RFC 9113 §5.1: STREAM_CLOSED).
    rough.say(frame(DATA, 0, 1, Buffer.alloc(4000)))
    await settled(() => rough.has(GOAWAY, 0))
    rough.socket.destroy()
    await settled(() => front.statistics().connections === 0)
  })

  it('is let go of when his connection has been idle, however long he keeps his side open', async () => {
    const { port, front } = await bench(0, { limits: { keepAliveMs: 100 } })
    const rough = new Rough(port)
    await settled(() => front.statistics().connections === 1)
    await settled(() => rough.has(GOAWAY, 0))
    await settled(() => front.statistics().connections === 0)
  })
})

describe('several requests on one connection', () => {
  it('one that changes the protocol behind one that is not answered ends the connection, not the process', async () => {
    const web = await target(() => {})
    for (const second of ['GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n', 'GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n', 'CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n']) {
      const { port, front } = await bench(web.port)
      expect(await raw(port, `GET /slow HTTP/1.1\r\nHost: a\r\n\r\n${second}`)).toBe('')
      await settled(() => front.statistics().requestsOpen === 0 && front.statistics().connections === 0)
    }
  })

  it('are begun one after another, in order (RFC 9112 §9.3.2)', async () => {
    const answers: ServerResponse[] = []
    const web = await target((_, answer) => void answers.push(answer))
    const { port, ways, front } = await bench(web.port)
    const all = raw(port, 'POST /1 HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\n1POST /2 HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\n2GET /3 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n')
    for (let at = 0; at < 3; at++) {
      await settled(() => answers.length === at + 1)
      expect([ways.opened, front.statistics().requestsOpen]).toEqual([at + 1, 1])
      answers[at]!.end(`answer ${at}`)
    }
    expect(await all).toMatch(/answer 0[^]*answer 1[^]*answer 2/)
  })

  it('are as many as a connection of HTTP/2 may have; more end it', async () => {
    const web = await target(() => {})
    const { port, ways, front } = await bench(web.port, { limits: { maxStreams: 8 } })
    expect(await raw(port, 'GET / HTTP/1.1\r\nHost: a\r\n\r\n'.repeat(20))).toBe('')
    await settled(() => front.statistics().requestsOpen === 0)
    expect(ways.opened).toBeLessThanOrEqual(1)
    expect(front.statistics().failed['maxStreams']).toBe(1)
  })

  it('do not go on when the client has gone', async () => {
    const web = await target(() => {})
    const { port, ways, front } = await bench(web.port)
    const socket = netConnect({ port, host: '127.0.0.1' })
    socket.write('GET / HTTP/1.1\r\nHost: a\r\n\r\n'.repeat(5))
    await settled(() => ways.opened === 1)
    socket.destroy()
    await settled(() => ways.live.size === 0 && front.statistics().requestsOpen === 0)
    expect(ways.opened).toBe(1)
  })

  it('nothing is written into a response that has begun, when what follows is no HTTP', async () => {
    let answer: ServerResponse | null = null
    const web = await target((_, response) => {
      answer = response
      response.writeHead(200, { 'content-length': '8' })
      response.write('four')
    })
    const { port } = await bench(web.port)
    const socket = netConnect({ port, host: '127.0.0.1' })
    later(() => socket.destroy())
    let all = ''
    let closed = false
    socket.on('data', (chunk) => (all += chunk)).once('close', () => (closed = true))
    socket.write('GET / HTTP/1.1\r\nHost: a\r\n\r\n')
    await settled(() => all.endsWith('four'))
    socket.write('\x16\x03\x01 no HTTP\r\n\r\n')
    await new Promise((resolve) => setTimeout(resolve, 50))
    answer!.end('more')
    await settled(() => closed)
    expect(all.split('\r\n\r\n')[1]).toBe('fourmore')
  })

  it('may wish for HTTP/2 each time, without traces', async () => {
    const warnings: Error[] = []
    const onWarning = (warning: Error): void => void warnings.push(warning)
    process.on('warning', onWarning)
    const web = await target((_, answer) => answer.end('ok'))
    const { port } = await bench(web.port)
    const socket = netConnect({ port, host: '127.0.0.1' })
    later(() => socket.destroy())
    let all = ''
    socket.on('data', (chunk) => (all += chunk))
    for (let at = 1; at <= 30; at++) {
      socket.write('GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n')
      await settled(() => (all.match(/200 OK/g) ?? []).length === at)
    }
    await new Promise((resolve) => setImmediate(resolve))
    process.off('warning', onWarning)
    expect(warnings).toEqual([])
  })
})

/** A way that answers at once with these bytes, and then does as it is told. */
function waysThat(answer: string, then: (way: Duplex) => void): { open: () => Promise<Duplex>; ways: Duplex[] } {
  const ways: Duplex[] = []
  return {
    ways,
    open: async () => {
      const way = new Duplex({ read: () => {}, write: (_chunk, _encoding, done) => done(), final: (done) => done() })
      ways.push(way)
      way.push(answer)
      then(way)
      return way
    },
  }
}

describe('an answer that comes before the request has ended', () => {
  const BIG = 4 * 1_048_576

  it('is whole for a client who reads it slowly and goes on with his upload', async () => {
    const { open } = waysThat(`HTTP/1.1 413 Too Large\r\nContent-Length: 3000\r\n\r\n${'x'.repeat(3000)}`, () => {})
    const { port, seen } = await bench(0, { open })
    // INITIAL_WINDOW_SIZE 1000
    const rough = new Rough(port, Buffer.from([0, 4, 0, 0, 3, 0xe8]))
    const got = (): number => framesOf(rough.bytes).filter(({ type, stream }) => type === DATA && stream === 1).reduce((sum, { body }) => sum + body.length, 0)
    rough.say(frame(HEADERS, END_HEADERS, 1, fields([...POST, ['content-length', '60000']])))
    await settled(() => got() === 1000)
    for (let at = 0; at < 4; at++) {
      rough.say(frame(DATA, 0, 1, Buffer.alloc(10_000)))
      await new Promise((resolve) => setTimeout(resolve, 10))
    }
    rough.say(frame(WINDOW_UPDATE, 0, 1, Buffer.from([0, 0, 0xff, 0xff])))
    await settled(() => got() === 3000, 'the whole answer')
    await settled(() => seen.length === 1)
    expect(seen[0]).toMatchObject({ status: 413, bytesDown: 3000, reason: null })
  })

  it('is whole when the service breaks off behind it, while the client still reads', async () => {
    const { open, ways } = waysThat(`HTTP/1.1 200 OK\r\nContent-Length: 3000\r\n\r\n${'x'.repeat(3000)}`, () => {})
    const { port, seen } = await bench(0, { open })
    const rough = new Rough(port, Buffer.from([0, 4, 0, 0, 3, 0xe8]))
    const got = (): number => framesOf(rough.bytes).filter(({ type, stream }) => type === DATA && stream === 1).reduce((sum, { body }) => sum + body.length, 0)
    rough.say(frame(HEADERS, END_HEADERS, 1, fields([...POST, ['content-length', '60000']])))
    await settled(() => got() === 1000)
    ways[0]!.destroy(new Error('reset'))
    await new Promise((resolve) => setTimeout(resolve, 20))
    rough.say(frame(WINDOW_UPDATE, 0, 1, Buffer.from([0, 0, 0xff, 0xff])))
    await settled(() => got() === 3000, 'the whole answer')
    await settled(() => seen.length === 1)
    expect(seen[0]).toMatchObject({ status: 200, bytesDown: 3000, reason: null })
  })

  it('is whole when the service breaks off behind it, of either framing', async () => {
    const body = 'x'.repeat(BIG)
    for (const framing of [`Content-Length: ${BIG}\r\n`, '']) {
      const { open } = waysThat(`HTTP/1.1 200 OK\r\n${framing}\r\n${body}`, (way) => {
        way.push(null)
        way.once('end', () => way.destroy(new Error('EPIPE')))
      })
      const { port, seen } = await bench(0, { open })
      const socket = netConnect({ port, host: '127.0.0.1' })
      later(() => socket.destroy())
      socket.on('error', () => {})
      socket.pause()
      socket.write('POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nsome')
      await new Promise((resolve) => setTimeout(resolve, 50))
      let count = 0
      socket.on('data', (bytes) => (count += bytes.length))
      socket.resume()
      await settled(() => count > BIG, 'the whole answer')
      await settled(() => seen.length === 1)
      expect(seen[0]).toMatchObject({ status: 200, bytesDown: BIG, reason: null })
    }
  })

  it('is an answer of the front, too: what still comes of the request does not reset the connection at once (RFC 9112 §9.6)', async () => {
    const { port, front } = await bench(0, { open: () => Promise.reject(new Error('nobody')) })
    const socket = netConnect({ port, host: '127.0.0.1', allowHalfOpen: true })
    later(() => socket.destroy())
    let broken: Error | null = null
    let all = ''
    let ended = false
    socket.on('error', (error) => (broken = error))
    socket.on('data', (chunk) => (all += chunk)).once('end', () => (ended = true))
    socket.write('POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\nsome')
    await settled(() => ended)
    expect(all).toMatch(/^HTTP\/1\.1 502 [^]*connection: close/i)
    for (let at = 0; at < 10; at++) {
      socket.write(Buffer.alloc(1000))
      await new Promise((resolve) => setTimeout(resolve, 10))
    }
    expect(broken).toBe(null)
    // But not for ever.
    await settled(() => front.statistics().connections === 0)
  })
})

describe('what a client claims', () => {
  it('of whom he speaks for is thrown away in every spelling, unless he is to be believed', async () => {
    const web = await target((asked, answer) => answer.end(JSON.stringify(asked.rawHeaders)))
    const { port } = await bench(web.port)
    const claims = { 'X-Forwarded-For': '6.6.6.6', 'X_Forwarded_For': '6.6.6.6', 'X-Forwarded-Prefix': '/6.6.6.6', 'X-Forwarded-Scheme': '6.6.6.6', 'X-Forwarded-Ssl': '6.6.6.6', 'X-Forwarded_Proto': '6.6.6.6', 'X-Real-IP': '6.6.6.6', 'X_Real_IP': '6.6.6.6', 'Forwarded': 'for=6.6.6.6' }
    expect((await ask(port, { headers: claims })).body).not.toContain('6.6.6.6')
    expect((await ask2(session(port), { ':path': '/', ...Object.fromEntries(Object.entries(claims).map(([name, value]) => [name.toLowerCase(), value])) })).body).not.toContain('6.6.6.6')
    const believing = await bench(web.port, { forwarded: 'append' })
    const list = JSON.parse((await ask(believing.port, { headers: { Forwarded: 'for=6.6.6.6' } })).body) as string[]
    expect(list[list.findIndex((name) => name.toLowerCase() === 'forwarded') + 1]).toBe('for=6.6.6.6, for=127.0.0.1;proto=http')
  })

  it('a change of protocol names a host, too', async () => {
    const web = await target((_, answer) => answer.end('ok'))
    const { port, ways } = await bench(web.port)
    expect(await raw(port, 'GET / HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n')).toMatch(/^HTTP\/1\.1 400 /)
    expect(ways.opened).toBe(0)
  })
})

describe('answers with a length that is not theirs', () => {
  it.each([
    ['204', 'HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n', 204],
    ['205', 'HTTP/1.1 205 Reset Content\r\nContent-Length: 0\r\n\r\n', 205],
    ['a hint', 'HTTP/1.1 103 Early Hints\r\nLink: </a>; rel=preload\r\nContent-Length: 5\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n', 200],
  ])('%s is passed on without it', async (_, bytes, status) => {
    const server = createNet((socket) => void socket.on('error', () => {}).once('data', () => socket.end(bytes)))
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    later(() => server.close())
    const { port, seen } = await bench((server.address() as AddressInfo).port)
    const client = session(port)
    expect(await ask2(client, { ':path': '/' })).toMatchObject({ status })
    const answer = await raw(port, 'GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n')
    if (status === 204) expect(answer).not.toMatch(/content-length/i)
    await settled(() => seen.length === 2)
    expect(seen.map(({ reason }) => reason)).toEqual([null, null])
  })
})

it('whoever still waits when the front closes is told so, in both versions', async () => {
  const web = await target(() => {})
  const { port, front, seen, ways } = await bench(web.port)
  const [one, two] = [ask(port), ask2(session(port), { ':path': '/' })]
  await settled(() => ways.opened === 2)
  await front.close()
  expect((await one).status).toBe(503)
  expect((await two).status).toBe(503)
  expect(seen.map(({ reason, status }) => [reason, status])).toEqual([['shutdown', 503], ['shutdown', 503]])
})
