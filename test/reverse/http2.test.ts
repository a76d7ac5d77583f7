/** Reverse connections over TCP as HAProxy's `rhttp@` speaks them (reverse.md §9): the bytes of both roles, the pool, and what goes wrong. No HAProxy: what it sends and expects is written here by hand. */
import { createServer, connect as netConnect } from 'node:net'
import type { AddressInfo, Server } from 'node:net'
import type { ClientHttp2Session, OutgoingHttpHeaders } from 'node:http2'
import { describe, expect, it } from 'vitest'
import { Gateway, HttpFront, PREFACE } from '../../src/reverse/front/index.ts'
import { reverseHttp2Connect, reverseHttp2Listen } from '../../src/reverse/http2/index.ts'
import type { ReverseHttp2Handler, ReverseHttp2Listener } from '../../src/reverse/http2/index.ts'
import { authorityOf, leafOf } from '../tls/certificates.ts'
import { DATA, GOAWAY, HEADERS, RST_STREAM, SETTINGS, frame, framesOf } from './frames.ts'
import { Peer, dial, listen } from './http2-kit.ts'
import { Ways, ask, ask2, bodyOf, later, portOf, settled, target } from './front-kit.ts'

/** GET / of http://a, from the static table. */
const REQUEST = Buffer.from([0x82, 0x84, 0x86, 0x41, 0x01, 0x61])
/** :status 200 */
const OK = Buffer.from([0x88])

/** A public end that does what `onPeer` says. */
async function acceptor(onPeer: (peer: Peer) => void): Promise<{ port: number; peers: Peer[]; server: Server }> {
  const peers: Peer[] = []
  const server = createServer((socket) => {
    const peer = new Peer(socket)
    peers.push(peer)
    onPeer(peer)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  later(() => server.close())
  return { port: (server.address() as AddressInfo).port, peers, server }
}

async function asks(listener: ReverseHttp2Listener, headers: OutgoingHttpHeaders, body?: Buffer): Promise<{ status: number; body: string }> {
  return ask2(await listener.session('web'), headers, body)
}

describe('the private end on the wire', () => {
  it('sends the preface and SETTINGS first, and serves streams that the acceptor opens without one', async () => {
    const { port, peers } = await acceptor((peer) => peer.socket.write(frame(SETTINGS, 0, 0)))
    const { dialler, states } = dial(port)
    await settled(() => dialler.state === 'FULL')
    const [peer] = peers
    await settled(() => framesOf(peer!.bytes.subarray(24)).length >= 2)
    expect(peer!.bytes.subarray(0, 24)).toEqual(PREFACE)
    const [first] = framesOf(peer!.bytes.subarray(24))
    expect([first?.type, first?.flags, first?.stream]).toEqual([SETTINGS, 0, 0])
    peer!.socket.write(Buffer.concat([frame(SETTINGS, 1, 0), frame(HEADERS, 5, 1, REQUEST), frame(HEADERS, 5, 3, REQUEST)]))
    await settled(() => framesOf(peer!.bytes.subarray(24)).filter(({ type, flags }) => type === DATA && (flags & 1) === 1).length === 2)
    const frames = framesOf(peer!.bytes.subarray(24))
    expect(frames.filter(({ type }) => type === HEADERS).map(({ stream, body }) => [stream, body[0]])).toEqual([[1, 0x88], [3, 0x88]])
    expect(Buffer.concat(frames.filter(({ type, stream }) => type === DATA && stream === 1).map(({ body }) => body)).toString()).toBe('/')
    expect(peer!.bytes.subarray(24).includes(PREFACE)).toBe(false)
    expect(states.map(({ state }) => state)).toEqual(['INIT', 'FULL'])
  })

  it('gives up on an acceptor that is silent, after the connect timeout, and comes again; one event for all of it (reverse V12, V13)', async () => {
    const { port, peers } = await acceptor(() => {})
    const { dialler, states } = dial(port, { connectTimeoutMs: 100 })
    await settled(() => peers.length >= 3)
    await settled(() => peers[0]!.closed && peers[1]!.closed)
    for (let at = 1; at < 3; at++) expect(peers[at]!.atMs - peers[at - 1]!.atMs).toBeGreaterThanOrEqual(140)
    await dialler.stop()
    expect(states.map(({ state }) => state)).toEqual(['INIT', 'ERR', 'STOP'])
    expect(states[1]?.error).toMatchObject({ code: 'QB_REVERSE_TIMEOUT' })
    const count = peers.length
    await new Promise((resolve) => setTimeout(resolve, 200))
    expect(peers.length).toBe(count)
  })

  it('comes again after the pause when it is closed before SETTINGS, after garbage, and when nobody is there (reverse V13, V31)', async () => {
    let how = 0
    const { port, peers } = await acceptor(({ socket }) => {
      how += 1
      if (how === 1) socket.end()
      else if (how === 2) socket.write('HTTP/1.1 400 Bad Request\r\n\r\n')
      else if (how === 3) socket.resetAndDestroy()
      else socket.write(frame(SETTINGS, 0, 0))
    })
    const { dialler, states } = dial(port)
    await settled(() => dialler.state === 'FULL')
    // Each fails for a reason of its own.
    expect(states.map(({ state }) => state)).toEqual(['INIT', 'ERR', 'ERR', 'ERR', 'FULL'])
    expect(states[1]?.reason).toMatch(/closed the connection before its SETTINGS came/)
    for (let at = 1; at < 4; at++) expect(peers[at]!.atMs - peers[at - 1]!.atMs).toBeGreaterThanOrEqual(45)
    const nobody = dial(1)
    await settled(() => nobody.states.length === 2)
    expect(nobody.states[1]).toMatchObject({ state: 'ERR', error: { code: 'QB_CONNECT_REFUSED' } })
    const name = dial(1, { to: 'rhttp@does-not-exist.invalid:1' })
    await settled(() => name.dialler.state === 'ERR')
    expect(name.states[1]?.error).toMatchObject({ code: 'QB_RESOLVE_FAILED' })
  })

  it('makes its pool one after another, and replaces what was closed at once if it had lived for a second (reverse V10, V14)', async () => {
    const { port, peers } = await acceptor((peer) => setImmediate(() => peer.socket.write(frame(SETTINGS, 0, 0))))
    const { dialler } = dial(port, { pool: 3, retry: { minMs: 20_000, maxMs: 20_000 } })
    await settled(() => dialler.size === 3 && dialler.state === 'FULL')
    await new Promise((resolve) => setTimeout(resolve, 1100))
    peers[0]!.socket.destroy()
    await settled(() => dialler.size === 3 && peers.length === 4)
    peers[3]!.socket.destroy()
    await settled(() => dialler.size === 2)
    await new Promise((resolve) => setTimeout(resolve, 100))
    expect(peers.length).toBe(4)
  })

  it('takes a connection out of its pool at GOAWAY and replaces it; what is under way ends (reverse V48)', async () => {
    const { port, peers } = await acceptor((peer) => peer.socket.write(frame(SETTINGS, 0, 0)))
    let finish = (): void => {}
    const { dialler } = dial(port, {}, (stream) => {
      stream.respond({ ':status': 200 })
      finish = () => stream.end('late')
    })
    await settled(() => dialler.state === 'FULL')
    await new Promise((resolve) => setTimeout(resolve, 1050))
    const [peer] = peers
    let began = false
    peer!.socket.write(Buffer.concat([frame(SETTINGS, 1, 0), frame(HEADERS, 5, 1, REQUEST)]))
    await settled(() => (began = framesOf(peer!.bytes.subarray(24)).some(({ type }) => type === HEADERS)) && began)
    peer!.socket.write(frame(GOAWAY, 0, 0, Buffer.alloc(8)))
    await settled(() => peers.length === 2 && dialler.state === 'FULL')
    finish()
    await settled(() => framesOf(peer!.bytes.subarray(24)).some(({ type, flags }) => type === DATA && (flags & 1) === 1))
  })

  it('ends a connection whose other end does not answer PING any more (reverse V45)', async () => {
    const { port, peers } = await acceptor((peer) => peer.socket.write(frame(SETTINGS, 0, 0)))
    dial(port, { pingMs: 50 })
    await settled(() => peers.length >= 1 && peers[0]!.closed)
    expect(framesOf(peers[0]!.bytes.subarray(24)).filter(({ type }) => type === 6).length).toBeGreaterThan(0)
  })

  it('resets the stream of a handler that throws, and that one alone', async () => {
    const { port, peers } = await acceptor((peer) => peer.socket.write(frame(SETTINGS, 0, 0)))
    let count = 0
    dial(port, {}, (stream) => {
      count += 1
      if (count === 1) throw new Error('oh')
      if (count === 2) return Promise.reject(new Error('late'))
      stream.respond({ ':status': 200 }, { endStream: true })
      return undefined
    })
    await settled(() => peers.length === 1)
    peers[0]!.socket.write(Buffer.concat([frame(SETTINGS, 1, 0), frame(HEADERS, 5, 1, REQUEST), frame(HEADERS, 5, 3, REQUEST), frame(HEADERS, 5, 5, REQUEST)]))
    await settled(() => framesOf(peers[0]!.bytes.subarray(24)).some(({ type, stream }) => type === HEADERS && stream === 5))
    expect(framesOf(peers[0]!.bytes.subarray(24)).filter(({ type }) => type === RST_STREAM).map(({ stream, body }) => [stream, body.readUInt32BE()])).toEqual([[1, 2], [3, 2]])
  })
})

describe('the public end on the wire', () => {
  const hello = Buffer.concat([PREFACE, frame(SETTINGS, 0, 0)])

  async function dialled(port: number, bytes: Buffer): Promise<Peer> {
    const socket = netConnect({ port, host: '127.0.0.1' })
    const peer = new Peer(socket)
    await new Promise<void>((resolve) => socket.once('connect', resolve))
    for (const byte of bytes) socket.write(Buffer.from([byte]))
    return peer
  }

  it('sends SETTINGS and never the preface, and opens odd streams', async () => {
    const { listener, port } = await listen()
    const peer = await dialled(port, hello)
    await settled(() => listener.sizes()['web'] === 1)
    const session = await listener.session('web')
    const answers = [ask2(session, { ':path': '/a' }), ask2(session, { ':path': '/b' })]
    await settled(() => framesOf(peer.bytes).filter(({ type }) => type === HEADERS).length === 2)
    const frames = framesOf(peer.bytes)
    expect([frames[0]?.type, frames[0]?.flags, frames[0]?.stream]).toEqual([SETTINGS, 0, 0])
    expect(frames.filter(({ type }) => type === HEADERS).map(({ stream }) => stream)).toEqual([1, 3])
    expect(peer.bytes.includes(PREFACE)).toBe(false)
    peer.socket.write(Buffer.concat([frame(SETTINGS, 1, 0), frame(HEADERS, 5, 1, OK), frame(HEADERS, 5, 3, OK)]))
    expect((await Promise.all(answers)).map(({ status }) => status)).toEqual([200, 200])
  })

  it('refuses what does not begin with the preface, and what is silent', async () => {
    const { listener, events, port } = await listen({ helloTimeoutMs: 150 })
    const other = await dialled(port, Buffer.from('GET / HTTP/1.1\r\nHost: a\r\n\r\n'))
    await settled(() => other.closed)
    const silent = await dialled(port, Buffer.alloc(0))
    const half = await dialled(port, PREFACE)
    await settled(() => silent.closed && half.closed)
    expect(listener.sizes()).toEqual({})
    expect(events.map(({ type }) => type)).toEqual(['refused', 'refused', 'refused'])
    await expect(listener.session('web')).rejects.toMatchObject({ code: 'QB_REVERSE_NO_CONNECTION' })
  })

  it('tells when a connection goes away, and does not lend it any more', async () => {
    const { listener, events, port } = await listen()
    const first = await dialled(port, hello)
    const second = await dialled(port, hello)
    await settled(() => listener.sizes()['web'] === 2)
    first.socket.write(frame(GOAWAY, 0, 0, Buffer.alloc(8)))
    await settled(() => listener.sizes()['web'] === 1)
    second.socket.destroy()
    await settled(() => events.filter(({ type }) => type === 'closed').length === 2 || listener.sizes()['web'] === undefined)
    expect(events.map(({ type, size }) => [type, size])).toEqual(expect.arrayContaining([['accepted', 1], ['accepted', 2], ['draining', 1], ['closed', 0]]))
  })

  it('has bounds: of connections, of a key, of those not accepted, and of those from one address', async () => {
    const one = await listen({ limits: { maxPerKey: 1 } })
    await dialled(one.port, hello)
    await settled(() => one.listener.sizes()['web'] === 1)
    const more = await dialled(one.port, hello)
    await settled(() => more.closed && one.events.at(-1)?.type === 'refused')
    expect(one.events.at(-1)?.reason).toBe('maxPerKey')
    const few = await listen({ limits: { maxPendingPerPeer: 2 } })
    await dialled(few.port, Buffer.alloc(0))
    await dialled(few.port, Buffer.alloc(0))
    const third = await dialled(few.port, hello)
    await settled(() => third.closed)
    expect(few.events.at(-1)?.reason).toBe('maxPendingPerPeer')
  })

  it('picks the session with the fewest requests that takes one more, and lets others wait', async () => {
    const { listener, port } = await listen()
    const narrow = Buffer.concat([PREFACE, frame(SETTINGS, 0, 0, Buffer.from([0, 3, 0, 0, 0, 1]))])
    const [first] = [await dialled(port, narrow), await dialled(port, narrow)]
    await settled(() => listener.sizes()['web'] === 2)
    const sessions = await Promise.all([listener.session('web'), listener.session()])
    expect(sessions[0]).not.toBe(sessions[1])
    for (const session of sessions) session.request({ ':path': '/' }).on('error', () => {})
    await expect(listener.session('web')).rejects.toMatchObject({ code: 'QB_REVERSE_NO_CONNECTION' })
    await expect(listener.session('web', { waitForMs: 50 })).rejects.toMatchObject({ code: 'QB_REVERSE_NO_CONNECTION' })
    await expect(listener.session('web', { waitForMs: 5000, signal: AbortSignal.abort(new Error('enough')) })).rejects.toThrow('enough')
    const waiting = listener.session('web', { waitForMs: 5000 })
    await settled(() => framesOf(first!.bytes).some(({ type }) => type === HEADERS))
    first!.socket.write(Buffer.concat([frame(SETTINGS, 1, 0), frame(HEADERS, 5, 1, OK)]))
    expect(sessions).toContain(await waiting)
    await expect(listener.session('other')).rejects.toThrow(/those of 'web'/)
  })
})

describe('both ends of ours', () => {
  it('carry 40 requests at once and 300,000 bytes that are echoed', async () => {
    const { listener, port } = await listen()
    const { dialler } = dial(port, { pool: 2 })
    await settled(() => listener.sizes()['web'] === 2 && dialler.state === 'FULL')
    const all = await Promise.all(Array.from({ length: 40 }, (_, at) => asks(listener, { ':path': `/${at}` })))
    expect(all.map(({ body }) => body)).toEqual(Array.from({ length: 40 }, (_, at) => `/${at}`))
    const body = Buffer.alloc(300_000, 'quicbraid ')
    const answer = await asks(listener, { ':method': 'POST', ':path': '/' }, body)
    expect(answer.body === body.toString()).toBe(true)
  })

  it('let requests end when either stops, and close in order', async () => {
    const { listener, port } = await listen()
    let answer = (): void => {}
    const handler: ReverseHttp2Handler = (stream) => {
      answer = () => {
        stream.respond({ ':status': 200 })
        stream.end('done')
      }
    }
    const one = dial(port, {}, handler)
    await settled(() => listener.sizes()['web'] === 1)
    const first = asks(listener, { ':path': '/' })
    await settled(() => answer.length === 0 && answer.toString().includes('respond'))
    const stopping = one.dialler.stop({ drainMs: 5000 })
    await settled(() => listener.sizes()['web'] === undefined)
    answer()
    expect((await first).body).toBe('done')
    await stopping
    expect(one.dialler.state).toBe('STOP')
    one.dialler.enable()
    await settled(() => listener.sizes()['web'] === 1)
    await listener.close({ drainMs: 1000 })
    await expect(listener.session('web')).rejects.toMatchObject({ code: 'QB_REVERSE_SHUTDOWN' })
    await settled(() => one.dialler.size === 0)
  })

  it('know each other by certificates: the first name is the key (reverse V5, V40)', async () => {
    const authority = authorityOf('ECDSA', 'h2 authority')
    const [server, client, stranger] = [leafOf(authority, 'front'), leafOf(authority, 'web', { names: ['web', 'other'] }), leafOf(authorityOf('ECDSA', 'nobody'), 'web')]
    const { listener, events, port } = await listen({ tls: { cert: server.cert, key: server.key, ca: authority.cert } })
    const tls = { ca: authority.cert, serverName: 'localhost' }
    const good = dial(port, { tls: { ...tls, cert: client.cert, key: client.key } })
    await settled(() => listener.sizes()['web'] === 1)
    expect((await asks(listener, { ':path': '/tls' })).body).toBe('/tls')
    const bad = dial(port, { tls: { ...tls, cert: stranger.cert, key: stranger.key } })
    const none = dial(port, { tls })
    const untrusting = dial(port, { tls: { serverName: 'localhost', cert: client.cert, key: client.key } })
    await settled(() => [bad, none, untrusting].every(({ states }) => states.some(({ state }) => state === 'ERR')))
    const codeOf = ({ states }: typeof bad): string | undefined => (states[1]?.error as { code?: string } | null)?.code
    // The server's alert may be lost to a reset: its client has written already by then (RFC 8446 has it so).
    for (const one of [bad, none]) expect(['QB_REVERSE_AUTH', 'QB_REVERSE_PROTOCOL', 'ECONNRESET', 'EPIPE']).toContain(codeOf(one))
    expect(codeOf(untrusting)).toBe('QB_TLS_CERTIFICATE')
    expect(listener.sizes()).toEqual({ web: 1 })
    expect(events.filter(({ type }) => type === 'refused').length).toBeGreaterThanOrEqual(2)
    expect(good.dialler.state).toBe('FULL')
    const open = await listen({ tls: { cert: server.cert, key: server.key, clients: 'anybody' }, service: 'any' })
    dial(open.port, { tls })
    await settled(() => open.listener.sizes()['any'] === 1)
  })

  it('need a word for everything that proves nothing', async () => {
    expect(() => reverseHttp2Connect({ to: 'a:1' } as never, () => {})).toThrow(expect.objectContaining({ code: 'QB_OPTION_INVALID' }))
    expect(() => reverseHttp2Connect({ to: 'a', tls: 'plain' }, () => {})).toThrow(expect.objectContaining({ code: 'QB_OPTION_INVALID' }))
    expect(() => reverseHttp2Connect({ to: 'a:1', tls: 'plain', pol: 1 } as never, () => {})).toThrow(expect.objectContaining({ code: 'QB_OPTION_UNKNOWN' }))
    await expect(reverseHttp2Listen({ local: '127.0.0.1:0', tls: 'plain' })).rejects.toMatchObject({ code: 'QB_OPTION_INVALID', field: 'service' })
    await expect(reverseHttp2Listen({ local: '127.0.0.1:0' } as never)).rejects.toMatchObject({ code: 'QB_OPTION_INVALID' })
    const { port } = await listen()
    await expect(reverseHttp2Listen({ local: `127.0.0.1:${port}`, tls: 'plain', service: 'a' })).rejects.toMatchObject({ code: 'QB_BIND_FAILED' })
    const { events, listener, port: other } = await listen({ poolKey: () => { throw new Error('no') } })
    dial(other)
    await settled(() => events.some(({ type, reason }) => type === 'refused' && reason === 'it stands for no service'))
    expect(listener.sizes()).toEqual({})
  })

  it('stand behind a front: browser, front, HTTP/2, gateway, web server', async () => {
    const web = await target(async (asked, answer) => answer.end(`${asked.method} ${asked.url} ${asked.headers['x-forwarded-for']} ${asked.headers.host} ${asked.headers.via} ${(await bodyOf(asked)).length}`))
    const ways = new Ways({ web: web.port })
    const gateway = new Gateway({ open: ways.open, forwarded: 'keep' })
    later(() => gateway.close())
    const { listener, port } = await listen()
    dial(port, {}, (stream, headers, raw) => gateway.stream('web', stream, headers, raw))
    const front = await HttpFront.listen({ http: '127.0.0.1:0', session: (key, options): Promise<ClientHttp2Session> => listener.session(key, options), service: 'web' })
    later(() => front.close())
    const at = portOf(front.http[0])
    expect(await ask(at)).toMatchObject({ status: listener.sizes()['web'] === undefined ? 503 : 200 })
    await settled(() => listener.sizes()['web'] === 1)
    expect((await ask(at, { method: 'POST', path: '/x', headers: { host: 'a.example' } }, Buffer.alloc(100_000))).body).toBe('POST /x 127.0.0.1 a.example 1.1 quicbraid, 2 quicbraid 100000')
  })
})
