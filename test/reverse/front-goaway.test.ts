/** GOAWAY of a client between his requests. Node 20 answers it, and ends the session, while nghttp2 still reads, which corrupts the process's memory. */
import { createServer } from 'node:http2'
import type { ServerHttp2Session } from 'node:http2'
import type { AddressInfo } from 'node:net'
import { describe, expect, it } from 'vitest'
import { closesInOwnTurn } from '../../src/reverse/front/index.ts'
import { END_HEADERS, END_STREAM, GET, GOAWAY, HEADERS, Rough, fields, frame } from './frames.ts'
import { ask2, bench, later, session, target } from './front-kit.ts'
import { seeded } from './seeded.ts'

const PING = 6
const LEAVES = frame(GOAWAY, 0, 0, Buffer.alloc(8))
const ASKS = (stream: number): Buffer => frame(HEADERS, END_HEADERS | END_STREAM, stream, fields(GET))

describe('a client of HTTP/2 who says GOAWAY', () => {
  it('is answered in a turn of its own, not within the reading of the frame', async () => {
    const server = createServer()
    later(() => server.close())
    const answered = new Promise<string>((resolve) => {
      server.on('session', (one: ServerHttp2Session) => {
        closesInOwnTurn(one)
        const goaway = one.goaway.bind(one)
        one.goaway = (...parameters) => {
          resolve(new Error('here').stack ?? '')
          goaway(...parameters)
        }
      })
    })
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    new Rough((server.address() as AddressInfo).port).say(LEAVES)
    expect(await answered).not.toMatch(/onGoawayData/)
  })

  it('and asks on, on many connections at once, does not take the process along', { timeout: 60_000 }, async () => {
    const service = await target((_, response) => response.end('well'))
    const { port } = await bench(service.port)
    const random = seeded(7)
    const client = async (): Promise<void> => {
      const rough = new Rough(port)
      const frames = Array.from({ length: 1 + Math.floor(random() * 15) }, (_, index) => (random() < 0.5 ? LEAVES : ASKS(1 + 2 * index)))
      for (const one of frames) {
        rough.say(one)
        if (random() < 0.5) await new Promise((resolve) => setImmediate(resolve))
      }
      // What was said is read when this is answered, or the connection has ended.
      rough.say(frame(PING, 0, 0, Buffer.alloc(8)))
      await new Promise<void>((resolve) => {
        rough.socket.on('data', () => rough.has(PING, 0) && resolve()).once('end', resolve).once('close', resolve)
      })
      rough.socket.destroy()
    }
    for (let round = 0; round < 5; round++) await Promise.all(Array.from({ length: 40 }, client))
    expect(await ask2(session(port), { ':path': '/' })).toMatchObject({ status: 200, body: 'well' })
  })
})
