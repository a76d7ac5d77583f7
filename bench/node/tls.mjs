// TLS 1.3 over TCP, the same cipher as the others. It has no streams, so no small ones either.

import { connect, createServer } from 'node:tls'
import { once } from 'node:events'
import { ALPN, SERVER_NAME, main } from './common.mjs'
import { socketClient, socketServer } from './sockets.mjs'

const TLS = { minVersion: 'TLSv1.3', ciphers: 'TLS_AES_128_GCM_SHA256', ALPNProtocols: [ALPN], allowHalfOpen: true }

await main({
  server: (options) => socketServer(options, (onSocket) => createServer({ ...TLS, cert: options.cert, key: options.key }, onSocket)),

  client(options) {
    const { ca, host, port } = options
    return socketClient(options, async () => {
      // No session of before: every handshake is a full one.
      const socket = connect({ ...TLS, host, port, ca, servername: SERVER_NAME })
      await once(socket, 'secureConnect')
      return socket
    })
  },
})
