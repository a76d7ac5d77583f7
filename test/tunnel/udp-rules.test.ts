/** Rules of docs/spec/tunnel.md section 10 that hold on every carrier: UDP over UDP sockets and over a header carrier, with real UDP around. */
import { createSocket } from 'node:dgram'
import type { Socket } from 'node:dgram'
import { once } from 'node:events'
import { afterEach, describe, expect, it } from 'vitest'
import { codeOf } from '../fake/pair.ts'
import { MODULE_BUILT } from '../native/built.ts'
import { KINDS, OWN, atEnd, endAll, eventIn, tunnelPair } from './pair.ts'
import type { TunnelPair } from './pair.ts'

afterEach(endAll)

async function udpSocket(onMessage: (bytes: Buffer, reply: (bytes: Uint8Array) => void) => void = () => {}): Promise<{ socket: Socket; address: string }> {
  const socket = createSocket('udp4')
  socket.on('message', (bytes, { port, address }) => onMessage(bytes, (answer) => socket.send(answer, port, address)))
  socket.bind(0, '127.0.0.1')
  await once(socket, 'listening')
  atEnd(() => new Promise<void>((resolve) => {
    try {
      socket.close(() => resolve())
    } catch {
      resolve()
    }
  }))
  return { socket, address: `127.0.0.1:${socket.address().port}` }
}

/** A server like one for names: the answer has the question's id and the question. */
function names(): ReturnType<typeof udpSocket> {
  return udpSocket((question, reply) => reply(Buffer.concat([question.subarray(0, 2), Buffer.from('answer to '), question.subarray(2)])))
}

/** Asks again until there is an answer, as everybody does who uses UDP. */
async function askNames(local: string, question: string, socket?: Socket): Promise<string> {
  const from = socket ?? (await udpSocket()).socket
  const port = Number(local.split(':')[1])
  const asked = Buffer.from(question)
  for (let attempt = 0; attempt < 20; attempt++) {
    const answer = once(from, 'message', { signal: AbortSignal.timeout(3000) })
    from.send(asked, port, '127.0.0.1')
    try {
      return String((await answer)[0])
    } catch {
      // Lost, on a machine that is busy.
    }
  }
  return 'nothing'
}

function allowUdp(pair: TunnelPair, address: string): number {
  return pair.far.listen(({ peer, protocol, port }) => (peer !== null && protocol === 'udp' && port === 7 ? address : undefined), { protocol: 'udp' })
}

describe.skipIf(!MODULE_BUILT).each(KINDS)('UDP through a tunnel over %s', { timeout: 60_000 }, (kind) => {
  /** tunnel T70, T72, T78 */
  it('carries questions and answers: each local address is a flow of its own', async () => {
    const pair = await tunnelPair(kind)
    const server = await names()
    allowUdp(pair, server.address)
    const tunnel = await pair.openUdp()
    expect(tunnel.protocol).toBe('udp')
    const { socket } = await udpSocket()
    expect(await askNames(tunnel.local, '01example.org', socket)).toBe('01answer to example.org')
    expect(await askNames(tunnel.local, '02example.net', socket)).toBe('02answer to example.net')
    expect(await askNames(tunnel.local, '03example.com')).toBe('03answer to example.com')
    expect([tunnel.bridges, pair.near.statistics().flowsOpen, pair.far.statistics().flowsOpen]).toEqual([2, 2, 2])
    await pair.near.close(tunnel.id)
    await eventIn(pair.events.far, pair.far, 'closed', 2)
    expect(pair.events.near.map(({ protocol, type, reason }) => `${protocol} ${type} ${reason}`)).toEqual([
      'udp pending null', 'udp opened null', 'udp pending null', 'udp opened null', 'udp closed end', 'udp closed end',
    ])
    const [near, far] = [pair.near.statistics(), pair.far.statistics()]
    expect([near.flowsTotal, far.flowsTotal, far.flowsOpen, near.bridgesTotal]).toEqual([2, 2, 0, 0])
    expect([near.datagramsUp >= 3, far.datagramsUp, near.bytesUp >= 39]).toEqual([true, near.datagramsUp, true])
    expect(pair.near.prometheus()).toContain('quicbraid_tunnel_flows_total 2')
  })

  /** tunnel T71; attacks H1 */
  it('is never allowed by a handler that was written for TCP', async () => {
    const pair = await tunnelPair(kind)
    const server = await names()
    let asked = 0
    pair.far.listen(() => {
      asked += 1
      return server.address
    })
    pair.far.listen(7)
    expect(await codeOf(pair.openUdp())).toBe('QB_TUNNEL_REFUSED')
    expect(asked).toBe(0)
  })

  /** tunnel T71 */
  it('allows one protocol where only that one is allowed', async () => {
    const pair = await tunnelPair(kind)
    const server = await names()
    allowUdp(pair, server.address)
    expect(await codeOf(pair.open())).toBe('QB_TUNNEL_REFUSED')
    const tunnel = await pair.openUdp()
    expect(await askNames(tunnel.local, '01a')).toBe('01answer to a')
  })

  /** tunnel T76 */
  it('ends a flow whose target is not there, and the next datagram begins another', async () => {
    const pair = await tunnelPair(kind)
    const gone = await udpSocket()
    allowUdp(pair, gone.address)
    gone.socket.close()
    const tunnel = await pair.openUdp()
    const { socket } = await udpSocket()
    const port = Number(tunnel.local.split(':')[1])
    for (let flow = 1; flow <= 2; flow++) {
      socket.send('x', port, '127.0.0.1')
      // What comes while the flow ends may begin another: only what is told counts.
      await eventIn(pair.events.near, pair.near, 'failed', flow)
    }
    expect(pair.events.near.filter(({ type }) => type === 'failed').map(({ reason }) => reason)).toEqual(['connect', 'connect'])
    expect(tunnel.connection?.state).toBe('open')
  })

  /** tunnel T74, T78 */
  it('drops what does not fit on the connection, tells it once and counts it', async () => {
    const pair = await tunnelPair(kind)
    const server = await names()
    allowUdp(pair, server.address)
    const tunnel = await pair.openUdp()
    const { socket } = await udpSocket()
    const port = Number(tunnel.local.split(':')[1])
    expect(await askNames(tunnel.local, '01a', socket)).toBe('01answer to a')
    for (let count = 0; count < 3; count++) socket.send(Buffer.alloc(5000), port, '127.0.0.1')
    expect(await askNames(tunnel.local, '02b', socket)).toBe('02answer to b')
    expect(pair.near.statistics().udpDrops.tooLarge).toBe(3)
    expect(pair.events.near.filter(({ type }) => type === 'too-large').length).toBe(1)
    expect(pair.near.prometheus()).toContain('quicbraid_tunnel_udp_drops_total{reason="tooLarge"} 3')
  })

  /** tunnel T70 */
  it('says so where the server takes no datagrams', async () => {
    const pair = await tunnelPair(kind, { server: { maxDatagramFrameBytes: 0 } })
    allowUdp(pair, '127.0.0.1:9')
    expect(await codeOf(pair.openUdp())).toBe('QB_DATAGRAM_REFUSED')
  })

  /** tunnel T10, T71 */
  it('cannot be bound twice at one address, and leaves nothing behind then', async () => {
    const pair = await tunnelPair(kind)
    allowUdp(pair, '127.0.0.1:9')
    const tunnel = await pair.openUdp()
    expect(await codeOf(pair.openUdp({ bind: tunnel.local }))).toBe('QB_BIND_FAILED')
    expect(pair.near.statistics().tunnels).toBe(1)
    expect(OWN.cert).toContain('BEGIN')
  })
})
