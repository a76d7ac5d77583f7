/** Compiled, never run: programs for js-quic, by the declarations of api 2.10 and §6. */
import { QUICClient, QUICServer, QUICSocket, errors, events, native, utils } from '../../src/js-quic/index.ts'
import type { CodeToReason, QUICConnection, QUICStream, ReasonToCode, StopOptions } from '../../src/js-quic/index.ts'
import type { Connection, Endpoint } from '../../src/index.ts'

export async function echo(key: string, cert: string): Promise<void> {
  const reasonToCode: ReasonToCode = (type, reason) => (type === 'read' && reason !== undefined ? 1 : 0)
  const codeToReason: CodeToReason = (type, code) => new Error(`${type} ${code}`)
  const socket = new QUICSocket({ resolveHostname: async () => '127.0.0.1' })
  await socket.start({ host: '::', port: 0, reuseAddr: true, ipv6Only: false })
  const crypto = { key: new ArrayBuffer(32), ops: { sign: async () => new ArrayBuffer(0), verify: async () => true } }
  const server = new QUICServer({ crypto, socket, config: { key, cert, verifyPeer: false, logKeys: 'keys.log' }, reasonToCode, codeToReason, minIdleTimeout: 1000, logger: {} })
  server.addEventListener(events.EventQUICServerConnection.name, async ({ detail }: events.EventQUICServerConnection) => {
    const connection: QUICConnection = detail
    connection.addEventListener(events.EventQUICConnectionStream.name, (event: events.EventQUICConnectionStream) => { void event.detail.readable.pipeTo(event.detail.writable) })
  })
  server.addEventListener('EventQUICServerConnection', ({ detail }) => detail.newStream())
  await server.start()
  server.updateConfig({ cert, key })
  server.updateCrypto(crypto)
  const creating = QUICClient.createQUICClient({ host: server.host, port: server.port, serverName: 'localhost', socket, crypto: { ops: { randomBytes: async () => {} } }, config: { ca: cert, verifyCallback: async () => native.CryptoError['BadCertificate'] } }, { timer: 500, signal: AbortSignal.timeout(1) })
  creating.cancel(new Error('no'))
  const client = await creating
  const stream: QUICStream = client.connection.newStream('uni')
  stream.addEventListener(events.EventQUICStreamError.name, ({ detail }: events.EventQUICStreamError) => detail instanceof errors.ErrorQUICStreamPeerWrite && detail.data.code.toFixed())
  stream.cancel()
  await stream.destroy({ force: false })
  const options: StopOptions = { isApp: true, errorCode: 0, reason: new Uint8Array(), force: false }
  await client.destroy(options)
  await server.stop(options)
  await socket.stop({ force: true })
  const [endpoint, inner, id]: [Endpoint, Connection, number] = [socket.endpoint, client.connection.inner, stream.streamId]
  utils.collectPEMs([cert]).map(utils.pemToDER)
  void [endpoint, inner, id]
}
