/** Datagrams that are no QUIC, over the native module: they share the socket with connections. */
import { createSocket } from 'node:dgram'
import type { Socket } from 'node:dgram'
import { afterEach, describe, expect, it } from 'vitest'
import type { RawDatagram } from '../../src/index.ts'
import { World } from '../../src/sim/index.ts'
import { pattern } from '../fake/pair.ts'
import { MODULE_BUILT } from './built.ts'
import { closeAll, nativePair, until } from './pair.ts'

let sockets: Socket[] = []

afterEach(async () => {
  for (const socket of sockets) socket.close()
  sockets = []
  await closeAll()
})

async function plainSocket(): Promise<{ socket: Socket; address: string; heard: { text: string; from: string }[] }> {
  const socket = createSocket('udp4')
  sockets.push(socket)
  const heard: { text: string; from: string }[] = []
  socket.on('message', (bytes, { address, port }) => heard.push({ text: bytes.toString('latin1'), from: `${address}:${port}` }))
  await new Promise<void>((resolve) => socket.bind(0, '127.0.0.1', resolve))
  return { socket, address: `127.0.0.1:${socket.address().port}`, heard }
}

describe.skipIf(!MODULE_BUILT)('raw datagrams', () => {
  it('come and go on the socket of a connection while a stream runs', async () => {
    const pair = await nativePair()
    const { near, far } = await pair.connect()
    const plain = await plainSocket()
    const at = pair.server.local[0] ?? ''
    const seen: RawDatagram[] = []
    pair.server.raw$.subscribe((datagram) => seen.push(datagram))
    const stream = await near.openUnidirectional()
    const writer = stream.writable.getWriter()
    const writing = (async () => {
      for (let index = 0; index < 64; index++) await writer.write(pattern(65_536, index * 65_536))
      await writer.close()
    })()
    const reading = (async () => (await (await far.incomingUnidirectional().next()).value?.bytes())?.length)()
    let asked = 0
    const echo = pair.server.raw$.subscribe(({ bytes, remote }) => pair.server.sendRaw(remote, Buffer.concat([Uint8Array.of(1), bytes]), { ttl: 64 }))
    while (plain.heard.length < 20) {
      plain.socket.send(Uint8Array.of(0, asked % 256), Number(at.split(':')[1]), '127.0.0.1')
      asked += 1
      await new Promise((resolve) => setTimeout(resolve, 1))
    }
    echo.unsubscribe()
    expect(await reading).toBe(64 * 65_536)
    await writing
    expect(plain.heard.every(({ text, from }) => text.startsWith('\x01\0') && from === at)).toBe(true)
    expect(seen.every(({ remote, local, bytes, atMs }) => remote === plain.address && local === at && bytes.length === 2 && bytes[0] === 0 && atMs > 0 && atMs <= pair.server.now())).toBe(true)
    await until(() => pair.server.statistics().rawSent >= plain.heard.length)
    const { rawReceived, rawSent } = pair.server.statistics()
    expect(rawReceived).toBeGreaterThanOrEqual(rawSent)
    expect(pair.server.statistics().drops).not.toHaveProperty('malformedHeader')
  })

  it('are dropped and counted while nobody is subscribed', async () => {
    const { server } = await nativePair()
    const plain = await plainSocket()
    const send = (): void => plain.socket.send(Uint8Array.of(0, 7), Number(server.local[0]?.split(':')[1]), '127.0.0.1')
    send()
    await until(() => server.statistics().drops['notQuic'] === 1)
    expect(server.statistics().rawReceived).toBe(1)
    const seen: RawDatagram[] = []
    const subscription = server.raw$.subscribe((datagram) => seen.push(datagram))
    send()
    await until(() => seen.length === 1)
    subscription.unsubscribe()
    send()
    await until(() => server.statistics().drops['notQuic'] === 2)
    expect([seen.length, server.statistics().eventsDropped]).toEqual([1, 0])
  })

  it('attack L26: a flood that a slow subscriber does not read is bounded, and the oldest are lost and counted', async () => {
    const { server, client, connect } = await nativePair()
    await connect()
    const at = server.local[0] ?? ''
    const seen: number[] = []
    server.raw$.subscribe(({ bytes }) => seen.push(Buffer.from(bytes).readUInt32BE(1)))
    let count = 0
    const flood = async (): Promise<void> => {
      for (let index = 0; index < 4000; index++) {
        const bytes = Buffer.alloc(5)
        bytes.writeUInt32BE((count += 1), 1)
        client.sendRaw(at, bytes, { local: '127.0.0.1' })
      }
      await new Promise((resolve) => setImmediate(resolve))
      // The I/O threads go on while the event loop does not.
      const end = performance.now() + 100
      while (performance.now() < end);
      await new Promise((resolve) => setTimeout(resolve, 5))
    }
    for (let round = 0; round < 50 && server.statistics().eventsDropped === 0; round++) await flood()
    await until(() => seen.length + server.statistics().eventsDropped === server.statistics().rawReceived)
    expect(server.statistics().eventsDropped).toBeGreaterThan(0)
    expect(seen.every((number, index) => index === 0 || number > (seen[index - 1] ?? 0))).toBe(true)
  })

  it('run in a simulated world, in virtual time', async () => {
    const { world, client, server, paths } = World.pair([{ delayMs: 30 }])
    const seen: RawDatagram[] = []
    await world.run(async () => {
      const [near, far] = [await client.bind(), await server.bind()]
      far.raw$.subscribe((datagram) => {
        seen.push(datagram)
        far.sendRaw(datagram.remote, Uint8Array.of(2))
      })
      near.raw$.subscribe((datagram) => seen.push(datagram))
      near.sendRaw(paths[0]?.remote ?? '', Uint8Array.of(1), { ttl: 9 })
      await world.sleep(100)
      expect(near.statistics()).toMatchObject({ rawSent: 1, rawReceived: 1 })
    })
    expect(seen).toEqual([
      { bytes: Uint8Array.of(1), remote: '10.0.1.1:4433', local: '10.0.1.2:4433', atMs: 30 },
      { bytes: Uint8Array.of(2), remote: '10.0.1.2:4433', local: '10.0.1.1:4433', atMs: 60 },
    ])
  })
})
