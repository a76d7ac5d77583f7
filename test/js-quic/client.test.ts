/** The façade's clients and connections, by what js-quic's tests of QUICClient name. */
import { createSocket } from 'node:dgram'
import { randomBytes } from 'node:crypto'
import { readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, describe, expect, it } from 'vitest'
import { QUICClient, errors, events, native, utils } from '../../src/js-quic/index.ts'
import { MODULE_BUILT } from '../native/built.ts'
import { KEY_KINDS, identityOf } from '../tls/certificates.ts'
import { HAS_IPV6, PATIENCE, closeAll, connected, createdClient, next, nextConnection, recorded, silentPort, sleep, startedServer, textOf, echoing } from './harness.ts'

afterEach(closeAll)

describe.skipIf(!MODULE_BUILT)('QUICClient without a server', () => {
  it('gives up after maxIdleTimeout', PATIENCE, async () => {
    const port = await silentPort()
    await expect(createdClient({ host: '127.0.0.1', port }, { config: { maxIdleTimeout: 200 } })).rejects.toThrow(errors.ErrorQUICConnectionIdleTimeout)
    await expect(createdClient({ host: '127.0.0.1', port }, { config: { maxIdleTimeout: 200, keepAliveIntervalTime: 50 } })).rejects.toThrow(errors.ErrorQUICConnectionIdleTimeout)
  })

  it('wants keepAliveIntervalTime below maxIdleTimeout', PATIENCE, async () => {
    const port = await silentPort()
    await expect(createdClient({ host: '127.0.0.1', port }, { config: { maxIdleTimeout: 200, keepAliveIntervalTime: 1000 } })).rejects.toThrow(errors.ErrorQUICConnectionConfigInvalid)
  })

  it('gives up by a timer, a signal and cancel()', PATIENCE, async () => {
    const options = { host: '127.0.0.1', port: await silentPort(), localHost: '127.0.0.1', config: { verifyPeer: false } }
    await expect(QUICClient.createQUICClient(options, { timer: 100 })).rejects.toThrow(errors.ErrorQUICClientCreateTimeout)
    await expect(QUICClient.createQUICClient(options, { timer: sleep(100) })).rejects.toThrow(errors.ErrorQUICClientCreateTimeout)
    const controller = new AbortController()
    const aborted = QUICClient.createQUICClient(options, { signal: controller.signal })
    setTimeout(() => controller.abort(new Error('abort error')), 50)
    await expect(aborted).rejects.toThrow('abort error')
    await expect(QUICClient.createQUICClient(options, { signal: AbortSignal.abort(new Error('before')) })).rejects.toThrow('before')
    const cancelled = QUICClient.createQUICClient(options)
    setTimeout(() => cancelled.cancel(new Error('cancelled')), 50)
    await expect(cancelled).rejects.toThrow('cancelled')
  })

  it.skipIf(!HAS_IPV6)('knows which hosts its socket cannot reach', PATIENCE, async () => {
    await expect(createdClient({ host: '::1', port: 1 })).rejects.toThrow(errors.ErrorQUICClientInvalidHost)
    await expect(createdClient({ host: '127.0.0.1', port: 1 }, { localHost: '::1' })).rejects.toThrow(errors.ErrorQUICClientInvalidHost)
    await expect(createdClient({ host: '127.0.0.1', port: 65_536 })).rejects.toThrow(errors.ErrorQUICPortInvalid)
  })
})

describe.skipIf(!MODULE_BUILT).each(KEY_KINDS)('TLS with %s', (kind) => {
  const [one, two] = [identityOf(kind, 'one'), identityOf(kind, 'two')]
  const mutual = { atServer: { config: { key: one.key, cert: one.cert, verifyPeer: true, ca: two.ca } } }

  it('verifies the server', PATIENCE, async () => {
    const { near } = await connected({ atServer: { config: one }, atClient: { config: { verifyPeer: true, ca: one.ca } } })
    expect(near.getRemoteCertsChain().map(utils.derToPEM)).toEqual([one.cert])
  })

  it('verifies the client, and each other', PATIENCE, async () => {
    for (const verifyPeer of [false, true]) {
      const { near, far, client, server } = await connected({ ...mutual, atClient: { config: { key: two.key, cert: two.cert, verifyPeer, ca: one.ca } } })
      expect(far.getRemoteCertsChain().map(utils.derToPEM)).toEqual([two.cert])
      expect(near.meta()).toMatchObject({ localCertsChain: [utils.pemToDER(two.cert)], localCACertsChain: [utils.pemToDER(one.ca)], remoteCertsChain: [utils.pemToDER(one.cert)] })
      await client.destroy()
      await server.stop()
    }
  })

  it('fails when the server cannot be verified', PATIENCE, async () => {
    const server = await startedServer({ config: one })
    const failing = createdClient(server, { config: { verifyPeer: true, ca: two.ca } })
    await expect(failing).rejects.toMatchObject({ name: 'ErrorQUICConnectionLocalTLS', data: { isApp: false }, cause: { code: 'QB_TLS_CERTIFICATE' } })
    await expect(failing).rejects.toBeInstanceOf(errors.ErrorQUICConnectionLocal)
  })

  it('fails when the client cannot be verified, or has no certificate', PATIENCE, async () => {
    const server = await startedServer(mutual.atServer)
    for (const own of [{ key: one.key, cert: one.cert }, {}]) {
      // A client of TLS 1.3 is done before the server has looked, so that the refusal may come before or after.
      expect(await refusal(createdClient(server, { config: own }))).toMatchObject({ name: 'ErrorQUICConnectionPeerTLS', data: { isApp: false } })
    }
  })

  it('asks verifyCallback in the place of the check', PATIENCE, async () => {
    const server = await startedServer({ config: one })
    const asked: Uint8Array[][] = []
    const verifyCallback = async (certs: Uint8Array[], ca: Uint8Array[]): Promise<undefined> => {
      asked.push(certs, ca)
    }
    await createdClient(server, { config: { verifyPeer: true, verifyCallback, ca: two.ca } })
    expect(asked).toEqual([[utils.pemToDER(one.cert)], [utils.pemToDER(two.ca)]])
    await createdClient(server, { config: { verifyPeer: false, verifyCallback } })
    expect(asked).toHaveLength(2)
  })

  it('fails when verifyCallback answers a code or throws, on either side', PATIENCE, async () => {
    const server = await startedServer({ config: one })
    const refuse = { verifyPeer: true, verifyCallback: async () => native.CryptoError['UnknownCA'] }
    await expect(createdClient(server, { config: refuse })).rejects.toMatchObject({ name: 'ErrorQUICConnectionLocalTLS', data: { errorCode: native.CryptoError['UnknownCA'] } })
    await expect(createdClient(server, { config: { verifyPeer: true, verifyCallback: () => Promise.reject(new Error('never seen')) } })).rejects.toMatchObject({ name: 'ErrorQUICConnectionLocalTLS', cause: { cause: { message: 'never seen' } } })
    server.updateConfig(refuse)
    expect(await refusal(createdClient(server, { config: { key: two.key, cert: two.cert } }))).toMatchObject({ name: 'ErrorQUICConnectionPeerTLS', data: { errorCode: native.CryptoError['BadCertificate'] } })
  })
})

describe.skipIf(!MODULE_BUILT)('configuration', () => {
  it('without a common protocol there is no connection', PATIENCE, async () => {
    const server = await startedServer({ config: { applicationProtos: ['one'] } })
    await expect(createdClient(server, { config: { applicationProtos: ['two'] } })).rejects.toThrow(errors.ErrorQUICConnectionPeer)
    await createdClient(server, { config: { applicationProtos: ['one'] } })
  })

  it('logKeys writes the keys', PATIENCE, async () => {
    const file = join(tmpdir(), `quicbraid-js-quic-${process.pid}.log`)
    const server = await startedServer()
    const client = await createdClient(server, { config: { logKeys: file } })
    await client.destroy()
    expect(await readFile(file, 'utf8')).toContain('CLIENT_TRAFFIC_SECRET_0')
    await rm(file)
  })

  it('takes everything else there is', PATIENCE, async () => {
    const everything = { sigalgs: 'ed25519', grease: false, maxRecvUdpPayloadSize: 65_527, maxSendUdpPayloadSize: 1200, initialMaxData: 0, maxStreamWindow: 0, enableDgram: [true, 10, 10] as [boolean, number, number], disableActiveMigration: false, enableEarlyData: true, readableChunkSize: 1 }
    const { near, far } = await connected({ atServer: { config: everything, minIdleTimeout: 5000 }, atClient: { config: everything } })
    await far.inner.confirmed
    near.inner.datagrams.send(Buffer.from('x'))
  })

  it('each connection shows its certificate, since no tickets are kept', PATIENCE, async () => {
    const server = await startedServer()
    const client = await createdClient(server)
    await sleep(50)
    await client.destroy()
    const again = await createdClient(server)
    expect((await again.connection.inner.opened).resumed).toBe(false)
    expect(again.connection.getRemoteCertsChain()).toHaveLength(1)
  })
})

describe.skipIf(!MODULE_BUILT)('the end of a connection', () => {
  it('is told on both sides with its code and reason', PATIENCE, async () => {
    const { client, near, far } = await connected()
    const [atNear, atFar] = [near, far].map((connection) => next<events.EventQUICConnectionError>(connection, events.EventQUICConnectionError.name))
    const seen = recorded(client, Object.keys(events).filter((name) => /Connection(Error|Close|Stop)|Client/.test(name)))
    await client.destroy({ isApp: true, errorCode: 42, reason: Buffer.from('enough') })
    expect((await atNear)?.detail).toMatchObject({ name: 'ErrorQUICConnectionLocal', data: { isApp: true, errorCode: 42, reason: Buffer.from('enough') } })
    expect((await atFar)?.detail).toMatchObject({ name: 'ErrorQUICConnectionPeer', data: { isApp: true, errorCode: 42, reason: new TextEncoder().encode('enough') } })
    await far.closedP
    expect([near.closed, far.closed, client.closed, near.getConnectionError()?.errorCode]).toEqual([true, true, true, 42])
    expect(seen).toEqual([
      'EventQUICClientDestroy', 'EventQUICConnectionStop', 'EventQUICClientClose', 'EventQUICClientError', 'EventQUICConnectionClose', 'EventQUICConnectionError', 'EventQUICConnectionStopped', 'EventQUICClientDestroyed',
    ])
  })

  it('by the peer destroys the client', PATIENCE, async () => {
    const { client, far } = await connected()
    const error = next<events.EventQUICClientError>(client, events.EventQUICClientError.name)
    const destroyed = next(client, events.EventQUICClientDestroyed.name)
    await far.stop({ errorCode: 7 })
    expect((await error).detail).toMatchObject({ name: 'ErrorQUICConnectionPeer', data: { errorCode: 7 } })
    await destroyed
    await client.closedP
    await client.destroy()
  })

  it('with a code of the transport goes out as the application code 1', PATIENCE, async () => {
    const { near, far } = await connected()
    const error = next<events.EventQUICConnectionError>(far, events.EventQUICConnectionError.name)
    await near.stop({ isApp: false, errorCode: native.ConnectionErrorCode['ProtocolViolation'] ?? 0 })
    expect((await error).detail.data).toMatchObject({ isApp: true, errorCode: 1 })
    expect(near.getConnectionError()).toMatchObject({ isApp: false, errorCode: 10 })
  })

  it('comes with the server', PATIENCE, async () => {
    const { server, client, far } = await connected()
    await server.stop({ errorCode: 3 })
    expect(far.closed).toBe(true)
    await client.closedP
    expect(client.connection.getConnectionError()).toMatchObject({ isApp: true, errorCode: 3 })
  })
})

describe.skipIf(!MODULE_BUILT)('keep-alive', () => {
  const silent = { verifyPeer: false, maxIdleTimeout: 300 }

  it.each([['client', {}, silent], ['server', silent, {}]])('without it the %s times out', PATIENCE, async (_, atServer, atClient) => {
    const { near, far } = await connected({ atServer: { config: atServer }, atClient: { config: { verifyPeer: false, ...atClient } } })
    const ends = await Promise.all([near, far].map(async (connection) => (await next<events.EventQUICConnectionError>(connection, events.EventQUICConnectionError.name)).detail))
    expect(ends.map(({ name }) => name)).toEqual(['ErrorQUICConnectionIdleTimeout', 'ErrorQUICConnectionIdleTimeout'])
    await Promise.all([near.closedP, far.closedP])
  })

  it.each([
    ['client', 'client', {}, { maxIdleTimeout: 3000, keepAliveIntervalTime: 100 }],
    ['server', 'server', { maxIdleTimeout: 3000, keepAliveIntervalTime: 100 }, {}],
    ['client', 'server', { maxIdleTimeout: 3000 }, { keepAliveIntervalTime: 100 }],
  ])('of the %s prevents the timeout of the %s', PATIENCE, async (_, __, atServer, atClient) => {
    const { near, far } = await connected({ atServer: { config: atServer }, atClient: { config: { verifyPeer: false, ...atClient } } })
    await sleep(4500)
    expect([near.running, far.running]).toEqual([true, true])
  })
})

describe.skipIf(!MODULE_BUILT)('noise', () => {
  it('from outside disturbs neither end', PATIENCE, async () => {
    const { near, far, server, client } = await connected()
    echoing(far)
    const socket = createSocket('udp4')
    for (const port of [server.port, client.localPort]) for (let length = 1; length < 1500; length += 50) await new Promise((resolve) => { socket.send(randomBytes(length), port, '127.0.0.1', resolve) })
    const stream = near.newStream()
    const text = randomBytes(50_000).toString('hex')
    const reading = textOf(stream)
    const writer = stream.writable.getWriter()
    await writer.write(Buffer.from(text))
    await writer.close()
    expect(await reading).toBe(text)
    socket.close()
    await Promise.all([near.stop(), nextConnection(server).then(() => {}, () => {}), createdClient(server)])
  })
})

/** Why a client is not let in, before or after its own side is done. */
async function refusal(creating: Promise<QUICClient>): Promise<unknown> {
  try {
    const { connection } = await creating
    return (await next<events.EventQUICConnectionError>(connection, events.EventQUICConnectionError.name)).detail
  } catch (error) {
    return error
  }
}
