// Bulk over node:tls: TLS 1.3 over TCP, the same cipher as the others. It has no streams, so no small ones either.

import { connect, createServer } from 'node:tls'
import { ALPN, SERVER_NAME, countDuplex, main, uploadDuplex } from './common.mjs'

const TLS = { minVersion: 'TLSv1.3', ciphers: 'TLS_AES_128_GCM_SHA256', ALPNProtocols: [ALPN], allowHalfOpen: true }

await main({
  async server({ cert, key }) {
    const server = createServer({ ...TLS, cert, key }, (socket) => {
      // How it ends is the client's to report.
      socket.on('error', () => {})
      countDuplex(socket)
    })
    await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve))
    return `127.0.0.1:${server.address().port}`
  },

  async client({ ca, host, port, seconds }) {
    const socket = connect({ ...TLS, host, port, ca, servername: SERVER_NAME })
    await new Promise((resolve, reject) => {
      socket.once('secureConnect', resolve)
      socket.once('error', reject)
    })
    const report = await uploadDuplex(socket, seconds)
    socket.destroy()
    return report
  },
})
