// Small streams over node:http2: what Node has for many requests at once on one connection.

import { connect, createSecureServer } from 'node:http2'
import { once } from 'node:events'
import { REQUEST, SERVER_NAME, check, collect, main, repeat } from './common.mjs'

const TLS = { minVersion: 'TLSv1.3', ciphers: 'TLS_AES_128_GCM_SHA256' }
const POST = { ':method': 'POST', ':path': '/' }

await main({
  async server({ cert, key }) {
    const server = createSecureServer({ ...TLS, cert, key, settings: { maxConcurrentStreams: 256 } })
    server.on('stream', (stream) => {
      // How it ends is the client's to report.
      stream.on('error', () => {})
      collect(stream).then((request) => {
        stream.respond({ ':status': 200 })
        stream.end(request)
      }, () => {})
    })
    await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve))
    return { address: `127.0.0.1:${server.address().port}` }
  },

  async client({ ca, host, port, seconds, inFlight }) {
    const session = connect(`https://${host}:${port}`, { ...TLS, ca, servername: SERVER_NAME })
    await once(session, 'connect')
    return repeat({ seconds, inFlight }, async () => {
      const stream = session.request(POST)
      stream.end(REQUEST)
      check(await collect(stream))
    })
  },
})
