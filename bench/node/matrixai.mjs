// The cases over @matrixai/quic, through its Web streams, with the windows of the native cases.

import { createHmac, randomFillSync, timingSafeEqual } from 'node:crypto'
import Logger, { LogLevel } from '@matrixai/logger'
import { QUICClient, QUICServer, events } from '@matrixai/quic'
import { ALPN, SERVER_NAME, answerWeb, countWeb, main, repeat, requestWeb, uploadWeb } from './common.mjs'

const CONFIG = {
  applicationProtos: [ALPN],
  enableEarlyData: false,
  initialMaxData: 4 * 1024 * 1024,
  initialMaxStreamsBidi: 256,
  maxIdleTimeout: 10_000,
  readableChunkSize: 65_536,
}

// No handler hears it; without one of ours it writes a line per stream.
const SILENT = new Logger('bench', LogLevel.ERROR, [])

const sign = (key, data) => {
  const made = createHmac('sha256', Buffer.from(key)).update(Buffer.from(data)).digest()
  return made.buffer.slice(made.byteOffset, made.byteOffset + made.byteLength)
}

await main({
  async server({ case: kind, cert, key }) {
    const serve = kind === 'bulk' ? countWeb : answerWeb
    const server = new QUICServer({
      crypto: {
        key: randomFillSync(new Uint8Array(32)).buffer,
        ops: {
          sign: async (secret, data) => sign(secret, data),
          verify: async (secret, data, given) => timingSafeEqual(Buffer.from(sign(secret, data)), Buffer.from(given)),
        },
      },
      logger: SILENT,
      config: { ...CONFIG, cert, key, verifyPeer: false },
    })
    server.addEventListener(events.EventQUICServerConnection.name, ({ detail: connection }) => {
      // How a stream ends is the client's to report.
      connection.addEventListener(events.EventQUICConnectionStream.name, ({ detail: stream }) => serve(stream).catch(() => {}))
    })
    await server.start({ host: '127.0.0.1', port: 0 })
    return { address: `127.0.0.1:${server.port}` }
  },

  async client({ case: kind, host, port, seconds, inFlight }) {
    const client = await QUICClient.createQUICClient({
      host,
      port,
      serverName: SERVER_NAME,
      localHost: '127.0.0.1',
      crypto: { ops: { randomBytes: async (data) => { randomFillSync(new Uint8Array(data)) } } },
      logger: SILENT,
      // Its BoringSSL takes no self-signed certificate with a key usage for its own issuer.
      config: { ...CONFIG, verifyPeer: false },
    })
    const { connection } = client
    return kind === 'bulk' ? uploadWeb(connection.newStream(), seconds) : repeat({ seconds, inFlight }, () => requestWeb(connection.newStream()))
  },
})
