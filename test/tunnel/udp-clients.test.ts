/** Clients that speak the tunnel's protocol for UDP by themselves, well or badly (docs/spec/tunnel.md section 10): simulated worlds. */
import { describe, expect, it } from 'vitest'
import type { Connection } from '../../src/index.ts'
import { TUNNEL_ALPN, TUNNEL_LIMITS } from '../../src/tunnel/index.ts'
import { RequestKind, encodeRequest } from '../../src/tunnel/request.ts'
import { MODULE_BUILT } from '../native/built.ts'
import { TARGET, inWorld } from './world.ts'
import type { TunnelWorld } from './world.ts'

const WORD = Uint8Array.of(0)
/** Answers each datagram with itself. */
const echoing = ({ udp }: TunnelWorld): ReturnType<TunnelWorld['udp']['serve']> => udp.serve(TARGET, (bytes) => [bytes])

describe.skipIf(!MODULE_BUILT)('a client that speaks for itself', { timeout: 60_000 }, () => {
  const asking = async (world: TunnelWorld): Promise<Connection> => {
    const { near, remote, tls, paths } = world
    const connection = await near.endpoint.connect(remote, { alpn: TUNNEL_ALPN, ca: tls.ca, cert: tls.cert, key: tls.key, serverName: 'server', paths: paths.slice(0, 1), limits: TUNNEL_LIMITS })
    const hello = await connection.openBidirectional()
    hello.write(encodeRequest({ kind: RequestKind.HELLO_UDP, port: 7, host: null }))
    hello.end()
    expect([...await hello.bytes()]).toEqual([0])
    return connection
  }

  /** tunnel T72, T73 */
  it('may send before its request is answered, and even before it is made', async () => {
    await inWorld(async (world) => {
      await echoing(world)
      const connection = await asking(world)
      const batches = connection.datagrams.batches()
      connection.datagrams.send(Uint8Array.of(1, 0, 42))
      await world.world.sleep(300)
      const stream = await connection.openBidirectional()
      stream.write(encodeRequest({ kind: RequestKind.UDP, port: 7, host: null }))
      const { value } = await batches.next()
      expect([stream.id, value?.map((bytes: Uint8Array) => [...bytes])]).toEqual([4n, [[1, 0, 42]]])
      await connection.close()
    })
  })

  /** tunnel T76 */
  it('may end its flow before it is allowed: that is no mistake', async () => {
    await inWorld(async (world) => {
      world.far.listen(() => world.world.sleep(300).then(() => TARGET), { protocol: 'udp' })
      const connection = await asking(world)
      const flow = await connection.openBidirectional()
      flow.write(encodeRequest({ kind: RequestKind.UDP, port: 7, host: null }))
      flow.end()
      expect([...await flow.bytes()]).toEqual([])
      await world.world.sleep(1000)
      expect(world.far.statistics()).toMatchObject({ flowsOpen: 0, flowsTotal: 1, failed: {} })
      expect(world.udp.open).toBe(0)
      await connection.close()
    }, { closed: true })
  })

  /** tunnel T72, T73, T30 */
  it('ends its flow by bytes on the stream, by a request for port 0, and by a message that is none', async () => {
    await inWorld(async (world) => {
      await echoing(world)
      const connection = await asking(world)
      const wrong = await connection.openBidirectional()
      wrong.write(encodeRequest({ kind: RequestKind.UDP, port: 7, host: null }))
      await world.world.sleep(100)
      wrong.write(WORD)
      await expect(wrong.bytes()).rejects.toMatchObject({ errorCode: 0x547_1908n })
      const nowhere = await connection.openBidirectional()
      nowhere.write(encodeRequest({ kind: RequestKind.UDP, port: 0, host: null }))
      await expect(nowhere.bytes()).rejects.toMatchObject({ errorCode: 0x547_1908n })
      expect(world.far.statistics()).toMatchObject({ flowsOpen: 0, failed: { 'bad-init': 1 } })
      connection.datagrams.send(Uint8Array.of(0x40))
      expect(await connection.closed).toMatchObject({ by: 'peer', errorCode: 0x547_1908n })
      expect(world.far.statistics().udpDrops.malformed).toBe(1)
    })
  })

  /** tunnel T73; attacks H1 */
  it('gets nothing through by messages for streams of TCP, or for none', async () => {
    await inWorld(async (world) => {
      await echoing(world)
      await world.tcp.serve(TARGET, () => {})
      const connection = await asking(world)
      const stream = await connection.openBidirectional()
      stream.write(encodeRequest({ kind: RequestKind.CONNECT, port: 7, host: null }))
      await world.world.sleep(100)
      for (let count = 0; count < 200; count++) connection.datagrams.send(Uint8Array.of(count % 64, 0, 1))
      await world.world.sleep(2000)
      expect([world.udp.dialled, world.far.statistics().udpDrops.unknownFlow > 0, world.far.statistics().bridgesOpen]).toEqual([[], true, 1])
      await connection.close()
    })
  })

  /** tunnel T72, T22 */
  it('is decided anew with each flow, and by the protocol of the flow', async () => {
    await inWorld(async (world) => {
      world.far.listen(7, { protocol: 'udp' })
      const connection = await asking(world)
      const stream = await connection.openBidirectional()
      stream.write(encodeRequest({ kind: RequestKind.CONNECT, port: 7, host: null }))
      await expect(stream.bytes()).rejects.toMatchObject({ errorCode: 0x547_190an })
      expect([world.tcp.dialled, world.udp.dialled]).toEqual([[], []])
      await connection.close()
    }, { closed: true })
  })
})
