/** Reverse connections over TCP: what both ends count, and how connections end whose other end does not let go. */
import { connect as netConnect, createServer } from 'node:net'
import type { AddressInfo, Socket } from 'node:net'
import { describe, expect, it } from 'vitest'
import { PREFACE } from '../../src/reverse/front/index.ts'
import { networkOf } from '../../src/reverse/gate.ts'
import { DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, RST_STREAM, SETTINGS, fields, frame, framesOf } from './frames.ts'
import { ask, ask2, bench, later, session, settled } from './front-kit.ts'
import { Peer, dial, listen } from './http2-kit.ts'

describe('numbers', () => {
  it('of both ends are counted, and told as Prometheus text', async () => {
    const { listener, port } = await listen({ poolKey: () => 'a "quoted" name', limits: { maxPerKey: 2 } })
    const { dialler } = dial(port, { pool: 2 }, (stream, headers) => {
      if (headers[':method'] === 'POST') return
      stream.respond({ ':status': 200 })
      stream.end()
    })
    await settled(() => dialler.size === 2 && listener.statistics().connections === 2)
    const third = dial(port)
    await settled(() => listener.statistics().refused['full'] === 1)
    await third.dialler.stop({ drainMs: 0 })
    const lent = await listener.session()
    expect(await ask2(lent, { ':path': '/' })).toMatchObject({ status: 200 })
    const cut = lent.request({ ':method': 'POST', ':path': '/' }, { endStream: false })
    cut.on('error', () => {})
    await settled(() => dialler.statistics().requests === 2 && dialler.statistics().requestsOpen === 1)
    expect(listener.statistics()).toMatchObject({ streamsOpen: 1, requests: 2 })
    cut.close(8)
    await settled(() => dialler.statistics().requestsOpen === 0 && listener.statistics().streamsOpen === 0)
    await expect(listener.session('other')).rejects.toMatchObject({ code: 'QB_REVERSE_NO_CONNECTION' })
    expect(listener.statistics()).toMatchObject({ connections: 2, draining: 0, pending: 0, keys: 1, accepted: 2, closed: 0, unserved: 1, waiting: 0 })
    expect(dialler.statistics()).toMatchObject({ connections: 2, draining: 0, attempts: 2, accepted: 2, failed: {}, lost: 0, requests: 2, requestsFailed: 1, accepting: { count: 2 } })
    expect(listener.prometheus()).toContain('quicbraid_reverse_http2_pool_connections{key="a \\"quoted\\" name"} 2\n')
    expect(listener.prometheus()).toContain('quicbraid_reverse_http2_refused_total{reason="full"} ')
    expect(dialler.prometheus()).toContain(`quicbraid_reverse_http2_dial_state{to="127.0.0.1:${port}",state="FULL"} 1\n`)
    await listener.close()
    await settled(() => dialler.statistics().lost === 2 && dialler.statistics().failed['QB_CONNECT_REFUSED'] !== undefined)
    expect(listener.statistics()).toMatchObject({ connections: 0, closed: 2 })
  })
})

it('places of those that are not accepted go by IPv4 address, or the first 64 bits of an IPv6 address (reverse V50)', () => {
  const same = ['[fd00:71:b::1]:1', '[fd00:71:b:0:1:2:3:4]:2', '[FD00:71:b::%lo]:3'].map((remote) => networkOf(remote))
  expect(new Set(same).size).toBe(1)
  expect(networkOf('[fd00:71:b:1::1]:1')).not.toBe(same[0])
  expect(networkOf('[::ffff:192.0.2.1]:1')).toBe(networkOf('192.0.2.1:2'))
  expect(networkOf('192.0.2.2:1')).not.toBe(networkOf('192.0.2.1:1'))
})

describe('an end that does not let go', () => {
  const hello = Buffer.concat([PREFACE, frame(SETTINGS, 0, 0)])

  /** A private end that keeps its side of the connection open, whatever comes. */
  function stubborn(port: number): Peer {
    const peer = new Peer(netConnect({ port, host: '127.0.0.1', allowHalfOpen: true }))
    peer.socket.write(hello)
    return peer
  }

  /** Whoever writes to nobody is told by a reset. */
  function gone({ socket, closed }: Peer): boolean {
    if (!closed) socket.write(Buffer.alloc(1))
    return closed
  }

  it('is let go of: a private end that was one too many, one that said GOAWAY, and those that are there at the close', async () => {
    const { listener, port } = await listen({ limits: { maxPerKey: 1 } })
    const first = stubborn(port)
    await settled(() => listener.sizes()['web'] === 1)
    const second = stubborn(port)
    await settled(() => gone(second))
    first.socket.write(frame(GOAWAY, 0, 0, Buffer.alloc(8)))
    await settled(() => gone(first))
    const third = stubborn(port)
    await settled(() => listener.sizes()['web'] === 1)
    await listener.close()
    await settled(() => gone(third))
  })

  it('is let go of: a public end, when its private end stops', async () => {
    const sockets: Socket[] = []
    const server = createServer({ allowHalfOpen: true }, (socket) => {
      sockets.push(socket)
      socket.on('error', () => {}).resume()
      socket.write(frame(SETTINGS, 0, 0))
    })
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    later(() => {
      for (const socket of sockets) socket.destroy()
      server.close()
    })
    const { dialler } = dial((server.address() as AddressInfo).port)
    await settled(() => dialler.state === 'FULL')
    await dialler.stop({ drainMs: 10 })
    expect(dialler.statistics()).toMatchObject({ connections: 0, draining: 0 })
  })

  it('is let go of: a service that has answered and does not read the rest of the request', async () => {
    let bytes: Buffer = Buffer.alloc(0)
    const server = createServer((socket) => {
      later(() => socket.destroy())
      socket.on('error', () => {}).write(frame(SETTINGS, 0, 0))
      socket.on('data', (chunk: Buffer) => {
        const before = uploaded()
        bytes = Buffer.concat([bytes, chunk])
        // All that its window allows is there.
        if (before < 65_535 && uploaded() === 65_535) setTimeout(() => socket.write(frame(HEADERS, END_HEADERS | END_STREAM, 1, fields([[':status', '202']]))), 100)
      })
    })
    const uploaded = (): number => framesOf(bytes.subarray(PREFACE.length)).filter(({ type }) => type === DATA).reduce((sum, { body }) => sum + body.length, 0)
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    later(() => server.close())
    const service = session((server.address() as AddressInfo).port)
    const { port, seen } = await bench(0, { session: async () => service })
    expect((await ask(port, { method: 'POST' }, Buffer.alloc(70_000))).status).toBe(202)
    expect(seen[0]).toMatchObject({ reason: null, bytesUp: 70_000 })
    await settled(() => framesOf(bytes.subarray(PREFACE.length)).some(({ type, stream }) => type === RST_STREAM && stream === 1))
  })

  it('tells those that wait for a connection when it closes', async () => {
    const { listener } = await listen()
    const waiting = listener.session('web', { waitForMs: 60_000 })
    const told = expect(waiting).rejects.toMatchObject({ code: 'QB_REVERSE_SHUTDOWN' })
    await settled(() => listener.statistics().waiting === 1)
    await listener.close()
    await told
  })
})
