/** What only bridges have whose bytes the engine moves; the rules of all bridges are in the other files, over both kinds. */
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import type { Socket } from 'node:net'
import { afterEach, describe, expect, it } from 'vitest'
import { pattern } from '../fake/pair.ts'
import { MODULE_BUILT } from '../native/built.ts'
import { nativeModule } from '../native/raw-ends.ts'
import { joining } from '../../src/tunnel/join.ts'
import { allOf, allowing, atEnd, echo, endAll, eventIn, tcpClient, tcpServer, tunnelPair } from './pair.ts'

const HAS_SPLICE = MODULE_BUILT && nativeModule().features().includes('splice')
const BYTES = 8 * 1_048_576

describe.skipIf(!HAS_SPLICE)('a bridge by the engine', { timeout: 60_000 }, () => {
  afterEach(endAll)

  it('moves bytes without a visit to JavaScript', async () => {
    const pair = await tunnelPair('udp')
    allowing(pair, (await echo()).address)
    const tunnel = await pair.open()
    const { socket: client } = await tcpClient(tunnel.local)
    client.write('x')
    await once(client, 'data')
    const before = crossings(pair)
    await through(client, BYTES)
    // Ends, statistics and the like; JavaScript's own bridge crosses more than once for 64 KiB.
    expect(crossings(pair) - before).toBeLessThan(BYTES / 65_536)
    expect(pair.near.statistics()).toMatchObject({ bytesUp: BYTES + 1, bytesDown: BYTES + 1 })
  })

  it('brings what the target says at once whole and in order, behind what had crossed before the engine took over', async () => {
    const pair = await tunnelPair('udp')
    const bytes = pattern(BYTES)
    const { address } = await tcpServer((socket) => {
      socket.end(bytes)
      socket.resume()
    })
    allowing(pair, address)
    const tunnel = await pair.open()
    const all = await Promise.all(Array.from({ length: 8 }, async () => {
      const { socket: client } = await tcpClient(tunnel.local)
      const hash = createHash('sha256')
      client.on('data', (piece: Buffer) => hash.update(piece))
      await once(client, 'end')
      client.end()
      return hash.digest('hex')
    }))
    expect(new Set(all)).toEqual(new Set([hashOf(bytes)]))
  })

  it('works with the smallest send buffers there are', async () => {
    const small = { sendBufferBytes: 4096, connectionSendBufferBytes: 16_384 }
    const pair = await tunnelPair('udp', { near: { limits: { pauseAtBytes: 4096 } }, server: { limits: { bidirectionalStreams: 32, ...small } } })
    allowing(pair, (await echo()).address)
    const tunnel = await pair.open({ connection: { limits: { connectionSendBufferBytes: 16_384 } } })
    const clients = await Promise.all(Array.from({ length: 6 }, () => tcpClient(tunnel.local)))
    await Promise.all(clients.map(({ socket }) => through(socket, 262_144)))
  })

  /** tunnel T42. */
  it('hears of a reset though nobody reads or writes', async () => {
    const pair = await tunnelPair('udp')
    const { address } = await tcpServer((socket) => void socket.write('hello'))
    allowing(pair, address)
    const tunnel = await pair.open()
    const { socket: client } = await tcpClient(tunnel.local)
    await once(client, 'data')
    client.resetAndDestroy()
    expect(await eventIn(pair.events.near, pair.near, 'failed')).toMatchObject({ reason: 'tcp' })
    expect(await eventIn(pair.events.far, pair.far, 'failed')).toMatchObject({ reason: 'tcp' })
  })

  it('is not asked for where it is switched off', async () => {
    joining.splices = false
    atEnd(() => {
      joining.splices = true
    })
    const pair = await tunnelPair('udp')
    allowing(pair, (await echo()).address)
    const tunnel = await pair.open()
    const { socket: client } = await tcpClient(tunnel.local)
    const before = crossings(pair)
    await through(client, BYTES)
    expect(crossings(pair) - before).toBeGreaterThan(BYTES / 65_536)
  })
})

const hashOf = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex')

const crossings = ({ near, far }: Awaited<ReturnType<typeof tunnelPair>>): number => near.endpoint.statistics().crossings + far.endpoint.statistics().crossings

/** Sends, ends, and looks whether the same comes back. */
async function through(client: Socket, length: number): Promise<void> {
  const bytes = pattern(length)
  client.end(bytes)
  expect(hashOf(await allOf(client))).toBe(hashOf(bytes))
}
