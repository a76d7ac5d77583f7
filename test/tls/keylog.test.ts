/** A key log opens what was sent: an observer on the wire with the lines, and nobody without them (SSLKEYLOGFILE, RFC 9850). */
import { afterEach, describe, expect, it } from 'vitest'
import { MODULE_BUILT } from '../native/built.ts'
import { closeAll, nativePair, relayTo, until } from '../native/pair.ts'
import { opened, packetKinds } from './packets.ts'

afterEach(closeAll)

const WORDS = 'what an observer may read only with the key log'

describe.skipIf(!MODULE_BUILT)('a key log', () => {
  it('opens the packets of its connection, each direction with its own line', async () => {
    const lines: string[] = []
    const seen: { bytes: Buffer; from: 'client' | 'server' }[] = []
    const pair = await nativePair({ atClient: { keylog: (line) => lines.push(line) } })
    const relay = await relayTo(pair.server.local[0] ?? '', 0, (bytes, from) => seen.push({ bytes: Buffer.from(bytes), from }))
    const incoming = pair.server.incoming()
    const [near, { value: far }] = await Promise.all([pair.client.connect(relay.address, { alpn: 'test', ca: pair.own.cert, serverName: 'localhost', multipath: 'off', ciphers: ['aes-128-gcm'], limits: { connectionIdBytes: 8 } }), incoming.next()])
    const stream = await near.openBidirectional()
    stream.write(Buffer.from(WORDS))
    stream.end()
    const theirs = (await far.incomingBidirectional().next()).value
    theirs.write(await theirs.bytes())
    theirs.end()
    expect(Buffer.from(await stream.bytes()).toString()).toBe(WORDS)
    await until(() => lines.some((line) => line.startsWith('SERVER_TRAFFIC_SECRET_0')))
    const secret = (label: string): Buffer => Buffer.from(lines.find((line) => line.startsWith(`${label} `))?.split(' ')[2] ?? '', 'hex')
    const read = (from: 'client' | 'server', label: string): string[] => seen
      .filter((one) => one.from === from && packetKinds(one.bytes)[0] === '1rtt')
      .map(({ bytes }) => opened(bytes, secret(label), 8)?.toString('latin1') ?? '')
    const labels = { client: 'CLIENT_TRAFFIC_SECRET_0', server: 'SERVER_TRAFFIC_SECRET_0' } as const
    for (const from of ['client', 'server'] as const) {
      expect(read(from, labels[from]).filter((payload) => payload.includes(WORDS)).length, `${from}: ${seen.map((one) => `${one.from} ${packetKinds(one.bytes).join('+')}`).join(', ')}`).toBeGreaterThan(0)
      expect(read(from, labels[from === 'client' ? 'server' : 'client']).join('')).toBe('')
    }
    expect(seen.some(({ bytes }) => bytes.includes(WORDS))).toBe(false)
    relay.close()
  })
})
