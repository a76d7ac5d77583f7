/** Rules of docs/spec/tunnel.md that hold on every carrier: the same suite over UDP sockets and over a header carrier, with real TCP around. */
import { once } from 'node:events'
import { connect } from 'node:net'
import { afterEach, describe, expect, it } from 'vitest'
import type { BidirectionalStream } from '../../src/index.ts'
import { TUNNEL_ALPN, TUNNEL_LIMITS, headerCarrier } from '../../src/tunnel/index.ts'
import { TunnelCode } from '../../src/tunnel/codes.ts'
import { encodeRequest } from '../../src/tunnel/request.ts'
import { cutSocket } from '../../src/tunnel/tcp.ts'
import { codeOf, pattern } from '../fake/pair.ts'
import { MODULE_BUILT } from '../native/built.ts'
import { FAR, KINDS, OWN, allOf, allowing, echo, endAll, eventIn, tcpClient, tcpServer, tunnelPair } from './pair.ts'
import type { TunnelPair } from './pair.ts'

afterEach(endAll)

const BIG = pattern(3_000_000)

/** A connection of a client that speaks the protocol by itself. */
async function rawClient(pair: TunnelPair, limits = TUNNEL_LIMITS): Promise<Awaited<ReturnType<TunnelPair['near']['endpoint']['connect']>>> {
  return pair.near.endpoint.connect(pair.remote, { alpn: TUNNEL_ALPN, ca: OWN.cert, ...OWN, serverName: 'localhost', limits })
}

async function ask(stream: BidirectionalStream, kind: 1 | 2, port = 7): Promise<number> {
  stream.write(encodeRequest({ kind, port, host: null }))
  for await (const pieces of stream) return pieces[0]?.[0] ?? -1
  return -1
}

describe.skipIf(!MODULE_BUILT).each(KINDS)('a tunnel over %s', { timeout: 60_000 }, (kind) => {
  /** tunnel T10, T11, T30, T32, T35, T40, T41, T46 */
  it('carries bytes both ways, whole and in order; an end of one direction leaves the other open', async () => {
    const pair = await tunnelPair(kind)
    const server = await tcpServer((socket) => {
      // All that comes first, then the answer: the other direction has ended by then.
      void allOf(socket).then((bytes) => socket.end(bytes))
    })
    allowing(pair, server.address)
    const tunnel = await pair.open()
    const { socket } = await tcpClient(tunnel.local)
    socket.end(BIG)
    expect((await allOf(socket)).equals(BIG)).toBe(true)
    const [near, far] = await Promise.all([eventIn(pair.events.near, pair.near, 'closed'), eventIn(pair.events.far, pair.far, 'closed')])
    expect([near.reason, far.reason, near.bytesUp, far.bytesDown]).toEqual(['end', 'end', BIG.length, BIG.length])
    expect(pair.events.near.map(({ type }) => type)).toEqual(['pending', 'opened', 'half-closed', 'closed'])
    expect(pair.near.statistics()).toMatchObject({ tunnels: 1, bridgesOpen: 0, bridgesTotal: 1, pending: 0, failed: {}, bytesUp: BIG.length, bytesDown: BIG.length })
    expect(tunnel.bridges).toBe(0)
  })

  /** tunnel T40, T41 */
  it('hands an end on from the target too, while the client goes on sending', async () => {
    const pair = await tunnelPair(kind)
    let received: Promise<Buffer> | null = null
    const server = await tcpServer((socket) => {
      socket.end('that is all')
      received = allOf(socket)
    })
    allowing(pair, server.address)
    const tunnel = await pair.open()
    const { socket } = await tcpClient(tunnel.local)
    expect((await allOf(socket)).toString()).toBe('that is all')
    socket.end(BIG)
    await eventIn(pair.events.far, pair.far, 'closed')
    expect((await received as unknown as Buffer).equals(BIG)).toBe(true)
  })

  /** tunnel T42, T43 */
  it('hands a reset of the target on as a reset, never as an end', async () => {
    const pair = await tunnelPair(kind)
    // A reset that comes together with bytes is an end for Node: here it comes alone.
    const server = await tcpServer((socket) => void socket.once('data', () => {
      socket.write('begun')
      socket.once('data', () => cutSocket(socket))
    }))
    allowing(pair, server.address)
    const tunnel = await pair.open()
    const client = await tcpClient(tunnel.local)
    client.socket.write('x')
    expect(String((await once(client.socket, 'data'))[0])).toBe('begun')
    client.socket.write('y')
    expect(await client.ended).toBe('rst')
    expect([(await eventIn(pair.events.near, pair.near, 'failed')).reason, (await eventIn(pair.events.far, pair.far, 'failed')).reason]).toEqual(['tcp', 'tcp'])
  })

  /** tunnel T42, T43 */
  it('hands a reset of the client on as a reset', async () => {
    const pair = await tunnelPair(kind)
    const end = new Promise<string>((resolve) => {
      void tcpServer((socket) => {
        socket.on('error', () => resolve('rst')).on('end', () => resolve('fin')).resume()
        socket.write('hello')
      }).then(({ address }) => allowing(pair, address))
    })
    const tunnel = await pair.open().catch(() => pair.open())
    const client = await tcpClient(tunnel.local)
    await once(client.socket, 'data')
    cutSocket(client.socket)
    expect(await end).toBe('rst')
  })

  /** tunnel T33; attacks H3 */
  it('cuts the client where the target cannot be dialled', async () => {
    const pair = await tunnelPair(kind)
    const gone = await tcpServer(() => {})
    gone.server.close()
    await once(gone.server, 'close')
    allowing(pair, gone.address)
    const tunnel = await pair.open()
    const client = await tcpClient(tunnel.local)
    client.socket.resume()
    expect(await client.ended).toBe('rst')
    const [near, far] = await Promise.all([eventIn(pair.events.near, pair.near, 'failed'), eventIn(pair.events.far, pair.far, 'failed')])
    expect([near.reason, far.reason]).toEqual(['connect', 'connect'])
    expect([pair.near.statistics().failed, pair.far.statistics().failed]).toEqual([{ connect: 1 }, { connect: 1 }])
  })

  /** tunnel T20, T24; attacks H1, H2 */
  it('is refused by a server without a handler, for clients without a name, and for other ports', async () => {
    const pair = await tunnelPair(kind, { server: { clientAuth: 'request' } })
    const target = await echo()
    const unheard = await pair.near.open({ remote: pair.remote, port: 7, timeoutMs: kind === 'udp' ? 4000 : 300, connection: { ca: OWN.cert, ...OWN, serverName: 'localhost' } })
    // Datagrams of a header carrier are not even answered.
    expect(await codeOf(unheard.opened)).toBe(kind === 'udp' ? 'QB_TUNNEL_REFUSED' : 'QB_TUNNEL_TIMEOUT')
    if (kind === 'header') expect(pair.far.statistics().demuxDrops.noListener).toBeGreaterThan(0)
    pair.far.listen(target.port)
    const nameless = await pair.near.open({ remote: pair.remote, port: target.port, connection: { ca: OWN.cert, serverName: 'localhost' } })
    expect(await codeOf(nameless.opened)).toBe('QB_TUNNEL_REFUSED')
    expect(await codeOf(pair.open({ port: target.port === 7 ? 8 : 7 }))).toBe('QB_TUNNEL_REFUSED')
    const tunnel = await pair.open({ port: target.port })
    expect(tunnel.bridges).toBe(0)
    expect(target.sockets.size).toBe(0)
    // What failed listens no more.
    const { local } = nameless
    expect((await nameless.closed).error).toMatchObject({ code: 'QB_TUNNEL_REFUSED' })
    const late = connect(Number(local.split(':')[1]), '127.0.0.1')
    expect((await once(late, 'error'))[0]).toMatchObject({ code: 'ECONNREFUSED' })
  })

  /** tunnel T21, T23, T25 */
  it('asks handlers in order: an address accepts, undefined passes on, a throw refuses; names are never resolved', async () => {
    const pair = await tunnelPair(kind)
    const target = await echo()
    const asked: string[] = []
    const answers: Record<number, (name: string) => string | undefined> = {
      1: (name) => (name === 'second' ? target.address : undefined),
      2: () => { throw new Error('no') },
      3: () => `localhost:${target.port}`,
      4: () => '127.0.0.1',
      5: () => '/run/socket',
    }
    for (const name of ['first', 'second', 'third']) {
      pair.far.listen(({ port, host, remote, peer }) => {
        asked.push(name)
        expect([host, peer?.names.length, typeof remote]).toEqual(['db', peer?.names.length, 'string'])
        return answers[port]?.(name)
      })
    }
    await pair.open({ port: 1, host: 'db' })
    expect(asked.splice(0)).toEqual(['first', 'second'])
    expect(await codeOf(pair.open({ port: 2, host: 'db' }))).toBe('QB_TUNNEL_REFUSED')
    expect(asked.splice(0)).toEqual(['first'])
    for (const port of [3, 4, 5]) expect(await codeOf(pair.open({ port, host: 'db' })), String(port)).toBe('QB_TUNNEL_REFUSED')
    asked.splice(0)
    expect(await codeOf(pair.open({ port: 6, host: 'db' }))).toBe('QB_TUNNEL_REFUSED')
    expect(asked).toEqual(['first', 'second', 'third'])
    expect(target.sockets.size).toBe(0)
  })

  /** tunnel T22 */
  it('asks again for each stream: after forget the next is refused, and what is joined goes on', async () => {
    const pair = await tunnelPair(kind)
    const target = await echo()
    const id = allowing(pair, target.address)
    const tunnel = await pair.open()
    const first = await tcpClient(tunnel.local)
    first.socket.write('one')
    expect(String((await once(first.socket, 'data'))[0])).toBe('one')
    expect([pair.far.forget(id), pair.far.forget(id), pair.far.forget(99)]).toEqual([true, false, false])
    const second = await tcpClient(tunnel.local)
    second.socket.resume()
    expect(await second.ended).toBe('rst')
    expect((await eventIn(pair.events.near, pair.near, 'failed')).reason).toBe('refused')
    first.socket.write('two')
    expect(String((await once(first.socket, 'data'))[0])).toBe('two')
  })

  /** tunnel T18 */
  it('gives the server no stream to open', async () => {
    const pair = await tunnelPair(kind)
    allowing(pair, (await echo()).address)
    await pair.open({ connection: { limits: { bidirectionalStreams: 9, unidirectionalStreams: 9 } } })
    const [connection] = pair.far.endpoint.connections
    for (const open of ['openBidirectional', 'openUnidirectional'] as const) {
      const waiting = new AbortController()
      const stream = connection?.[open]({ signal: waiting.signal })
      setImmediate(() => waiting.abort('none'))
      await expect(stream).rejects.toBe('none')
    }
  })

  /** tunnel T30, T31, T34; attacks H2 */
  it('ends a stream with BAD_INIT that begins wrong, or that sends before it may; the connection goes on', async () => {
    const pair = await tunnelPair(kind)
    const target = await echo()
    let hold: (() => void) | null = null
    const held = new Promise<void>((resolve) => { hold = resolve })
    let asked = 0
    pair.far.listen(async ({ peer }) => {
      asked += 1
      if (asked === 2) await held
      return peer === null ? undefined : target.address
    })
    if (kind === 'header') return
    const connection = await rawClient(pair)
    expect(await ask(await connection.openBidirectional(), 2)).toBe(0)
    const wrong = await connection.openBidirectional()
    wrong.write(Uint8Array.of(9, 9, 9, 9))
    await expect(wrong.bytes()).rejects.toMatchObject({ code: 'QB_STREAM_RESET', errorCode: TunnelCode.BAD_INIT })
    const hasty = await connection.openBidirectional()
    hasty.write(encodeRequest({ kind: 1, port: 7, host: null }))
    await eventIn(pair.events.far, pair.far, 'pending')
    hasty.write(Buffer.from('GET / HTTP/1.0'))
    await expect(hasty.bytes()).rejects.toMatchObject({ code: 'QB_STREAM_RESET', errorCode: TunnelCode.BAD_INIT })
    ;(hold as (() => void) | null)?.()
    const good = await connection.openBidirectional()
    expect(await ask(good, 1)).toBe(0)
    expect(target.sockets.size).toBe(1)
    expect(pair.far.statistics().failed).toEqual({ 'bad-init': 1 })
  })
})

describe.skipIf(!MODULE_BUILT)('over a header carrier', { timeout: 60_000 }, () => {
  /** tunnel T7 */
  it('datagrams have four bytes less; a carrier that is too small for that, or none, is refused', async () => {
    const send = (): void => {}
    expect(() => headerCarrier({ maxDatagramSizeBytes: 1203, send })).toThrow(expect.objectContaining({ code: 'QB_CARRIER_TOO_SMALL', value: { size: 1203, needed: 1204 } }))
    expect(() => headerCarrier({ maxDatagramSizeBytes: 1400 } as never)).toThrow(expect.objectContaining({ code: 'QB_OPTION_INVALID' }))
    let longest = 0
    const pair = await tunnelPair('header', { through: (datagrams) => {
      for (const { bytes } of datagrams) longest = Math.max(longest, bytes.length)
      return datagrams
    } })
    allowing(pair, (await echo()).address)
    const { socket } = await tcpClient((await pair.open()).local)
    socket.end(BIG)
    await allOf(socket)
    expect(longest).toBeLessThanOrEqual(1452)
    expect(longest).toBeGreaterThan(1204)
    await headerCarrier({ maxDatagramSizeBytes: 1204, send }).close()
  })

  /** tunnel T5, T9 */
  it('two tunnels of one peer are two connections, with pseudo-ports of their own', async () => {
    const remotes = new Set<string>()
    const pair = await tunnelPair('header')
    const target = await echo()
    pair.far.listen(({ remote }) => {
      remotes.add(remote)
      return target.address
    })
    const [one, two] = [await pair.open(), await pair.open()]
    expect([one.pseudoPort, two.pseudoPort]).toEqual([1, 2])
    expect(pair.far.endpoint.connections.size).toBe(2)
    expect(new Set([...pair.far.endpoint.connections].map(({ remote }) => remote)).size).toBe(2)
    // People see the carrier's address.
    expect([...remotes]).toEqual(['10.0.0.1:7'])
    expect(pair.remote).toBe(FAR)
  })

  /** tunnel T6 */
  it('marks of a hop on the way come out in what the far end acknowledges', async () => {
    const pair = await tunnelPair('header', { through: (datagrams) => datagrams.map((datagram) => ({ ...datagram, ecn: 'ce' })) })
    const target = await echo()
    allowing(pair, target.address)
    const seen: ({ ect0: number; ect1: number; ce: number } | null)[] = []
    pair.near.endpoint.connections$.subscribe(({ spaces }) => spaces.application(0).acks$.subscribe(({ ecn }) => seen.push(ecn)))
    const tunnel = await pair.open()
    const { socket } = await tcpClient(tunnel.local)
    socket.end(BIG.subarray(0, 200_000))
    await allOf(socket)
    expect(seen.at(-1)?.ce).toBeGreaterThan(0)
  })
})
