/** What goes out before the handshake is complete, and pings, over the native module and loopback. */
import { afterEach, describe, expect, it } from 'vitest'
import type { Connection, DatagramStatus, ServerOptions } from '../../src/index.ts'
import { codeOf, taken } from '../fake/pair.ts'
import { MODULE_BUILT } from './built.ts'
import { closeAll, eventOf, identity, nativePair, relayTo, until } from './pair.ts'
import type { NativePair } from './pair.ts'

afterEach(closeAll)

/** A server behind a relay that can hold the client's datagrams back, and how to dial it. */
async function farAway(server: Partial<ServerOptions>): Promise<{ pair: NativePair; dial(more?: object): Promise<Connection>; next(): Promise<Connection>; pass(count: number): void; close(): void }> {
  const pair = await nativePair({ server })
  const relay = await relayTo(pair.server.local[0] ?? '')
  const incoming = pair.server.incoming()
  return {
    pair, pass: relay.pass, close: relay.close,
    dial: (more = {}) => pair.client.connect(relay.address, { alpn: 'test', ca: pair.own.cert, multipath: 'off', ...more }),
    next: () => taken(incoming),
  }
}

describe.skipIf(!MODULE_BUILT)('a server with halfRttData', () => {
  it('sends before the client has shown that it is there', async () => {
    const { dial, next, pass, close } = await farAway({ halfRttData: true })
    pass(1)
    const [connecting, far] = [dial(), await next()]
    expect([far.state, far.alpn]).toEqual(['handshaking', 'test'])
    const stream = await far.openUnidirectional()
    stream.write(Buffer.from('hello'))
    stream.end()
    expect(far.datagrams.send(Buffer.from('hi'))).toBe(1)
    expect(far.state).toBe('handshaking')
    const near = await connecting
    const [received, message] = await Promise.all([taken(near.incomingUnidirectional()).then((incoming) => incoming.bytes()), near.datagrams.batches().next()])
    expect([Buffer.from(received).toString(), message.value?.map((bytes: Uint8Array) => Buffer.from(bytes).toString())]).toEqual(['hello', ['hi']])
    expect([near.state, far.state]).toEqual(['open', 'handshaking'])
    pass(Infinity)
    expect((await far.opened).resumed).toBe(false)
    close()
  })

  it('without the option hands newcomers out when they are there, and with client certificates does not take it', async () => {
    const { pair, dial, next, close } = await farAway({})
    const [near, far] = await Promise.all([dial(), next()])
    expect([near.state, far.state]).toEqual(['open', 'open'])
    const asking: Partial<ServerOptions> = { clientAuth: 'require', ca: pair.own.cert, halfRttData: true }
    expect(() => pair.server.listen({ alpn: 'test', ...identity(pair.own), ...asking })).toThrow(expect.objectContaining({ code: 'QB_OPTION_INVALID', field: 'halfRttData' }))
    close()
  })
})

describe.skipIf(!MODULE_BUILT)('messages in early data', () => {
  it('arrive with the first flight, marked; the next ones are not', async () => {
    const { dial, next, pass, close } = await farAway({ earlyData: true })
    const [first] = await Promise.all([dial({ earlyData: true }), next()])
    await Promise.all([first.confirmed, eventOf(first, 'session-stored')])
    await first.close()
    pass(0)
    const near = await dial({ earlyData: true })
    expect([near.state, near.early]).toEqual(['handshaking', 'sent'])
    await until(() => near.datagrams.maxDatagramSizeBytes > 0)
    const fates: DatagramStatus[] = []
    near.datagrams.status$.subscribe((fate) => fates.push(fate))
    near.datagrams.send(Buffer.from('early'))
    // It leaves with the next flush, and the relay keeps what the client has sent until then.
    await until(() => near.statistics().packetsSent >= 2)
    pass(Infinity)
    const far = await next()
    const batches = far.datagrams.batches()
    const [early] = (await batches.next()).value as Uint8Array[]
    expect([Buffer.from(early as Uint8Array).toString(), far.datagrams.isEarly(early as Uint8Array)]).toEqual(['early', true])
    await near.confirmed
    near.datagrams.send(Buffer.from('later'))
    const [later] = (await batches.next()).value as Uint8Array[]
    expect([Buffer.from(later as Uint8Array).toString(), far.datagrams.isEarly(later as Uint8Array)]).toEqual(['later', false])
    await until(() => fates.length === 2)
    expect(fates).toEqual([1, 2].map((id) => ({ id, status: 'acknowledged', path: 0 })))
    close()
  })
})

describe.skipIf(!MODULE_BUILT)('ping', () => {
  it('tells the round-trip time of the path that answered', async () => {
    const pair = await nativePair()
    const { near, far } = await pair.connect({ paths: [{ local: '127.0.0.1' }, { local: '127.0.0.2' }] })
    await near.paths.ready()
    for (const path of [0, 1]) expect(await near.ping({ path })).toMatchObject({ path, rttMs: expect.any(Number) })
    const { rttMs } = await far.ping()
    expect(rttMs).toBeGreaterThan(0)
    expect(rttMs).toBeLessThan(5000)
    expect(await codeOf(near.ping({ path: 9 }))).toBe('QB_PATH_UNKNOWN')
    await near.close()
    expect(await codeOf(near.ping())).toBe('QB_CONNECTION_CLOSED')
  })
})

describe.skipIf(!MODULE_BUILT)('options of packets', () => {
  it('are taken, and a server without newTokens gives none', async () => {
    const pair = await nativePair({ server: { newTokens: false, spin: 'on', greaseQuicBit: false, disableActiveMigration: true, hystart: false } })
    const events: string[] = []
    pair.client.connections$.subscribe(({ events$ }) => events$.subscribe(({ type }) => events.push(type)))
    const { near } = await pair.connect({ spin: 'off', hystart: false, greaseQuicBit: true })
    await until(() => events.includes('session-stored'))
    await near.ping()
    expect(events).not.toContain('token-stored')
  })
})
