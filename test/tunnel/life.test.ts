/** Limits and the ends of tunnels and managers (docs/spec/tunnel.md sections 2 and 8): the same suite over UDP sockets and over a header carrier, with real TCP around. */
import { once } from 'node:events'
import { connect } from 'node:net'
import { afterEach, describe, expect, it } from 'vitest'
import { codeOf, pattern } from '../fake/pair.ts'
import { MODULE_BUILT } from '../native/built.ts'
import { KINDS, allOf, allowing, echo, endAll, eventIn, tcpClient, tcpServer, tunnelPair } from './pair.ts'

afterEach(endAll)

const BIG = pattern(3_000_000)

describe.skipIf(!MODULE_BUILT).each(KINDS)('a tunnel over %s', { timeout: 60_000 }, (kind) => {
  /** tunnel T17, T46 */
  it('closes gently: nobody new, what is joined goes on, the connection ends in order after the last', async () => {
    const pair = await tunnelPair(kind)
    const target = await echo()
    allowing(pair, target.address)
    const tunnel = await pair.open()
    const client = await tcpClient(tunnel.local)
    client.socket.write('one')
    await once(client.socket, 'data')
    const { connection } = tunnel
    const closing = pair.near.close(tunnel.id)
    const late = connect(Number(tunnel.local.split(':')[1]), '127.0.0.1')
    expect((await once(late, 'error'))[0]).toMatchObject({ code: 'ECONNREFUSED' })
    client.socket.end(BIG)
    expect((await allOf(client.socket)).length).toBe(BIG.length)
    expect(await closing).toBe(true)
    expect(await connection?.closed).toMatchObject({ by: 'local', errorCode: 0n, error: null })
    expect(await tunnel.closed).toEqual({ error: null })
    expect([await pair.near.close(tunnel.id), await pair.near.close(99)]).toEqual([false, false])
    expect(pair.near.statistics().tunnels).toBe(0)
  })

  /** tunnel T17, T45 */
  it('closes by force: every bridge is cut at both ends at once', async () => {
    const pair = await tunnelPair(kind)
    const target = await echo()
    allowing(pair, target.address)
    const tunnel = await pair.open()
    const clients = await Promise.all([1, 2, 3].map(async () => {
      const client = await tcpClient(tunnel.local)
      client.socket.write('x')
      await once(client.socket, 'data')
      return client
    }))
    expect(await pair.near.close(tunnel.id, { force: true })).toBe(true)
    expect(await Promise.all(clients.map(({ ended }) => ended))).toEqual(['rst', 'rst', 'rst'])
    await eventIn(pair.events.far, pair.far, 'failed', 3)
    expect(pair.events.near.filter(({ type }) => type === 'failed').map(({ reason }) => reason)).toEqual(['shutdown', 'shutdown', 'shutdown'])
    expect(pair.far.statistics().bridgesOpen).toBe(0)
  })

  /** tunnel T45 */
  it('cuts every bridge once when the connection is lost, and closes its listener', async () => {
    const pair = await tunnelPair(kind)
    const target = await echo()
    allowing(pair, target.address)
    const tunnel = await pair.open()
    const client = await tcpClient(tunnel.local)
    client.socket.write('x')
    await once(client.socket, 'data')
    for (const connection of pair.far.endpoint.connections) connection.destroy(undefined, { code: 0x99 })
    expect(await client.ended).toBe('rst')
    expect((await tunnel.closed).error).toMatchObject({ errorCode: 0x99n })
    expect(pair.events.near.filter(({ type }) => type === 'failed').map(({ reason }) => reason)).toEqual(['connection'])
    expect(pair.events.far.filter(({ type }) => type === 'failed').map(({ reason }) => reason)).toEqual(['connection'])
  })

  /** tunnel T12, T13, T60 */
  it('joins as many as there are streams, the others in order; too many are cut and counted', async () => {
    const pair = await tunnelPair(kind, { near: { streams: 2, limits: { pendingMax: 3 } } })
    const target = await tcpServer((socket) => {
      socket.write('.')
      socket.on('end', () => socket.end())
    })
    allowing(pair, target.address)
    const tunnel = await pair.open()
    const first = await Promise.all([tcpClient(tunnel.local), tcpClient(tunnel.local)])
    await Promise.all(first.map(({ socket }) => once(socket, 'data')))
    const order: number[] = []
    const waiting = []
    for (let index = 0; index < 3; index++) {
      const client = await tcpClient(tunnel.local)
      client.socket.once('data', () => order.push(index))
      waiting.push(client)
      await eventIn(pair.events.near, pair.near, 'pending', 3 + index)
    }
    const over = await tcpClient(tunnel.local)
    over.socket.resume()
    expect(await over.ended).toBe('rst')
    expect(pair.near.statistics()).toMatchObject({ pending: 3, bridgesOpen: 2, failed: { 'pending.overflow': 1, overflow: 1 } })
    for (const { socket } of [...first, ...waiting]) {
      socket.end()
      await allOf(socket)
    }
    expect(order).toEqual([0, 1, 2])
    await eventIn(pair.events.near, pair.near, 'closed', 5)
    expect(pair.near.statistics()).toMatchObject({ pending: 0, bridgesOpen: 0, bridgesTotal: 6 })
  })

  /** tunnel T60 */
  it('has bounds on tunnels and bridges, each with a counter', async () => {
    const pair = await tunnelPair(kind, { near: { limits: { maxTunnels: 1, maxBridges: 2 } }, far: { limits: { maxBridgesPerPeer: 1 } } })
    const target = await tcpServer((socket) => void socket.write('.'))
    allowing(pair, target.address)
    const tunnel = await pair.open()
    expect(await codeOf(pair.near.open({ remote: pair.remote, port: 7 }))).toBe('QB_TUNNEL_TOO_MANY')
    const first = await tcpClient(tunnel.local)
    await once(first.socket, 'data')
    const second = await tcpClient(tunnel.local)
    second.socket.resume()
    expect(await second.ended).toBe('rst')
    expect([pair.near.statistics().failed, pair.far.statistics().failed]).toEqual([{ maxTunnels: 1, refused: 1 }, { maxBridgesPerPeer: 1, refused: 1 }])
  })

  /** tunnel T63 */
  it('shuts down: waits for bridges as long as it may, cuts what is left, and leaves the endpoint', async () => {
    const pair = await tunnelPair(kind)
    const target = await echo()
    allowing(pair, target.address)
    const tunnel = await pair.open()
    const [quick, slow] = await Promise.all([tcpClient(tunnel.local), tcpClient(tunnel.local)])
    for (const { socket } of [quick, slow]) {
      socket.write('x')
      await once(socket, 'data')
    }
    const shut = pair.near.shutdown({ graceMs: 300 })
    expect(pair.near.shutdown()).toBe(shut)
    quick.socket.end('y')
    expect((await allOf(quick.socket)).toString()).toBe('y')
    await shut
    expect(await slow.ended).toBe('rst')
    expect(pair.events.near.filter(({ type }) => type === 'failed').map(({ reason }) => reason)).toEqual(['shutdown'])
    expect(await codeOf(pair.near.open({ remote: pair.remote, port: 7 }))).toBe('QB_TUNNEL_SHUTDOWN')
    expect(() => pair.near.listen(7)).toThrow(/shut down/)
    expect(pair.near.statistics()).toMatchObject({ tunnels: 0, bridgesOpen: 0, pending: 0 })
    expect([...pair.near.endpoint.connections]).toEqual([])
    await pair.far.shutdown()
  })

  /** tunnel T65 */
  it('may be closed in any of its own callbacks', async () => {
    for (const type of ['pending', 'opened', 'half-closed'] as const) {
      const pair = await tunnelPair(kind)
      const target = await echo()
      allowing(pair, target.address)
      const tunnel = await pair.open()
      pair.near.bridges$.subscribe((event) => {
        if (event.type === type) void pair.near.close(tunnel.id, { force: true })
      })
      const client = await tcpClient(tunnel.local)
      client.socket.end('x')
      client.socket.resume()
      await client.closed
      await tunnel.closed
      expect(pair.near.statistics(), type).toMatchObject({ tunnels: 0, bridgesOpen: 0, pending: 0 })
      await endAll()
    }
  })
})
