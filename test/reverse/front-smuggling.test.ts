/** Requests of HTTP/2 that would be others if somebody wrote them as HTTP/1.1 (RFC 9113 §8.2.1, §10.3): bytes that Node's own clients never send. */
import { describe, expect, it } from 'vitest'
import { DATA, END_HEADERS, END_STREAM, GET, HEADERS, POST, RST_STREAM, Rough, fields, frame } from './frames.ts'
import { ask2, bench, bodyOf, session, settled, target } from './front-kit.ts'

const instead = (name: string, value: string): [string, string][] => GET.map(([key, old]) => [key, key === name ? value : old])

describe('requests of HTTP/2 that HTTP/1.1 would read otherwise', () => {
  it.each<[string, [string, string][], string?]>([
    ['a name in capital letters', [...GET, ['X', 'a']]],
    ['transfer-encoding', [...POST, ['transfer-encoding', 'chunked']], '0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n'],
    ['connection', [...GET, ['connection', 'x']]],
    ['upgrade', [...GET, ['upgrade', 'h2c']]],
    ['te of anything but trailers', [...GET, ['te', 'gzip']]],
    ['a space in the path', instead(':path', '/ HTTP/1.1')],
    ['a line end in the path', instead(':path', '/ HTTP/1.1\r\nHost: b\r\n\r\nGET /smuggled')],
    ['a fragment in the path', instead(':path', '/a#b')],
    ['a path without a slash', instead(':path', 'a')],
    ['a space in the method', instead(':method', 'GET /smuggled')],
    ['a method in small letters', instead(':method', 'connect')],
    ['a line end in the authority', instead(':authority', 'a\r\nx: y')],
    ['a user in the authority', instead(':authority', 'me@a')],
    ['a path in the authority', instead(':authority', 'a/b')],
    ['two paths', [...GET, [':path', '/b']]],
    ['a pseudo field behind others', [...GET.slice(1), ['x', 'y'], [':method', 'GET']]],
    ['another host', [...GET, ['host', 'b']]],
    ['two lengths', [...POST, ['content-length', '5'], ['content-length', '5']], 'hello'],
    ['a length that is none', [...POST, ['content-length', '+5']], 'hello'],
    ['a length that is too small', [...POST, ['content-length', '2']], 'hello'],
    ['a length that is too large', [...POST, ['content-length', '6']], 'hello'],
    ['a length without a body', [...POST, ['content-length', '6']]],
  ])('%s: the service never has a whole request', async (_, list, body) => {
    const whole: string[] = []
    const web = await target(async (asked, answer) => {
      asked.on('error', () => {})
      await bodyOf(asked)
      whole.push(`${asked.method} ${asked.url}`)
      answer.end('ok')
    })
    const { port, front } = await bench(web.port)
    const rough = new Rough(port)
    rough.say(frame(HEADERS, END_HEADERS | (body === undefined ? END_STREAM : 0), 1, fields(list)), ...(body === undefined ? [] : [frame(DATA, END_STREAM, 1, Buffer.from(body))]))
    await settled(() => rough.has(RST_STREAM, 1) || rough.has(HEADERS, 1) || rough.socket.destroyed)
    await settled(() => front.statistics().requestsOpen === 0)
    expect(whole).toEqual([])
    // Nobody else is hurt.
    expect(await ask2(session(port), { ':path': '/after' })).toMatchObject({ status: 200 })
    expect(whole).toEqual(['GET /after'])
  })

  it.each<[string, string, string]>([
    ['a line feed in a value', 'x', 'a\nb: evil'],
    ['a carriage return in a value', 'x', 'a\rb: evil'],
    ['both in a value', 'x', 'a\r\ntransfer-encoding: chunked\r\nb: evil'],
    ['a zero in a value', 'x', 'a\0evil'],
    ['a line end in a name', 'x: y\r\nevil', 'a'],
    ['a space in a name', 'x evil', 'a'],
    ['a colon in a name', 'x:evil', 'a'],
  ])('%s: the service has nothing of it', async (_, name, value) => {
    const heads: string[] = []
    const web = await target((asked, answer) => {
      heads.push(JSON.stringify(asked.rawHeaders))
      answer.end('ok')
    })
    const { port, ways } = await bench(web.port)
    const rough = new Rough(port)
    rough.say(frame(HEADERS, END_HEADERS | END_STREAM, 1, fields([...GET, [name, value]])))
    await settled(() => rough.has(RST_STREAM, 1) || rough.has(HEADERS, 1))
    expect([...heads, ...ways.heads].join('')).not.toContain('evil')
    expect(heads.length).toBeLessThanOrEqual(1)
  })

  it.each(['h2c', 'H2C', 'tls/1.2', 'websocket, h2c', 'two words', ''])('a change to %j is not asked of a service', async (protocol) => {
    const web = await target((_, answer) => answer.end('ok'))
    web.server.on('upgrade', (_, socket) => socket.destroy())
    const { port, ways } = await bench(web.port)
    const rough = new Rough(port)
    rough.say(frame(HEADERS, END_HEADERS, 1, fields([[':method', 'CONNECT'], [':protocol', protocol], [':scheme', 'http'], [':path', '/'], [':authority', 'a']])))
    await settled(() => rough.has(HEADERS, 1) || rough.has(RST_STREAM, 1))
    expect(ways.opened).toBe(0)
  })
})
