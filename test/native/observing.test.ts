/** Numbers of real engines: Prometheus text and drops out of the shared page, over sockets, a carrier and in a world; logs that cannot be written. */
import { createSocket } from 'node:dgram'
import { afterEach, describe, expect, it } from 'vitest'
import { createDevCertificate, Endpoint } from '../../src/index.ts'
import type { CarrierBurst, CarrierDatagram, CarrierEndpoint } from '../../src/index.ts'
import { World } from '../../src/sim/index.ts'
import { parseExposition } from '../endpoint/exposition.ts'
import { MODULE_BUILT } from './built.ts'
import { bound, closeAll, nativePair, until } from './pair.ts'

const LIMIT_MS = 60_000
afterEach(closeAll)

const valueOf = (text: string, name: string, labels: Record<string, string> = {}): number =>
  parseExposition(text).get(`quicbraid_${name}`)?.samples.find((sample) => Object.entries(labels).every(([label, value]) => sample.labels[label] === value))?.value ?? Number.NaN

describe.skipIf(!MODULE_BUILT)('the numbers of an endpoint', () => {
  it('are told to Prometheus as statistics() has them', { timeout: LIMIT_MS }, async () => {
    const { client, server, connect } = await nativePair()
    const { near, far } = await connect()
    const stream = await near.openUnidirectional()
    stream.write(new Uint8Array(100_000))
    stream.end()
    const { value: received } = await far.incomingUnidirectional().next()
    expect((await received.bytes()).length).toBe(100_000)
    await stream.finished
    await until(() => near.statistics().streamBytesSent === 100_000, 30_000)
    const text = client.prometheus()
    expect(valueOf(text, 'connection_stream_sent_bytes_total', { connection: near.id })).toBe(100_000)
    expect(valueOf(text, 'path_sent_bytes_total', { connection: near.id, path: '0' })).toBeGreaterThan(100_000)
    expect(valueOf(text, 'path_min_rtt_seconds', { path: '0' })).toBeGreaterThan(0)
    expect(valueOf(text, 'path_min_rtt_seconds', { path: '0' })).toBeLessThan(10)
    expect(valueOf(text, 'path_amplification_credit_bytes', { path: '0' })).toBe(Infinity)
    expect(valueOf(server.prometheus(), 'endpoint_connections_accepted_total')).toBe(1)
    await near.close()
    await client.close()
    expect(valueOf(client.prometheus(), 'connection_stream_sent_bytes_total', { connection: 'other' })).toBe(100_000)
  })

  it('have drops by reason, which outlive connection and endpoint', { timeout: LIMIT_MS }, async () => {
    const { server, connect } = await nativePair()
    const { near, far } = await connect()
    const socket = createSocket('udp4')
    const [host = '', port = ''] = (server.local[0] ?? '').split(':')
    // An Initial of version 1 in a datagram below 1,200 bytes (attacks A3).
    const initial = Buffer.concat([Buffer.from([0xc0, 0, 0, 0, 1, 8]), Buffer.alloc(8, 7), Buffer.from([0, 0, 0x40, 64]), Buffer.alloc(64, 7)])
    await until(() => {
      socket.send(initial, Number(port), host)
      return (server.statistics().drops['shortInitial'] ?? 0) > 0
    }, 30_000)
    socket.close()
    for (const count of Object.values(server.statistics().drops)) expect(count).toBeGreaterThan(0)
    await near.close()
    await far.closed
    const before = server.statistics().drops['shortInitial'] ?? 0
    expect(valueOf(server.prometheus(), 'endpoint_drops_total', { reason: 'shortInitial' })).toBe(before)
    await server.close()
    expect(server.statistics().drops['shortInitial']).toBe(before)
  })

  it('are there in a simulated world, and over a carrier', { timeout: LIMIT_MS }, async () => {
    const { world, client, server, paths, tls } = World.pair([{ delayMs: 10 }], { seed: 5 })
    await world.run(async () => {
      const far = await server.bind({ server: { ...tls, alpn: 'x' } })
      const near = await client.bind()
      const connection = await near.connect(far.local[0] ?? '', { alpn: 'x', ca: tls.ca, serverName: 'server', paths })
      expect(valueOf(near.prometheus(), 'path_min_rtt_seconds', { connection: connection.id })).toBeCloseTo(0.02, 2)
      expect(parseExposition(near.prometheus()).get('quicbraid_endpoint_info')?.samples[0]?.labels['driver']).toBe('sim')
    })
    const { cert, key } = createDevCertificate()
    const ends: CarrierEndpoint[] = []
    const carry = (to: number) => ({ bytes, segmentBytes, local }: CarrierBurst): void => {
      const datagrams: CarrierDatagram[] = []
      for (let at = 0; at < bytes.length; at += segmentBytes) datagrams.push({ bytes: bytes.slice(at, at + segmentBytes), remote: local })
      setImmediate(() => ends[to]?.receive(datagrams))
    }
    ends.push(Endpoint.carrier({ send: carry(1), maxDatagramSizeBytes: 1400, local: '[100::1]:1' }))
    ends.push(Endpoint.carrier({ send: carry(0), maxDatagramSizeBytes: 1400, local: '[100::2]:2', server: { cert, key, alpn: 'x' } }))
    await ends[0]?.connect('[100::2]:2', { alpn: 'x', ca: cert, serverName: 'localhost' })
    const families = parseExposition(ends[0]?.prometheus() ?? '')
    expect(families.get('quicbraid_endpoint_info')?.samples[0]?.labels['driver']).toBe('carrier')
    expect(families.get('quicbraid_endpoint_connections')?.samples[0]?.value).toBe(1)
    await Promise.all(ends.map((end) => end.close({ drainMs: 0 })))
  })

  // attacks I13
  it('attack I13: go on when key log and qlog cannot be written; the warning names option and value', { timeout: LIMIT_MS }, async () => {
    const warnings: Record<string, unknown>[] = []
    const { connect, server } = await nativePair({ atServer: { keylog: '/dev/full', qlog: '/dev/null/logs', logger: { warn: (_, facts) => void warnings.push(facts as Record<string, unknown>) } } })
    const { near, far } = await connect()
    const stream = await near.openUnidirectional()
    stream.write(Uint8Array.of(1))
    stream.end()
    const { value } = await far.incomingUnidirectional().next()
    expect((await value.bytes()).length).toBe(1)
    await near.close()
    await until(() => warnings.length >= 2, 30_000)
    expect(warnings.map(({ field, value: told }) => [field, told]).toSorted()).toEqual([['keylog', '/dev/full'], ['qlog', '/dev/null/logs']])
    expect(server.listening).toBe(true)
  })

  it('are silent: no endpoint says anything on the streams of the process', async () => {
    const endpoint = await bound({ local: '127.0.0.1:0', keylog: '/dev/full', qlog: '/dev/null/logs' })
    const written: string[] = []
    const streams = [process.stdout, process.stderr]
    const writes = streams.map((stream) => stream.write)
    for (const stream of streams) stream.write = ((text: string) => written.push(text) > 0) as never
    try {
      await expect(endpoint.connect('127.0.0.1:1', { alpn: 'x', limits: { handshakeTimeoutMs: 50 } })).rejects.toMatchObject({ code: expect.stringMatching(/^QB_CONNECT_/) as never })
    } finally {
      for (const [index, stream] of streams.entries()) stream.write = writes[index] as never
    }
    expect(written).toEqual([])
  })
})
