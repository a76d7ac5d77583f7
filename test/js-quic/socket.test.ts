/** The façade's sockets, by what js-quic's tests of QUICSocket name. */
import { createSocket } from 'node:dgram'
import { afterEach, describe, expect, it } from 'vitest'
import { QUICSocket, errors, events, utils } from '../../src/js-quic/index.ts'
import { MODULE_BUILT } from '../native/built.ts'
import { HAS_IPV6, PATIENCE, closeAll, connected, createdClient, nextConnection, recorded, silentPort, startedServer, startedSocket } from './harness.ts'

afterEach(closeAll)

describe.skipIf(!MODULE_BUILT)('QUICSocket', () => {
  it('tells start and stop as events', PATIENCE, async () => {
    const socket = new QUICSocket()
    const seen = recorded(socket, Object.keys(events))
    await socket.start({ host: '127.0.0.1' })
    expect([socket.host, socket.type, socket.closed]).toEqual(['127.0.0.1', 'ipv4', false])
    expect(socket.port).toBeGreaterThan(0)
    await socket.stop()
    expect(seen).toEqual(['EventQUICSocketStart', 'EventQUICSocketStarted', 'EventQUICSocketStop', 'EventQUICSocketClose', 'EventQUICSocketStopped'])
    expect(() => socket.port).toThrow(errors.ErrorQUICSocketNotRunning)
    await socket.closedP
  })

  it('can be stopped twice and started again', PATIENCE, async () => {
    const socket = await startedSocket()
    await Promise.all([socket.stop(), socket.stop()])
    expect(socket.closed).toBe(true)
    await socket.start({ host: '127.0.0.1' })
    expect(socket.closed).toBe(false)
  })

  it('cannot be stopped with active connections, but by force', PATIENCE, async () => {
    const socket = await startedSocket()
    const server = await startedServer()
    const client = await createdClient(server, { socket })
    await expect(socket.stop()).rejects.toThrow(errors.ErrorQUICSocketConnectionsActive)
    expect(client.connection.running).toBe(true)
    await socket.stop({ force: true })
    await client.closedP
    expect(client.connection.closed).toBe(true)
  })

  it('with ipv6Only does not bind to IPv4', PATIENCE, async () => {
    await expect(new QUICSocket().start({ host: '127.0.0.1', ipv6Only: true })).rejects.toThrow(errors.ErrorQUICSocketInvalidBindAddress)
  })

  it('says which address it cannot bind', PATIENCE, async () => {
    await expect(new QUICSocket().start({ host: '192.0.2.1' })).rejects.toMatchObject({ name: 'ErrorQUICSocketInvalidBindAddress', cause: { code: 'QB_BIND_FAILED' } })
    const { port } = await startedSocket()
    await expect(new QUICSocket().start({ host: '127.0.0.1', port })).rejects.toThrow(errors.ErrorQUICSocketInvalidBindAddress)
    await expect(new QUICSocket().start({ host: '127.0.0.1', port: 65_536 })).rejects.toThrow(errors.ErrorQUICPortInvalid)
  })

  it('takes names, and a resolver of the program', PATIENCE, async () => {
    const socket = new QUICSocket({ resolveHostname: () => '127.0.0.1' })
    await socket.start({ host: 'abcdef' })
    expect(socket.host).toBe('127.0.0.1')
    await socket.stop()
    await expect(new QUICSocket({ resolveHostname: () => 'nonsense' }).start({ host: 'abcdef' })).rejects.toThrow(errors.ErrorQUICHostInvalid)
  })

  it.skipIf(!HAS_IPV6)('is both families at ::, one with ipv6Only', PATIENCE, async () => {
    const both = await startedSocket({})
    expect([both.host, both.type]).toEqual(['::', 'ipv4&ipv6'])
    expect(both.endpoint.local).toEqual([`[::]:${both.port}`, `0.0.0.0:${both.port}`])
    const one = await startedSocket({ host: '::', ipv6Only: true })
    expect([one.host, one.type]).toEqual(['::', 'ipv6'])
  })

  it('binds an IPv4 address that is mapped into IPv6, in both spellings', PATIENCE, async () => {
    for (const host of ['::ffff:127.0.0.1', '::ffff:7f00:1']) {
      const socket = await startedSocket({ host })
      expect([socket.host, socket.type]).toEqual(['::ffff:127.0.0.1', 'ipv4'])
    }
  })

  it('send() knows what it cannot reach, and what would be taken for QUIC', PATIENCE, async () => {
    const socket = await startedSocket({ host: '127.0.0.1' })
    await expect(socket.send('\0', 1, '::1')).rejects.toThrow(errors.ErrorQUICSocketInvalidSendAddress)
    await expect(socket.send(Uint8Array.of(0x40), await silentPort(), '127.0.0.1')).rejects.toThrow(errors.ErrorQUICSocket)
    await expect(socket.send('\0', 70_000, '127.0.0.1')).rejects.toThrow(errors.ErrorQUICPortInvalid)
    await expect(new QUICSocket().send('\0', 1, '127.0.0.1')).rejects.toThrow(errors.ErrorQUICSocketNotRunning)
  })

  it('send() sends datagrams of the program, whole or in part', PATIENCE, async () => {
    const plain = createSocket('udp4')
    await new Promise<void>((resolve) => plain.bind(0, '127.0.0.1', resolve))
    const heard: string[] = []
    const done = new Promise<void>((resolve) => plain.on('message', (bytes) => {
      heard.push(bytes.toString('latin1'))
      if (heard.length === 2) resolve()
    }))
    const socket = await startedSocket({ host: '127.0.0.1' })
    const { port } = plain.address()
    expect(await socket.send('\x01punch', port, '127.0.0.1')).toBe(6)
    expect(await socket.send(Buffer.from('xx\x02part-yy'), 2, 5, port, '127.0.0.1')).toBe(5)
    await done
    expect(heard.sort()).toEqual(['\x01punch', '\x02part'])
    plain.close()
  })

  it('carries a server and clients at once', PATIENCE, async () => {
    const [one, two] = [await startedSocket(), await startedSocket()]
    const servers = [await startedServer({ socket: one }), await startedServer({ socket: two })]
    expect(servers.map(({ port, isSocketShared }) => [port, isSocketShared])).toEqual([[one.port, true], [two.port, true]])
    const arrivals = servers.map(nextConnection)
    const clients = [await createdClient(two, { socket: one }), await createdClient(one, { socket: two })]
    const [fromTwo, fromOne] = await Promise.all(arrivals)
    expect([fromOne?.remotePort, fromTwo?.remotePort]).toEqual([one.port, two.port])
    expect(clients.map(({ localPort }) => localPort)).toEqual([one.port, two.port])
    await clients[0]?.destroy()
    expect(one.running).toBe(true)
  })

  it('takes one server', PATIENCE, async () => {
    const socket = await startedSocket()
    const first = await startedServer({ socket })
    await expect(startedServer({ socket })).rejects.toThrow(errors.ErrorQUICServer)
    await first.stop()
    const second = await startedServer({ socket })
    await createdClient(second)
  })

  it('that is stopped under its server and client ends both', PATIENCE, async () => {
    const socket = await startedSocket()
    const { server, client, far } = await connected({ atServer: { socket } })
    const seen = recorded(server, ['EventQUICServerError', 'EventQUICServerStop', 'EventQUICServerClose', 'EventQUICServerStopped'])
    await socket.stop({ force: true })
    await server.closedP
    await far.closedP
    await client.closedP
    await server.stop()
    expect(seen).toEqual(['EventQUICServerStop', 'EventQUICServerClose', 'EventQUICServerError', 'EventQUICServerStopped'])
  })

  it('that does not run is refused', PATIENCE, async () => {
    const socket = new QUICSocket()
    await expect(startedServer({ socket })).rejects.toThrow(errors.ErrorQUICServerSocketNotRunning)
    await expect(createdClient({ host: '127.0.0.1', port: 1 }, { socket })).rejects.toThrow(errors.ErrorQUICClientSocketNotRunning)
  })
})

describe('utils', () => {
  it('know addresses in all their spellings', () => {
    expect(['127.0.0.1', '::1', '::ffff:127.0.0.1', 'a'].map((host) => [utils.isIPv4(host), utils.isIPv6(host), utils.isIPv4MappedIPv6(host)])).toEqual([[true, false, false], [false, true, false], [false, true, true], [false, false, false]])
    expect(['::', '::0', '0:0:0:0:0:0:0:0', '0.0.0.0', '::1', '127.0.0.1'].map(utils.isHostWildcard)).toEqual([true, true, true, true, false, false])
    expect(['0.0.0.0', '::', '::2'].map(utils.resolvesZeroIP)).toEqual(['127.0.0.1', '::1', '::2'])
    expect([utils.buildAddress('127.0.0.1', 3), utils.buildAddress('::1', 3)]).toEqual(['127.0.0.1:3', '[::1]:3'])
    expect([0, 65_535, 65_536, -1, 1.5, '1'].map(utils.isPort)).toEqual([true, true, false, false, false, false])
  })

  it('turn PEM into DER and back', () => {
    const pem = utils.derToPEM(new Uint8Array(100).fill(7))
    expect(utils.collectPEMs([pem + pem, pem])).toEqual([pem, pem, pem])
    expect(utils.pemToDER(pem)).toEqual(new Uint8Array(100).fill(7))
  })
})
