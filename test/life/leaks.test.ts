/**
 * What is left when things have come and gone: streams (attacks K7), connections and endpoints (attacks I8). Long forms: `npm run torture -- streams`, `-- cycles`.
 */
import { createSocket } from 'node:dgram'
import { readdirSync } from 'node:fs'
import { afterEach, describe, expect, it } from 'vitest'
import { Endpoint, createDevCertificate } from '../../src/index.ts'
import type { BidirectionalStream, CarrierEndpoint, Connection } from '../../src/index.ts'
import { MODULE_BUILT } from '../native/built.ts'
import { closeAll, nativePair } from '../native/pair.ts'
import { collect } from './collect.ts'
import { ROUNDS, leavesNothing } from './left.ts'
import { progress, RUNS } from './torture.ts'

afterEach(closeAll)

/** Streams under way at once. */
const WIDTH = 64

async function answerAll(far: Connection): Promise<void> {
  for await (const stream of far.incomingBidirectional()) void answer(stream)
}

async function answer(stream: BidirectionalStream): Promise<void> {
  stream.write(await stream.bytes())
  stream.end()
}

describe.skipIf(!MODULE_BUILT)('nothing is left', () => {
  it('attack K7: of streams that came and went on one connection', async () => {
    const { connect } = await nativePair()
    const { near, far } = await connect()
    void answerAll(far)
    const streams = Math.ceil((RUNS ?? 9000) / ROUNDS)
    const told = progress('streams', streams * ROUNDS)
    const request = Buffer.alloc(100, 7)
    await leavesNothing(async () => {
      let next = 0
      const worker = async (): Promise<void> => {
        while (next < streams) {
          next += 1
          const stream = await near.openBidirectional()
          stream.write(request)
          stream.end()
          if ((await stream.bytes()).length !== request.length) throw new Error('an answer is not whole')
          told()
        }
      }
      await Promise.all(Array.from({ length: WIDTH }, worker))
      while (near.statistics().streamsOpen + far.statistics().streamsOpen > 0) await new Promise((resolve) => setTimeout(resolve, 5))
    })
  }, 3_600_000)

  it('attack I8: of connections and endpoints that came and went', async () => {
    const cycles = Math.ceil((RUNS ?? 90) / ROUNDS)
    const { server, own } = await nativePair()
    const told = progress('connections', cycles * ROUNDS)
    void (async () => {
      for await (const connection of server.incoming()) void connection.closed
    })()
    await leavesNothing(async () => {
      for (let cycle = 0; cycle < cycles; cycle++) {
        const client = await Endpoint.bind()
        const connection = await client.connect(server.local[0] ?? '', { alpn: 'test', ca: own.cert })
        await connection.close()
        await client.close()
        told()
      }
      while (server.connections.size > 0) await new Promise((resolve) => setTimeout(resolve, 5))
    })
  }, 3_600_000)

  it('attack I8: of endpoints for raw datagrams only, once nobody listens to them', async () => {
    const used = (): number => (process.platform === 'linux' ? readdirSync('/proc/self/fd').length : 0)
    const plain = createSocket('udp4')
    await new Promise<void>((resolve) => plain.bind(0, '127.0.0.1', resolve))
    const before = used()
    const heard: number[] = []
    const stops: (() => void)[] = []
    const addresses = await (async () => {
      const made: string[] = []
      for (let count = 0; count < 10; count++) {
        const endpoint = await Endpoint.bind({ local: '127.0.0.1:0' })
        endpoint.sendRaw(`127.0.0.1:${plain.address().port}`, Uint8Array.of(1))
        made.push(endpoint.local[0] ?? '')
        const subscription = endpoint.raw$.subscribe(() => heard.push(count))
        stops.push(() => subscription.unsubscribe())
      }
      return made
    })()
    await collect(6)
    // Only their subscribers know of them: they live, since those wait.
    for (let round = 0; round < 2000 && new Set(heard).size < 10; round++) {
      for (const address of addresses) plain.send(Uint8Array.of(2), Number(address.split(':')[1]), '127.0.0.1')
      await new Promise((resolve) => setTimeout(resolve, 5))
    }
    expect(new Set(heard).size).toBe(10)
    for (const stop of stops.splice(0)) stop()
    for (let round = 0; round < 500 && used() > before; round++) await collect(1)
    expect(used()).toBeLessThanOrEqual(before)
    plain.close()
  })

  it('attack I8: of carriers that came and went', async () => {
    await leavesNothing(async () => {
      for (let count = 0; count < 50; count++) {
        const far: { receive?: (bytes: Uint8Array) => void } = {}
        const own = createDevCertificate()
        const near: CarrierEndpoint = Endpoint.carrier({ maxDatagramSizeBytes: 1200, local: '10.0.0.1:1', maxSegments: 1, send: ({ bytes }) => far.receive?.(bytes) })
        const server = Endpoint.carrier({ maxDatagramSizeBytes: 1200, local: '10.0.0.2:1', maxSegments: 1, server: { alpn: 'test', cert: own.cert, key: own.key }, send: ({ bytes }) => near.receive([{ bytes, remote: '10.0.0.2:1' }]) })
        far.receive = (bytes) => server.receive([{ bytes, remote: '10.0.0.1:1' }])
        const [connection] = await Promise.all([near.connect('10.0.0.2:1', { alpn: 'test', ca: own.cert, serverName: 'localhost' }), server.incoming().next()])
        const stream = await connection.openUnidirectional()
        stream.write(new Uint8Array(5000))
        stream.end()
        await stream.finished
        await Promise.all([near.close(), server.close()])
      }
    })
  }, 600_000)

  it('attack I8: of endpoints that nobody closed and nobody holds', async () => {
    const used = (): number => (process.platform === 'linux' ? readdirSync('/proc/self/fd').length : 0)
    const before = used()
    await (async () => {
      for (let count = 0; count < 10; count++) await Endpoint.bind()
    })()
    for (let round = 0; round < 200 && used() > before; round++) await collect(1)
    expect(used()).toBeLessThanOrEqual(before)
  })
})
