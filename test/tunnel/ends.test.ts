/** Ends at the worst moments: of connections, sockets and tunnels that are in the middle of something (docs/spec/tunnel.md sections 2, 4a, 6, 8). */
import { afterEach, describe, expect, it } from 'vitest'
import type { Connection } from '../../src/index.ts'
import { TUNNEL_ALPN, TUNNEL_LIMITS } from '../../src/tunnel/index.ts'
import { backwardOf } from '../../src/tunnel/manager.ts'
import { RequestKind, encodeRequest } from '../../src/tunnel/request.ts'
import { codeOf, pattern } from '../fake/pair.ts'
import { MODULE_BUILT } from '../native/built.ts'
import type { FakeSocket } from './fake-tcp.ts'
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

  /** tunnel T45, T63 */
  it('whose server ends it in order hands a slow client all that had come', async () => {
    await inWorld(async ({ world, near, far, tcp, open, events }) => {
      await tcp.serve(TARGET, (socket) => {
        socket.resume()
        socket.end(pattern(100_000))
      })
      const tunnel = await open()
      const client = tcp.client(tunnel.local)
      client.pause()
      client.end('please')
      await world.sleep(1000)
      expect([near.statistics().bridgesOpen, far.statistics().bridgesOpen]).toEqual([1, 0])
      await far.shutdown({ graceMs: 5000 })
      await world.sleep(1000)
      expect(await drained(client)).toEqual({ bytes: pattern(100_000), end: 'fin' })
      await tunnel.closed
      expect([reasons(events.near), near.statistics().bridgesOpen, near.statistics().tunnels]).toEqual([['end'], 0, 0])
    })
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

describe.skipIf(!MODULE_BUILT)('a socket of the user\'s', { timeout: 60_000 }, () => {
  const connecting = ({ remote, tls, paths }: TunnelWorld): Parameters<TunnelWorld['near']['connect']>[0] =>
    ({ remote, connection: { ca: tls.ca, cert: tls.cert, key: tls.key, serverName: 'server', paths: paths.slice(0, 1) } })
  const fails = (): never => {
    throw new Error('no words')
  }
  const toTarget = ({ far }: TunnelWorld): number => far.listen(({ port }) => (port === 0 || port === 7 ? TARGET : undefined))

  /** tunnel T14 */
  it('that has gone already costs the server nothing, and leaves nothing', async () => {
    await inWorld(async (all) => {
      const { world, near, far, tcp } = all
      toTarget(all)
      const session = await near.connect(connecting(all))
      const gone: FakeSocket[] = []
      await tcp.serve('127.0.0.1:1080', (socket) => void gone.push(socket))
      tcp.client('127.0.0.1:1080').destroy()
      tcp.client('127.0.0.1:1080').destroy()
      for (const socket of gone) socket.destroy()
      await world.sleep(10)
      session.join(gone[0] as FakeSocket, { port: 7 })
      await world.sleep(1000)
      expect([session.bridges, tcp.dialled, near.statistics().pending, near.statistics().failed]).toEqual([0, [], 0, { tcp: 1 }])
      const connection = session.connection as Connection
      await backwardOf(near).ask(gone[1] as FakeSocket, await connection.openBidirectional(), { port: 7, label: 'x' })
      expect([tcp.dialled, near.statistics().bridgesOpen, near.statistics().failed]).toEqual([[], 0, { tcp: 2 }])
      await world.sleep(100)
      expect(far.statistics().bridgesOpen).toBe(0)
    }, { closed: true })
  })

  it('whose words cannot be had is reset, whether it was to be joined or refused', async () => {
    await inWorld(async (all) => {
      const { near, tcp } = all
      toTarget(all)
      await tcp.serve(TARGET, (socket) => void socket.end('here'))
      const session = await near.connect(connecting(all))
      const tries = [{ port: 7, answer: fails }, { port: 9, answer: fails }, { port: 7, answer: () => 1 as never }]
      await tcp.serve('127.0.0.1:1080', (socket) => session.join(socket, tries.shift() ?? { port: 7 }))
      for (let count = 0; count < 3; count++) expect(await drained(tcp.client('127.0.0.1:1080'))).toMatchObject({ end: 'rst' })
      expect([session.bridges, near.statistics().failed]).toEqual([0, { tcp: 2, refused: 1 }])
      await near.close(session.id)
    }, { closed: true })
  })

  /** tunnel T12, T14 */
  it('that comes in the moment when the only other one goes does not wait in vain', async () => {
    await inWorld(async (all) => {
      const { world, near, tcp } = all
      toTarget(all)
      await tcp.serve(TARGET, (socket) => void socket.end('here'))
      const session = await near.connect(connecting(all))
      const mine: FakeSocket[] = []
      await tcp.serve('127.0.0.1:1080', (socket) => void mine.push(socket))
      const [first, second] = [tcp.client('127.0.0.1:1080'), tcp.client('127.0.0.1:1080')]
      await world.sleep(100)
      // The only stream that there is.
      const held = await (session.connection as Connection).openBidirectional()
      held.write(said(RequestKind.CONNECT).subarray(0, 1))
      session.join(mine[0] as FakeSocket, { port: 7 })
      mine[0]?.once('close', () => session.join(mine[1] as FakeSocket, { port: 7 }))
      first.resetAndDestroy()
      await world.sleep(100)
      held.reset(0n)
      held.stop(0n)
      const answer = await Promise.race([drained(second), world.sleep(3000)])
      expect(String((answer as { bytes: Buffer } | undefined)?.bytes)).toBe('here')
    }, { closed: true, server: { limits: { ...TUNNEL_LIMITS, bidirectionalStreams: 1 } } })
  })
})
