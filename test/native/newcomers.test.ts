/** Who is heard, let in and reached, on real sockets: block lists, shares of an address, server ids, both families, closed ports. */
import { createSocket } from 'node:dgram'
import { BlockList } from 'node:net'
import { afterEach, describe, expect, it } from 'vitest'
import { Endpoint } from '../../src/index.ts'
import type { EndpointEvent, EndpointOptions } from '../../src/index.ts'
import { World } from '../../src/sim/index.ts'
import { MODULE_BUILT } from './built.ts'
import { bound, closeAll, nativePair, until } from './pair.ts'

afterEach(closeAll)

function codeOf(promise: Promise<unknown>): Promise<string> {
  return promise.then(() => 'none', (error: unknown) => (error as { code: string }).code)
}

/** A port of this host where nobody listens. */
async function closedPort(host: string): Promise<number> {
  const socket = createSocket(host.includes(':') ? 'udp6' : 'udp4')
  await new Promise<void>((resolve) => socket.bind(0, host, resolve))
  const { port } = socket.address()
  await new Promise<void>((resolve) => socket.close(resolve))
  return port
}

describe.skipIf(!MODULE_BUILT)('blockList', () => {
  it('drops what comes from its addresses and counts it, from rules of all kinds', async () => {
    const blockList = new BlockList()
    blockList.addAddress('127.0.0.2')
    blockList.addRange('127.0.0.10', '127.0.0.20')
    blockList.addSubnet('127.9.0.0', 16)
    blockList.addSubnet('fd00::', 8, 'ipv6')
    const pair = await nativePair({ atServer: { blockList } })
    for (const host of ['127.0.0.2', '127.0.0.15', '127.9.3.4']) {
      const client = await bound({ local: `${host}:0` })
      expect(await codeOf(client.connect(pair.server.local[0] ?? '', { alpn: 'test', ca: pair.own.cert, limits: { handshakeTimeoutMs: 300 } })), host).toBe('QB_CONNECT_TIMEOUT')
    }
    const { blocked = 0 } = pair.server.statistics().drops
    expect(blocked).toBeGreaterThanOrEqual(3)
    expect(pair.server.statistics()).toMatchObject({ datagramsSent: 0, accepted: 0, halfOpen: 0 })
    await pair.connect()
  })

  it('takes rules that are added later, and gives back those that go with a new server side at once', async () => {
    const blockList = new BlockList()
    const pair = await nativePair({ atServer: { blockList } })
    const { near } = await pair.connect()
    blockList.addAddress('127.0.0.1')
    const before = pair.server.statistics().drops['blocked'] ?? 0
    const asking = setInterval(() => void near.ping().catch(() => {}), 50)
    await until(() => (pair.server.statistics().drops['blocked'] ?? 0) > before, 30_000)
    clearInterval(asking)
    expect(await codeOf(pair.client.connect(pair.server.local[0] ?? '', { alpn: 'test', ca: pair.own.cert, limits: { handshakeTimeoutMs: 300 } }))).toBe('QB_CONNECT_TIMEOUT')
  })

  it('keeps connect from addresses that could not be heard', async () => {
    const blockList = new BlockList()
    blockList.addSubnet('127.0.0.0', 8)
    const client = await bound({ blockList })
    expect(await codeOf(client.connect('127.0.0.1:9', { alpn: 'test', verify: 'none' }))).toBe('QB_NO_PATH')
  })

  it('holds over carriers, for datagrams that are no QUIC too', async () => {
    const blockList = new BlockList()
    blockList.addSubnet('10.0.0.0', 24)
    const carrier = Endpoint.carrier({ maxDatagramSizeBytes: 1200, send: () => {}, blockList })
    const seen: string[] = []
    carrier.raw$.subscribe(({ remote }) => seen.push(remote))
    carrier.receive([{ bytes: Uint8Array.of(1), remote: '10.0.0.7:1' }, { bytes: Uint8Array.of(0xc0), remote: '10.0.0.7:1' }, { bytes: Uint8Array.of(1), remote: '10.0.1.7:1' }])
    await until(() => seen.length > 0)
    expect([seen, carrier.statistics().drops['blocked']]).toEqual([['10.0.1.7:1'], 2])
    await carrier.close()
  })
})

describe.skipIf(!MODULE_BUILT)('blockList in a simulated world', () => {
  it('takes a rule within a second of virtual time, and keeps no world from its end', async () => {
    const { world, client, server, paths } = World.pair([{ delayMs: 10 }])
    const blockList = new BlockList()
    const blocked: number[] = []
    await world.run(async () => {
      const [near, far] = [await client.bind(), await server.bind({ blockList })]
      const say = async (): Promise<void> => {
        near.sendRaw(paths[0]?.remote ?? '', Uint8Array.of(1))
        await world.sleep(20)
        blocked.push(far.statistics().drops['blocked'] ?? 0)
      }
      await say()
      blockList.addAddress('10.0.1.1')
      blockList.addAddress('10.0.1.2')
      await world.sleep(1100)
      await say()
    })
    expect(blocked).toEqual([0, 1])
  })
})

describe.skipIf(!MODULE_BUILT)('maxConnections', () => {
  it('gives each address its share, tells who was refused, and lets others in', async () => {
    const pair = await nativePair({ server: { maxConnections: { perAddress: 2 } } })
    const refused: EndpointEvent[] = []
    pair.server.events$.subscribe((event) => { if (event.type === 'refused') refused.push(event) })
    const held = [await pair.connect(), await pair.connect()]
    const address = pair.server.local[0] ?? ''
    const options = { alpn: 'test', ca: pair.own.cert }
    expect(await codeOf(pair.client.connect(address, options))).toBe('QB_CONNECT_REFUSED')
    await until(() => refused.length > 0)
    expect(refused[0]).toMatchObject({ type: 'refused', remote: expect.stringMatching(/^127\.0\.0\.1:/), reason: 'too many connections from this address' })
    expect(pair.server.statistics()).toMatchObject({ refused: 1, connections: 2, drops: expect.objectContaining({ connectionLimit: 1 }) })
    const other = await bound({ local: '127.0.0.2:0' })
    await other.connect(address, options)
    await held[0]?.near.close()
    await held[0]?.far.closed
    // The place is free when the closed connection has drained.
    let verdict = ''
    for (let round = 0; round < 300 && verdict !== 'none'; round++) {
      verdict = await codeOf(pair.client.connect(address, options))
      await new Promise((resolve) => setTimeout(resolve, 20))
    }
    expect(verdict).toBe('none')
  })
})

describe.skipIf(!MODULE_BUILT)('serverId', () => {
  const id = Uint8Array.of(0xde, 0xad)

  /** Destination ids of what a client sends to a server, after its first flight, as a load balancer between them sees them. */
  async function idsSeen(atServer: EndpointOptions, length: number): Promise<Set<string>> {
    const pair = await nativePair({ atServer })
    const server = Number(pair.server.local[0]?.split(':')[1])
    const balancer = createSocket('udp4')
    await new Promise<void>((resolve) => balancer.bind(0, '127.0.0.1', resolve))
    const ids: string[] = []
    let client = 0
    balancer.on('message', (bytes, { port }) => {
      if (port === server) return balancer.send(bytes, client, '127.0.0.1')
      client = port
      const first = bytes[0] ?? 0
      const at = first >= 0x80 ? 6 : 1
      ids.push(bytes.subarray(at, at + (first >= 0x80 ? (bytes[5] ?? 0) : length)).toString('hex'))
      return balancer.send(bytes, server, '127.0.0.1')
    })
    const incoming = pair.server.incoming()
    const [near] = await Promise.all([pair.client.connect(`127.0.0.1:${balancer.address().port}`, { alpn: 'test', ca: pair.own.cert }), incoming.next()])
    await near.ping()
    await near.close()
    balancer.close()
    const [chosen] = ids
    return new Set(ids.filter((one) => one !== chosen))
  }

  it('stands in every connection id behind the first byte', async () => {
    for (const one of await idsSeen({ serverId: id }, 11)) expect(one).toMatch(/^[01].dead[0-9a-f]{16}$/)
    for (const one of await idsSeen({ serverId: { id, configuration: 3, encodeLength: true } }, 11)) expect(one).toMatch(/^6adead[0-9a-f]{16}$/)
    for (const one of await idsSeen({ serverId: { id }, connection: { limits: { connectionIdBytes: 8 } } }, 8)) expect(one).toMatch(/^[01].dead[0-9a-f]{10}$/)
    for (const one of await idsSeen({ connection: { limits: { connectionIdBytes: 20 } } }, 20)) expect(one).toMatch(/^[0-9a-f]{40}$/)
  })

  it('is refused where it cannot be', async () => {
    const cases: [EndpointOptions, string][] = [
      [{ serverId: new Uint8Array(0) }, 'serverId'],
      [{ serverId: new Uint8Array(16) }, 'serverId'],
      [{ serverId: { id, configuration: 7 } }, 'serverId'],
      [{ serverId: new Uint8Array(4), connection: { limits: { connectionIdBytes: 8 } } }, 'serverId'],
      [{ connection: { limits: { connectionIdBytes: 7 } } }, 'connection.limits.connectionIdBytes'],
      [{ connection: { limits: { connectionIdBytes: 21 } } }, 'connection.limits.connectionIdBytes'],
    ]
    for (const [options, field] of cases) await expect(Endpoint.bind(options), field).rejects.toMatchObject({ code: 'QB_OPTION_INVALID', field: expect.stringContaining(field) })
    const client = await bound({})
    await expect(client.connect('127.0.0.1:9', { alpn: 'x', limits: { connectionIdBytes: 12 } })).rejects.toMatchObject({ code: 'QB_OPTION_INVALID', field: 'limits.connectionIdBytes' })
  })
})

describe.skipIf(!MODULE_BUILT)('sockets of both families', () => {
  it('get one port where any will do, and clients reach the server over each', async () => {
    const pair = await nativePair({ atServer: { local: ['0.0.0.0:0', '[::]:0'] } })
    const [v4 = '', v6 = ''] = pair.server.local
    expect(v4).toMatch(/^0\.0\.0\.0:\d+$/)
    expect(v6).toBe(`[::]:${v4.split(':')[1]}`)
    const port = v4.split(':')[1]
    const incoming = pair.server.incoming()
    for (const host of ['127.0.0.1', '[::1]']) {
      const [near, far] = await Promise.all([pair.client.connect(`${host}:${port}`, { alpn: 'test', ca: pair.own.cert, serverName: 'localhost' }), incoming.next()])
      expect(near.remote).toBe(`${host}:${port}`)
      expect(far.value?.remote.startsWith(host), 'no mapped address').toBe(true)
    }
    const families = pair.client.local.map((address) => (address.startsWith('[') ? 6 : 4))
    expect(families.sort()).toEqual([4, 6])
  })

  it('of one server: the address that answers is taken', async () => {
    const pair = await nativePair({ atServer: { local: '127.0.0.1:0' } })
    const port = pair.server.local[0]?.split(':')[1]
    const incoming = pair.server.incoming()
    const [near] = await Promise.all([pair.client.connect([`[::1]:${port}`, `127.0.0.1:${port}`], { alpn: 'test', ca: pair.own.cert, serverName: 'localhost' }), incoming.next()])
    expect(near.remote).toBe(`127.0.0.1:${port}`)
  })

  it('tell when the kernel gives less buffer than was asked for', async () => {
    const warned: string[] = []
    const events: EndpointEvent[] = []
    const endpoint = await Endpoint.bind({ local: '127.0.0.1:0', receiveBufferBytes: 268_435_456, sendBufferBytes: 268_435_456, logger: { warn: (message) => warned.push(message) } })
    endpoint.events$.subscribe((event) => events.push(event))
    await until(() => events.some(({ type }) => type === 'bound'))
    const clamped = events.filter((event) => event.type === 'buffer-clamped')
    // A privileged process may be given all of it.
    expect(warned.length).toBe(clamped.length)
    for (const event of clamped) expect(event).toMatchObject({ local: endpoint.local[0], wantedBytes: 268_435_456 })
    await endpoint.close()
  })
})

describe.skipIf(!MODULE_BUILT || process.platform !== 'linux')('a port where nobody listens', () => {
  it('ends a dial long before its timeout, over both families', async () => {
    const client = await bound({})
    for (const host of ['127.0.0.1', '::1']) {
      const port = await closedPort(host)
      const failed = client.connect(`${host.includes(':') ? `[${host}]` : host}:${port}`, { alpn: 'test', verify: 'none', limits: { handshakeTimeoutMs: 600_000 } })
      await expect(failed).rejects.toMatchObject({ code: 'QB_CONNECT_REFUSED', name: 'ConnectionError', message: expect.stringContaining('nobody listens') })
    }
    expect(client.connections.size).toBe(0)
  })

  it('is passed over where another address of the server answers', async () => {
    const pair = await nativePair()
    const incoming = pair.server.incoming()
    const closed = `127.0.0.1:${await closedPort('127.0.0.1')}`
    const [near] = await Promise.all([pair.client.connect([closed, pair.server.local[0] ?? ''], { alpn: 'test', ca: pair.own.cert, handshake: { mode: 'stagger', staggerMs: 600_000 }, limits: { handshakeTimeoutMs: 600_000 } }), incoming.next()])
    expect(near.remote).toBe(pair.server.local[0])
  })

  it('ends no connection that was established, and disturbs none beside it', async () => {
    const pair = await nativePair()
    const { near } = await pair.connect({ limits: { idleTimeoutMs: 600_000 } })
    for (let index = 0; index < 3; index++) {
      const port = await closedPort('127.0.0.1')
      expect(await codeOf(pair.client.connect(`127.0.0.1:${port}`, { alpn: 'test', verify: 'none' }))).toBe('QB_CONNECT_REFUSED')
      expect((await near.ping()).path).toBe(0)
    }
    expect(near.state).toBe('open')
  })
})
