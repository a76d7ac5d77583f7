/** Sockets that are cut (docs/spec/tunnel.md T43, T64): whatever they are and whatever they are doing, their file is closed and their peer hears of it. */
import { once } from 'node:events'
import { connect, createServer } from 'node:net'
import type { AddressInfo, Server, Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { connect as connectTls, createServer as createTlsServer } from 'node:tls'
import { afterEach, describe, expect, it } from 'vitest'
import { createDevCertificate } from '../../src/index.ts'
import { cutSocket, tcpSocketOf } from '../../src/tunnel/tcp.ts'
import { atEnd, endAll } from './pair.ts'

afterEach(endAll)

const ends: Record<string, (server: Server) => Promise<Socket>> = {
  'of TCP': async (server) => {
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    return connect((server.address() as AddressInfo).port, '127.0.0.1')
  },
  'of the Unix kind': async (server) => {
    const path = process.platform === 'win32' ? `\\\\.\\pipe\\quicbraid-${process.pid}` : join(tmpdir(), `quicbraid-${process.pid}.sock`)
    server.listen(path)
    await once(server, 'listening')
    return connect(path)
  },
  'of TLS': async (server) => {
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    return connectTls({ port: (server.address() as AddressInfo).port, host: '127.0.0.1', rejectUnauthorized: false })
  },
}

describe.each(Object.keys(ends))('a socket %s', (kind) => {
  it.each(['open', 'ending', 'ended', 'full'])('that is %s when it is cut leaves nothing, and its peer hears of it', async (state) => {
    const options = { allowHalfOpen: true }
    const server = kind === 'of TLS' ? createTlsServer({ ...createDevCertificate(), ...options } as never) as Server : createServer(options)
    atEnd(() => server.close())
    const accepted = once(server, kind === 'of TLS' ? 'secureConnection' : 'connection') as Promise<[Socket]>
    const peer = await (ends[kind] as (typeof ends)[string])(server)
    peer.on('error', () => {})
    atEnd(() => peer.destroy())
    const [socket] = await accepted
    const closed = once(socket, 'close')
    const heard = new Promise((resolve) => peer.on('error', resolve).on('close', resolve).on('end', resolve))
    if (state === 'full') while (socket.write(Buffer.alloc(65_536)));
    else peer.resume()
    if (state === 'ending' || state === 'ended') socket.end('x')
    if (state === 'ended') await once(socket, 'finish')
    const handles = handlesOf(socket)
    cutSocket(tcpSocketOf(socket))
    peer.resume()
    await closed
    await heard
    peer.destroy()
    await new Promise((resolve) => { setImmediate(resolve) })
    expect(handles()).toBe(0)
  })
})

/** How many of a socket's handles are open: none when its file is closed. */
function handlesOf(socket: Socket): () => number {
  const { _handle: handle } = socket as unknown as { _handle: object }
  const { _getActiveHandles: active } = process as unknown as { _getActiveHandles(): object[] }
  return () => active.call(process).filter((other) => other === socket || other === handle).length
}
