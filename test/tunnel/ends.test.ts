/** Ends at the worst moments: of connections, sockets and tunnels that are in the middle of something (docs/spec/tunnel.md sections 2, 4a, 6, 8). */
import { afterEach, describe, expect, it } from 'vitest'
import type { Connection } from '../../src/index.ts'
import { TUNNEL_ALPN, TUNNEL_LIMITS } from '../../src/tunnel/index.ts'
import { RequestKind, encodeRequest } from '../../src/tunnel/request.ts'
import { codeOf, pattern } from '../fake/pair.ts'
import { MODULE_BUILT } from '../native/built.ts'
import { endAll } from './pair.ts'
import { TARGET, drained, inWorld, reasons, sink } from './world.ts'
import type { TunnelWorld } from './world.ts'

afterEach(endAll)

/** A connection of a client that speaks the protocol by itself. */
const rawly = ({ near, remote, tls, paths }: TunnelWorld): Promise<Connection> =>
  near.endpoint.connect(remote, { alpn: TUNNEL_ALPN, ca: tls.ca, cert: tls.cert, key: tls.key, serverName: 'server', paths: paths.slice(0, 1), limits: TUNNEL_LIMITS })

const said = (kind: RequestKind): Uint8Array => encodeRequest({ kind, port: 7, host: null })

describe.skipIf(!MODULE_BUILT)('a server', { timeout: 60_000 }, () => {
  /** tunnel T60; attacks H5 */
  it('gets its places back from a connection that ends before its goodbye is answered', async () => {
    await inWorld(async (all) => {
      const { world, far, tcp, open } = all
      tcp.silent.add(TARGET)
      for (let round = 0; round < 3; round++) {
        const connection = await rawly(all)
        const [hello, bridge, goodbye] = [await connection.openBidirectional(), await connection.openBidirectional(), await connection.openBidirectional()]
        hello.write(said(RequestKind.HELLO))
        hello.end()
        bridge.write(said(RequestKind.CONNECT))
        goodbye.write(said(RequestKind.GOODBYE))
        goodbye.end()
        await world.sleep(100)
        expect(tcp.dialled.length).toBe(round + 1)
        await connection.close({ drainMs: 0 })
        await world.sleep(200)
      }
      tcp.silent.clear()
      await tcp.serve(TARGET, (socket) => void socket.end('here'))
      expect(String((await drained(tcp.client((await open()).local))).bytes)).toBe('here')
      expect(far.statistics().failed).toEqual({ connection: 3 })
    }, { far: { limits: { maxBridges: 3 } } })
  })

  /** tunnel section 4a */
  it('reads the first request though as many others as it serves at once have come before it', async () => {
    await inWorld(async (all) => {
      const { world, tcp } = all
      await tcp.serve(TARGET, (socket) => void socket.end('here'))
      const connection = await rawly(all)
      const hello = await connection.openBidirectional()
      const bridges = await Promise.all([1, 2, 3].map(() => connection.openBidirectional()))
      for (const bridge of bridges) bridge.write(said(RequestKind.CONNECT))
      await world.sleep(200)
      hello.write(said(RequestKind.HELLO))
      hello.end()
      expect([...await hello.bytes()]).toEqual([0])
      await connection.close({ drainMs: 0 })
    }, { far: { streams: 2 } })
  })

  /** tunnel T17, T63 */
  it('that is shutting down still answers a goodbye: what it was given reaches a slow target', async () => {
    await inWorld(async ({ world, near, far, tcp, open, events }) => {
      let received: ReturnType<typeof sink> | null = null
      await tcp.serve(TARGET, (socket) => {
        socket.end('done')
        socket.pause()
        void world.sleep(5000).then(() => { received = sink(socket) })
      })
      const tunnel = await open()
      const client = tcp.client(tunnel.local)
      client.resume()
      client.end(pattern(400_000))
      await new Promise((resolve) => client.once('close', resolve))
      const shutting = far.shutdown({ graceMs: 20_000 })
      await world.sleep(10)
      await near.close(tunnel.id)
      await shutting
      expect([(received as ReturnType<typeof sink> | null)?.bytes, reasons(events.near), reasons(events.far)]).toEqual([400_000, ['end'], ['end']])
    })
  })
})

describe.skipIf(!MODULE_BUILT)('a tunnel', { timeout: 60_000 }, () => {
  /** tunnel T17 */
  it('that is closed gently before the server has agreed says goodbye all the same when its bridges have ended', async () => {
    await inWorld(async ({ world, near, far, tcp, begin, events, target }) => {
      let received: ReturnType<typeof sink> | null = null
      await tcp.serve(TARGET, (socket) => {
        socket.end('done')
        socket.pause()
        void world.sleep(5000).then(() => { received = sink(socket) })
      })
      far.listen(async () => {
        await world.sleep(500)
        return target
      })
      const tunnel = await begin()
      const client = tcp.client(tunnel.local)
      client.resume()
      client.end(pattern(400_000))
      await world.sleep(300)
      expect([tunnel.bridges, near.statistics().pending]).toEqual([1, 0])
      await near.close(tunnel.id)
      expect([(received as ReturnType<typeof sink> | null)?.bytes, reasons(events.near), reasons(events.far)]).toEqual([400_000, ['end'], ['end']])
    }, { closed: true })
  })

  /** tunnel T15 */
  it('says that the time was up where the server gives it no stream', async () => {
    await inWorld(async ({ begin }) => {
      expect(await codeOf((await begin()).opened)).toBe('QB_TUNNEL_TIMEOUT')
    }, { server: { limits: { ...TUNNEL_LIMITS, bidirectionalStreams: 0 } } })
  })

  /** tunnel T60, T65 */
  it('that is closed in the callback of an opening gives each place back once', async () => {
    await inWorld(async ({ world, near, tcp, open, events }) => {
      await tcp.serve(TARGET, (socket) => void socket.write('.'))
      const first = await open()
      let closed = false
      near.bridges$.subscribe(({ type }) => {
        if (type !== 'opened' || closed) return
        closed = true
        void near.close(first.id, { force: true })
      })
      await drained(tcp.client(first.local))
      await first.closed
      expect([reasons(events.near), near.statistics().failed]).toEqual([['shutdown'], { shutdown: 1 }])
      const second = await open()
      tcp.client(second.local)
      tcp.client(second.local)
      await world.sleep(500)
      expect(near.statistics()).toMatchObject({ bridgesOpen: 1, pending: 1 })
    }, { near: { limits: { maxBridges: 1 } } })
  })
})
