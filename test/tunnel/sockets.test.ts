/** Sockets as Node has them: half closed before anybody looked, encrypted, ended by themselves (docs/spec/tunnel.md section 6). Over both kinds of bridges. */
import { once } from 'node:events'
import { connect, createServer } from 'node:net'
import type { AddressInfo, Socket } from 'node:net'
import { connect as connectTls, createServer as createTlsServer } from 'node:tls'
import { afterEach, describe, expect, it } from 'vitest'
import { createDevCertificate } from '../../src/index.ts'
import { joining } from '../../src/tunnel/join.ts'
import { cutSocket } from '../../src/tunnel/tcp.ts'
import { MODULE_BUILT } from '../native/built.ts'
import { OWN, allOf, allowing, atEnd, endAll, eventIn, tcpClient, tcpServer, tunnelPair } from './pair.ts'
import type { TunnelPair } from './pair.ts'
import { reasons } from './world.ts'

afterEach(endAll)

const session = (pair: TunnelPair): ReturnType<TunnelPair['near']['connect']> => pair.near.connect({ remote: pair.remote, connection: { ca: OWN.cert, ...OWN, serverName: 'localhost' } })

describe.skipIf(!MODULE_BUILT).each(['the engine', 'JavaScript'])('a bridge by %s', { timeout: 60_000 }, (by) => {
  const pairOf = async (options: Parameters<typeof tunnelPair>[1] = {}): Promise<TunnelPair> => {
    joining.splices = by === 'the engine'
    atEnd(() => {
      joining.splices = true
    })
    return tunnelPair('udp', options)
  }

  /** tunnel T11, T14, T40 */
  it('hands on the end of a client that said nothing and ended while it waited', async () => {
    const pair = await pairOf({ near: { streams: 1 } })
    const { address } = await tcpServer((socket) => void allOf(socket).then((bytes) => socket.end(`${bytes.length} bytes`)))
    allowing(pair, address)
    const tunnel = await pair.open()
    const { socket: first } = await tcpClient(tunnel.local)
    await eventIn(pair.events.near, pair.near, 'opened')
    const { socket: silent } = await tcpClient(tunnel.local)
    silent.end()
    await eventIn(pair.events.near, pair.near, 'pending', 2)
    // Its end has come, and was seen.
    await new Promise((resolve) => { setTimeout(resolve, 100) })
    first.end()
    first.resume()
    expect(String(await allOf(silent))).toBe('0 bytes')
  })

  /** tunnel T42, T43 */
  it('hands a reset on as one though the last bytes come together with it, while it waits and when it is joined', async () => {
    const pair = await pairOf({ near: { streams: 1 } })
    const { address } = await tcpServer((socket) => void socket.on('data', () => socket.write('.')))
    allowing(pair, address)
    const tunnel = await pair.open()
    const { socket: joined } = await tcpClient(tunnel.local)
    joined.write('first')
    await once(joined, 'data')
    const { socket: waiting } = await tcpClient(tunnel.local)
    await eventIn(pair.events.near, pair.near, 'pending', 2)
    for (const socket of [waiting, joined]) {
      socket.write('last words')
      cutSocket(socket)
    }
    await eventIn(pair.events.near, pair.near, 'failed', 2)
    await eventIn(pair.events.far, pair.far, 'failed')
    const told = [...pair.events.near, ...pair.events.far]
    expect(reasons(told).filter((reason) => reason !== 'tcp')).toEqual([])
    expect(told.filter(({ type }) => type === 'half-closed')).toEqual([])
  })

  /** tunnel T40 */
  it('keeps the answer to a socket of the user\'s that ends its own side first, however that was made', async () => {
    const pair = await pairOf()
    const { address } = await tcpServer((socket) => void allOf(socket).then((bytes) => socket.end(`${bytes.length} bytes`)))
    pair.far.listen(() => address)
    const joined = await session(pair)
    const server = createServer((socket) => joined.join(socket, { port: 7 }))
    const client = await clientOf(server)
    client.end('question')
    expect(String(await allOf(client))).toBe('8 bytes')
  })

  /** attacks H3 */
  it('leaves the encryption of a socket to the socket', async () => {
    const pair = await pairOf()
    const heard: Buffer[] = []
    const { address } = await tcpServer((socket) => void socket.on('data', (piece: Buffer) => {
      heard.push(piece)
      socket.write('answer')
    }))
    pair.far.listen(() => address)
    const joined = await session(pair)
    const { cert, key } = createDevCertificate()
    const server = createTlsServer({ cert, key, allowHalfOpen: true }, (socket) => joined.join(socket, { port: 7 }))
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    atEnd(() => server.close())
    const client = connectTls({ port: (server.address() as AddressInfo).port, host: '127.0.0.1', ca: cert, servername: 'localhost' })
    atEnd(() => client.destroy())
    const answered = Promise.race([once(client, 'data'), once(client, 'error'), once(client, 'close')])
    client.write('question')
    expect(String((await answered)[0])).toBe('answer')
    expect(String(Buffer.concat(heard))).toBe('question')
  })
})

async function clientOf(server: ReturnType<typeof createServer>): Promise<Socket> {
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  atEnd(() => server.close())
  const socket = connect({ port: (server.address() as AddressInfo).port, host: '127.0.0.1', allowHalfOpen: true })
  atEnd(() => socket.destroy())
  return socket
}
