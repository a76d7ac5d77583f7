import { BlockList } from 'node:net'
import { describe, expect, it } from 'vitest'
import { bindWith } from '../../src/endpoint/index.ts'
import { isQuicbraidError } from '../../src/errors/index.ts'
import type { Connection } from '../../src/connection/index.ts'
import { SERVER, codeOf, connectedPair, newNetwork, taken, turns, until, watchContract } from '../fake/pair.ts'

watchContract()

describe('bind', () => {
  it('tells the real ports', async () => {
    const network = newNetwork()
    const endpoint = bindWith(network.module, { local: ['127.0.0.1:0', '[::1]:0'] })
    expect(endpoint.local).toEqual(['127.0.0.1:50001', '[::1]:50002'])
    endpoint.destroy()
    await endpoint.closed
    expect(endpoint.local.length).toBe(2)
  })

  it('reports a socket that cannot be bound as ours', () => {
    const network = newNetwork()
    bindWith(network.module, { local: '127.0.0.1:4433' })
    const again = (): unknown => bindWith(network.module, { local: '127.0.0.1:4433' })
    expect(again).toThrow(expect.objectContaining({ code: 'QB_BIND_FAILED', name: 'EndpointError' }))
  })

  it('checks options before anything is bound', () => {
    const network = newNetwork()
    const cases: [object, string, string][] = [
      [{ local: '1.2.3.4:99999' }, 'QB_OPTION_INVALID', 'local'],
      [{ locl: '127.0.0.1:0' }, 'QB_OPTION_UNKNOWN', 'locl'],
      [{ connection: { limits: { idleTimeout: 1 } } }, 'QB_OPTION_UNKNOWN', 'connection.limits.idleTimeout'],
      [{ connection: { scheduler: 'fastest' } }, 'QB_OPTION_INVALID', 'connection.scheduler'],
      [{ connection: { limits: { connectionIdBytes: 0 } } }, 'QB_OPTION_INVALID', 'connection.limits.connectionIdBytes'],
      [{ server: { alpn: 'x' } }, 'QB_OPTION_INVALID', 'server.cert'],
      [{ server: { cert: 'c', key: 'k' } }, 'QB_OPTION_INVALID', 'server.alpn'],
      [{ server: { alpn: 'x', cert: 'c' } }, 'QB_OPTION_INVALID', 'server.key'],
      [{ maxSegments: 65 }, 'QB_OPTION_INVALID', 'maxSegments'],
      [{ blockList: new BlockList() }, 'QB_OPTION_INVALID', 'blockList'],
      [{ qlog: '/tmp' }, 'QB_OPTION_INVALID', 'qlog'],
    ]
    for (const [options, code, field] of cases) {
      expect(() => bindWith(network.module, options), field).toThrow(expect.objectContaining({ code, field, name: 'OptionError' }))
    }
    expect(network.endpoints).toEqual([])
  })

  it('closes what it bound when the server side is refused', async () => {
    const network = newNetwork()
    expect(() => bindWith(network.module, { local: '127.0.0.1:4433', server: { ...SERVER, key: 'bad' } })).toThrow(expect.objectContaining({ code: 'QB_TLS_IDENTITY', field: 'key' }))
    await turns(3)
    expect(network.endpoints[0]?.closed).toBe(true)
  })
})

describe('connect', () => {
  it('resolves with both ends knowing each other', async () => {
    const { client, server, near, far, done } = await connectedPair()
    expect(near).toMatchObject({ role: 'client', state: 'open', alpn: 'test', remote: server.local[0], multipath: 'ietf', requester: 'local', serverName: '127.0.0.1' })
    expect(far).toMatchObject({ role: 'server', state: 'open', requester: 'peer' })
    expect(near.peer?.pin).toBe('sha256//x')
    expect(await near.opened).toMatchObject({ alpn: 'test', mode: 'single', version: 'v1' })
    await near.confirmed
    expect([...client.connections]).toEqual([near])
    expect(near.id).toMatch(/^[0-9a-f]{16}$/)
    await done()
  })

  it('refuses targets and path specs that cannot work', async () => {
    const network = newNetwork()
    const client = bindWith(network.module)
    expect(await codeOf(client.connect('127.0.0.1', { alpn: 'x' }))).toBe('QB_OPTION_INVALID')
    expect(await codeOf(client.connect([], { alpn: 'x' }))).toBe('QB_OPTION_INVALID')
    expect(await codeOf(client.connect('127.0.0.1:1'))).toBe('QB_OPTION_INVALID')
    const mixed = client.connect('127.0.0.1:1', { alpn: 'x', paths: [{ local: '127.0.0.1' }, { local: '::1' }] })
    await expect(mixed).rejects.toMatchObject({ code: 'QB_OPTION_INVALID', field: 'paths[1].local', message: expect.stringContaining('family') })
    const spec = client.connect('127.0.0.1:1', { alpn: 'x', paths: [{ local: '::1', remote: '127.0.0.1:5' }] })
    await expect(spec).rejects.toMatchObject({ field: 'paths[0].local' })
    expect(await codeOf(client.connect('name.invalid:1', { alpn: 'x' }))).toBe('QB_RESOLVE_FAILED')
    expect(network.endpoints[0]?.connects).toEqual([])
    client.destroy()
    await client.closed
  })

  it('rejects with what the handshake failed of, and forgets the connection', async () => {
    const network = newNetwork()
    const server = bindWith(network.module, { local: '127.0.0.1:0', server: SERVER })
    const client = bindWith(network.module)
    expect(await codeOf(client.connect('127.0.0.1:9', { alpn: 'test' }))).toBe('QB_CONNECT_REFUSED')
    const alpn = client.connect(server.local[0] ?? '', { alpn: 'other' })
    await expect(alpn).rejects.toMatchObject({ code: 'QB_TLS_ALPN', errorCode: 0x178n, name: 'ConnectionError', handshake: [] })
    expect(client.connections.size).toBe(0)
    await Promise.all([client.close(), server.close()])
  })

  it('is aborted by its signal at any time, and closes what it began', async () => {
    const network = newNetwork()
    const server = bindWith(network.module, { local: '127.0.0.1:0', server: SERVER })
    const client = bindWith(network.module)
    const reason = Object.assign(new Error('enough'), { code: 'MINE' })
    expect(await codeOf(client.connect(server.local[0] ?? '', { alpn: 'test', signal: AbortSignal.abort(reason) }))).toBe('MINE')
    expect(network.endpoints[1]?.connects.length).toBe(0)
    network.hold()
    const abort = new AbortController()
    const connecting = codeOf(client.connect(server.local[0] ?? '', { alpn: 'test', signal: abort.signal }))
    await turns(2)
    expect(client.connections.size).toBe(1)
    abort.abort(reason)
    expect(await connecting).toBe('MINE')
    expect(client.connections.size).toBe(0)
    network.release()
    client.destroy()
    server.destroy()
    await Promise.all([client.closed, server.closed])
  })

  it('gives the engine what the options say, and defaults of the endpoint under them', async () => {
    const network = newNetwork()
    const client = bindWith(network.module, { connection: { congestion: 'newreno', limits: { idleTimeoutMs: 5, keepAliveMs: 6 } } })
    const pin = `sha256//${'A'.repeat(43)}=`
    const connecting = client.connect('127.0.0.1:9', {
      alpn: ['a', 'b'], pins: [pin], scheduler: 'round-robin', limits: { keepAliveMs: 7 }, cert: Uint8Array.of(1, 2), key: 'key',
      paths: [{ local: '127.0.0.1' }, { local: '127.0.0.2:77', remote: '127.0.0.3:5', status: 'backup' }], serverName: 'name',
    })
    expect(await codeOf(connecting)).toBe('QB_CONNECT_REFUSED')
    expect(network.endpoints[0]?.connects[0]).toEqual({
      id: expect.any(String), remotes: ['127.0.0.1:9'], ticket: false, serverName: 'name', handshake: { mode: 'stagger' },
      tls: { alpn: ['a', 'b'], pins: [pin], cert: [{ der: 'AQI=' }], key: 'key' },
      transport: { congestion: 'newreno', scheduler: { name: 'round-robin' }, limits: { idleTimeoutMs: 5, keepAliveMs: 7, sendBufferBytes: 262_144, connectionSendBufferBytes: 8_388_608 } },
      paths: [{ local: '127.0.0.1:0' }, { local: '127.0.0.2:77', remote: '127.0.0.3:5', status: 'backup' }],
    })
    expect(network.endpoints[0]?.roots).toBe(null)
    await codeOf(client.connect('127.0.0.1:9', { alpn: 'a' }))
    expect(network.endpoints[0]?.roots?.length).toBeGreaterThan(50)
    await client.close()
  })
})

describe('listening', () => {
  it('shares the supply between two loops and ends both with the endpoint', async () => {
    const { client, server, done } = await connectedPair()
    const [one, two] = [server.incoming(), server.incoming()]
    const waiting = [one.next(), two.next()]
    await client.connect(server.local[0] ?? '', { alpn: 'test', ca: 'ca' })
    expect((await waiting[0])?.value).toMatchObject({ role: 'server' })
    await done()
    expect((await waiting[1])?.done).toBe(true)
  })

  it('needs a server side, and takes it later', async () => {
    const network = newNetwork()
    const endpoint = bindWith(network.module, { local: '127.0.0.1:0' })
    expect(() => endpoint.incoming()).toThrow(expect.objectContaining({ code: 'QB_NOT_LISTENING', message: expect.stringContaining('127.0.0.1:50001') }))
    endpoint.listen(SERVER)
    expect(endpoint.listening).toBe(true)
    endpoint.incoming()
    endpoint.unlisten()
    expect(await codeOf(endpoint.connect(endpoint.local[0] ?? '', { alpn: 'test' }))).toBe('QB_CONNECT_REFUSED')
    expect(() => endpoint.listen({ ...SERVER, key: 'bad' })).toThrow(expect.objectContaining({ code: 'QB_TLS_IDENTITY' }))
    endpoint.listen(SERVER)
    await endpoint.close()
    expect(() => endpoint.incoming()).toThrow(expect.objectContaining({ code: 'QB_ENDPOINT_CLOSED' }))
    expect(() => endpoint.listen(SERVER)).toThrow(expect.objectContaining({ code: 'QB_ENDPOINT_CLOSED' }))
    expect(await codeOf(endpoint.connect('127.0.0.1:1', { alpn: 'test' }))).toBe('QB_ENDPOINT_CLOSED')
  })

  it('aborts a waiting loop by its signal and leaves the supply to others', async () => {
    const { client, server, done } = await connectedPair()
    const abort = new AbortController()
    const gone = codeOf(server.incoming({ signal: abort.signal }).next())
    const stays = taken(server.incoming())
    abort.abort(Object.assign(new Error('x'), { code: 'MINE' }))
    expect(await gone).toBe('MINE')
    await client.connect(server.local[0] ?? '', { alpn: 'test', ca: 'ca' })
    expect((await stays).role).toBe('server')
    await done()
  })

  it('refuses complete connections beyond the backlog', async () => {
    const { client, server, done } = await connectedPair({ server: { backlog: 2 } })
    const made = await Promise.all([1, 2, 3].map(() => client.connect(server.local[0] ?? '', { alpn: 'test', ca: 'ca' })))
    await until(() => made.some((connection) => connection.state === 'closed'))
    const refused = made.filter((connection) => connection.state === 'closed')
    expect(refused.length).toBe(1)
    expect((await refused[0]?.closed)?.error).toMatchObject({ code: 'QB_TRANSPORT_CLOSED', errorCode: 2n })
    await done()
  })
})

describe('life', () => {
  it('keeps the process alive while it listens, has connections or closes, unless unref() was called', async () => {
    const network = newNetwork()
    const server = bindWith(network.module, { local: '127.0.0.1:0', server: SERVER })
    const client = bindWith(network.module)
    const [serverSide, clientSide] = network.endpoints
    expect([serverSide?.alive, clientSide?.alive]).toEqual([true, false])
    const connection = await client.connect(server.local[0] ?? '', { alpn: 'test', ca: 'ca' })
    expect(clientSide?.alive).toBe(true)
    client.unref()
    expect(clientSide?.alive).toBe(false)
    client.ref()
    await connection.close()
    expect(clientSide?.alive).toBe(false)
    await Promise.all([client.close(), server.close()])
    expect(serverSide?.alive).toBe(false)
  })

  it('closes connections, ends observables and loops, and answers the same promise twice', async () => {
    const { client, server, near, far } = await connectedPair()
    const seen: string[] = []
    server.connections$.subscribe({ complete: () => seen.push('connections$') })
    server.events$.subscribe({ complete: () => seen.push('events$') })
    near.events$.subscribe({ next: (event) => seen.push(event.type), complete: () => seen.push('near') })
    const closing = client.close({ code: 0, reason: 'bye' })
    expect(client.close()).toBe(closing)
    await closing
    expect(await near.closed).toMatchObject({ by: 'local', errorCode: 0n, reason: 'bye', error: null })
    expect(await far.closed).toMatchObject({ by: 'peer', errorCode: 0n, reason: 'bye', error: null })
    await server[Symbol.asyncDispose]()
    expect(seen).toEqual(['closing', 'near', 'connections$', 'events$'])
    expect(client.statistics()).toMatchObject({ datagramsReceived: 1, drops: { unknownConnection: 2 } })
  })

  it('does not leave connections in wait when the engine breaks', async () => {
    const { network, client, server, near, done } = await connectedPair()
    const opening = near.incomingBidirectional().next()
    network.endpoints[1]?.breakDown()
    await client.closed
    expect((await near.closed).error).toMatchObject({ code: 'QB_INTERNAL' })
    expect((await opening).done).toBe(true)
    expect(isQuicbraidError((await near.closed).error)).toBe(true)
    expect(server.listening).toBe(true)
    await done()
  })

  it('tells of connections before their handshake and counts calls', async () => {
    const network = newNetwork()
    const server = bindWith(network.module, { local: '127.0.0.1:0', server: SERVER })
    const client = bindWith(network.module)
    const states: string[] = []
    const note = (connection: Connection): void => void states.push(`${connection.role} ${connection.state}`)
    client.connections$.subscribe(note)
    server.connections$.subscribe(note)
    await client.connect(server.local[0] ?? '', { alpn: 'test', ca: 'ca' })
    expect(states).toEqual(['client handshaking', 'server handshaking'])
    expect(client.statistics().crossings).toBeGreaterThan(3)
    client.destroy(new Error('gone'))
    server.destroy()
    await Promise.all([client.closed, server.closed])
  })
})
