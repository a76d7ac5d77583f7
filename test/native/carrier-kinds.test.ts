/** Carriers as programs have them: `dgram` on both sides, and frames on a byte stream that fills up, as a WebSocket does. */
import { createSocket } from 'node:dgram'
import type { Socket as DatagramSocket } from 'node:dgram'
import { connect, createServer } from 'node:net'
import type { AddressInfo, Socket } from 'node:net'
import { afterEach, describe, expect, it } from 'vitest'
import { createDevCertificate, Endpoint } from '../../src/index.ts'
import type { CarrierBurst, CarrierEndpoint, CarrierOptions, Connection } from '../../src/index.ts'
import { pattern } from '../fake/pair.ts'
import { MODULE_BUILT } from './built.ts'
import { identity } from './pair.ts'

let endings: (() => unknown)[] = []

afterEach(async () => {
  const now = endings
  endings = []
  for (const end of now) await end()
})

const SERVER_NAME = 'localhost'
/** Datagrams that a byte stream takes before it wants to be waited for, as a program bounds what a WebSocket has buffered. */
const MOST_BUFFERED = 3

function carrier(options: CarrierOptions): CarrierEndpoint {
  const endpoint = Endpoint.carrier(options)
  endings.unshift(() => endpoint.close({ drainMs: 0 }))
  return endpoint
}

/** So many bytes there and back, whole and in order. */
async function echoed(client: Endpoint, server: Endpoint, remote: string, ca: string, bytes: number): Promise<Connection> {
  const [near, far] = await Promise.all([client.connect(remote, { alpn: 'test', ca, serverName: SERVER_NAME }), server.incoming().next()])
  const echoing = (async () => {
    const theirs = (await (far.value as Connection).incomingBidirectional().next()).value
    await theirs?.readable.pipeTo(theirs.writable)
  })()
  const stream = await near.openBidirectional()
  const sent = pattern(bytes)
  const writing = (async () => {
    const writer = stream.writable.getWriter()
    for (let at = 0; at < bytes; at += 65_536) await writer.write(sent.subarray(at, at + 65_536))
    await writer.close()
  })()
  const back = await stream.bytes()
  await Promise.all([writing, echoing])
  expect(Buffer.from(back).equals(sent)).toBe(true)
  return near
}

async function datagramSocket(): Promise<{ socket: DatagramSocket; address: string }> {
  const socket = createSocket({ type: 'udp4', recvBufferSize: 4_194_304 })
  await new Promise<void>((resolve) => socket.bind(0, '127.0.0.1', resolve))
  endings.push(() => socket.close())
  return { socket, address: `127.0.0.1:${socket.address().port}` }
}

/** A frame: length in two bytes, then one datagram. */
function framed({ bytes, segmentBytes, segments }: CarrierBurst): Buffer[] {
  return Array.from({ length: segments }, (_, index) => {
    const one = bytes.subarray(index * segmentBytes, (index + 1) * segmentBytes)
    const frame = Buffer.alloc(2 + one.length)
    frame.writeUInt16BE(one.length)
    frame.set(one, 2)
    return frame
  })
}

/** An endpoint over a byte stream: its `send` says how much the stream took, and goes on when that has drained. */
function overStream(socket: Socket, names: { own: string; peer: string }, options: Partial<CarrierOptions> = {}): { endpoint: CarrierEndpoint; full: () => number } {
  let full = 0
  let buffered = 0
  const endpoint = carrier({
    maxDatagramSizeBytes: 1400, local: names.own, ...options,
    send: (burst) => {
      let taken = 0
      for (const frame of framed(burst)) {
        if (buffered >= MOST_BUFFERED) break
        buffered += 1
        // The stream tells of each frame later, in a turn of its own.
        socket.write(frame, () => setImmediate(() => {
          buffered -= 1
          if (buffered === 0) endpoint.writable()
        }))
        taken += 1
      }
      if (taken < burst.segments) full += 1
      return taken
    },
  })
  let rest: Buffer = Buffer.alloc(0)
  socket.on('data', (chunk: Buffer) => {
    rest = Buffer.concat([rest, chunk])
    const datagrams: { bytes: Uint8Array; remote: string }[] = []
    while (rest.length >= 2 && rest.length >= 2 + rest.readUInt16BE()) {
      const end = 2 + rest.readUInt16BE()
      datagrams.push({ bytes: rest.subarray(2, end), remote: names.peer })
      rest = rest.subarray(end)
    }
    endpoint.receive(datagrams)
  })
  socket.on('error', () => {})
  return { endpoint, full: () => full }
}

describe.skipIf(!MODULE_BUILT)('a carrier', () => {
  it('of dgram sockets joins two programs', async () => {
    const own = identity(createDevCertificate())
    const over = async (options: Partial<CarrierOptions> = {}): Promise<{ endpoint: CarrierEndpoint; address: string }> => {
      const { socket, address } = await datagramSocket()
      const endpoint = carrier({
        maxDatagramSizeBytes: 1452, local: address, ...options,
        send: ({ bytes, segmentBytes, segments, remote }) => {
          for (let index = 0; index < segments; index++) socket.send(bytes.subarray(index * segmentBytes, (index + 1) * segmentBytes), Number(remote.split(':')[1]), '127.0.0.1')
        },
      })
      socket.on('message', (bytes, from) => endpoint.receive([{ bytes, remote: `${from.address}:${from.port}` }]))
      return { endpoint, address }
    }
    const server = await over({ server: { alpn: 'test', ...own } })
    const client = await over()
    const near = await echoed(client.endpoint, server.endpoint, server.address, own.cert, 2_000_000)
    expect([near.remote, near.local]).toEqual([server.address, client.address])
  })

  it('of frames on a byte stream waits where that is full, loses nothing and goes on', async () => {
    const own = identity(createDevCertificate())
    const listener = createServer()
    await new Promise<void>((resolve) => listener.listen(0, '127.0.0.1', resolve))
    endings.push(() => listener.close())
    const accepted = new Promise<Socket>((resolve) => listener.once('connection', resolve))
    const dialled = connect((listener.address() as AddressInfo).port, '127.0.0.1')
    const sockets = [dialled, await accepted] as const
    endings.push(() => sockets.forEach((socket) => socket.destroy()))
    const client = overStream(sockets[0], { own: '10.0.0.1:1', peer: '10.0.0.2:1' })
    const server = overStream(sockets[1], { own: '10.0.0.2:1', peer: '10.0.0.1:1' }, { server: { alpn: 'test', ...own } })
    const near = await echoed(client.endpoint, server.endpoint, '10.0.0.2:1', own.cert, 500_000)
    expect(client.full()).toBeGreaterThan(20)
    expect(server.full()).toBeGreaterThan(20)
    expect(near.bursts.statistics().cancelledSegments).toBeGreaterThan(0)
  })

  /** Counted, not timed: what each mebibyte costs in calls of the program's `send`. */
  it('asks for few calls a mebibyte', async () => {
    const own = identity(createDevCertificate())
    const calls = { client: 0, segments: 0 }
    const client: CarrierEndpoint = carrier({
      maxDatagramSizeBytes: 1452, local: '10.0.0.1:1',
      send: (burst) => {
        calls.client += 1
        calls.segments += burst.segments
        server.receive(split(burst, '10.0.0.1:1'))
      },
    })
    const server: CarrierEndpoint = carrier({ maxDatagramSizeBytes: 1452, local: '10.0.0.2:1', server: { alpn: 'test', ...own }, send: (burst) => client.receive(split(burst, '10.0.0.2:1')) })
    const bytes = 8 * 1_048_576
    await echoed(client, server, '10.0.0.2:1', own.cert, bytes)
    expect(calls.segments).toBeGreaterThan(bytes / 1452)
    expect(calls.client / 8).toBeLessThan(400)
    expect(client.statistics().crossings / 8).toBeLessThan(4000)
  })
})

function split({ bytes, segmentBytes, segments }: CarrierBurst, remote: string): { bytes: Uint8Array; remote: string }[] {
  return Array.from({ length: segments }, (_, index) => ({ bytes: bytes.subarray(index * segmentBytes, (index + 1) * segmentBytes), remote }))
}
