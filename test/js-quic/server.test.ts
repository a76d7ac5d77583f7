/** The façade's servers, by what js-quic's tests of QUICServer name. */
import { afterEach, describe, expect, it } from 'vitest'
import { QUICServer, errors, events, utils } from '../../src/js-quic/index.ts'
import { MODULE_BUILT } from '../native/built.ts'
import { KEY_KINDS, identityOf } from '../tls/certificates.ts'
import { HAS_IPV6, PATIENCE, closeAll, connected, createdClient, nextConnection, recorded, startedServer } from './harness.ts'

afterEach(closeAll)

const { key, cert, ca } = identityOf('ECDSA')

describe.skipIf(!MODULE_BUILT)('QUICServer', () => {
  it.each(KEY_KINDS)('starts and stops with %s', PATIENCE, async (kind) => {
    const own = identityOf(kind)
    const server = await startedServer({ config: { key: own.key, cert: own.cert } })
    expect(server.port).toBeGreaterThan(0)
    await createdClient(server, { config: { verifyPeer: true, ca: own.ca } })
    await server.stop()
  })

  it('stops and starts again, with its events', PATIENCE, async () => {
    const server = new QUICServer({ config: { key, cert } })
    const seen = recorded(server, Object.keys(events).filter((name) => name.startsWith('EventQUICServer')))
    for (let round = 0; round < 2; round += 1) {
      await server.start({ host: '127.0.0.1' })
      const arrives = nextConnection(server)
      await createdClient(server)
      await arrives
      await server.stop()
      await server.closedP
    }
    const one = ['EventQUICServerStart', 'EventQUICServerStarted', 'EventQUICServerConnection', 'EventQUICServerStop', 'EventQUICServerClose', 'EventQUICServerStopped']
    expect(seen).toEqual([...one, ...one])
  })

  it('hears of sockets, connections and streams of its own', PATIENCE, async () => {
    const server = new QUICServer({ config: { key, cert } })
    const seen = recorded(server, Object.keys(events))
    await server.start({ host: '127.0.0.1' })
    const arrives = nextConnection(server)
    const client = await createdClient(server)
    const far = await arrives
    const stream = client.connection.newStream()
    await stream.writable.close()
    await client.destroy()
    await far.closedP
    await server.stop()
    expect(seen).toEqual(expect.arrayContaining(['EventQUICSocketStarted', 'EventQUICConnectionStarted', 'EventQUICConnectionError', 'EventQUICConnectionStopped', 'EventQUICSocketStopped']))
  })

  it('has no address before it is started', () => {
    expect(() => new QUICServer({ config: { key, cert } }).port).toThrow(errors.ErrorQUICSocketNotRunning)
  })

  it('refuses a configuration that cannot be used, and binds nothing', PATIENCE, async () => {
    await expect(startedServer({ config: { cert: 'nonsense' } })).rejects.toMatchObject({ name: 'ErrorQUICConfig', cause: { code: 'QB_TLS_IDENTITY' } })
    await expect(startedServer({ config: { key: [key, key], cert: [cert, cert] } })).rejects.toThrow(errors.ErrorQUICConfig)
    await expect(startedServer({ config: { keepAliveIntervalTime: 100, maxIdleTimeout: 100 } })).rejects.toThrow(errors.ErrorQUICConnectionConfigInvalid)
  })

  it('takes keys and certificates as bytes and in lists', PATIENCE, async () => {
    const encoder = new TextEncoder()
    const server = await startedServer({ config: { key: encoder.encode(key), cert: [encoder.encode(cert)] } })
    await createdClient(server, { config: { verifyPeer: true, ca: [encoder.encode(ca), encoder.encode(identityOf('Ed25519').ca)] } })
  })
})

describe.skipIf(!MODULE_BUILT)('QUICServer binding', () => {
  it('listens on IPv4', PATIENCE, async () => {
    const { far, client, server } = await connected()
    expect([far.localHost, far.localPort, far.remoteHost, far.remotePort]).toEqual(['127.0.0.1', server.port, '127.0.0.1', client.localPort])
    expect([client.host, client.port, client.localHost]).toEqual(['127.0.0.1', server.port, '127.0.0.1'])
  })

  it.skipIf(!HAS_IPV6)('listens on IPv6', PATIENCE, async () => {
    const { far, server, client } = await connected({ atServer: { address: { host: '::1' } }, atClient: { localHost: '::1' } })
    expect([server.host, far.localHost, far.remoteHost, far.remotePort]).toEqual(['::1', '::1', '::1', client.localPort])
  })

  it.skipIf(!HAS_IPV6)('listens on both families', PATIENCE, async () => {
    const server = await startedServer({ address: {} })
    expect(server.host).toBe('::')
    for (const host of ['127.0.0.1', '::1', '::', '0.0.0.0', '::ffff:127.0.0.1']) {
      const arrives = nextConnection(server)
      const client = await createdClient({ host, port: server.port }, { localHost: '::' })
      const far = await arrives
      expect(far.remotePort, host).toBe(client.localPort)
      expect(utils.isIPv6(far.remoteHost), host).toBe(host === '::1' || host === '::')
    }
  })

  it('listens on a name, by a resolver of its own', PATIENCE, async () => {
    const server = await startedServer({ resolveHostname: () => '127.0.0.1', address: { host: 'abcdef' } })
    expect(server.host).toBe('127.0.0.1')
    await createdClient({ host: 'server.test', port: server.port }, { resolveHostname: () => '127.0.0.1' })
  })
})

describe.skipIf(!MODULE_BUILT)('QUICServer.updateConfig', () => {
  it.each(KEY_KINDS)('with %s gives new connections the new identity and leaves old ones alone', PATIENCE, async (kind) => {
    const [first, second] = [identityOf(kind, 'one'), identityOf(kind, 'two')]
    const server = await startedServer({ config: { key: first.key, cert: first.cert } })
    const old = await createdClient(server)
    server.updateConfig({ key: second.key, cert: second.cert })
    const young = await createdClient(server)
    expect(old.connection.getRemoteCertsChain().map(utils.derToPEM)).toEqual([first.cert])
    expect(young.connection.getRemoteCertsChain().map(utils.derToPEM)).toEqual([second.cert])
    expect(old.connection.running).toBe(true)
  })

  it('refuses what cannot be used and keeps what it had', PATIENCE, async () => {
    const server = await startedServer()
    expect(() => server.updateConfig({ cert: 'nonsense' })).toThrow(errors.ErrorQUICConfig)
    await createdClient(server, { config: { verifyPeer: true, ca } })
    server.updateCrypto({})
  })
})
