// The floor: TCP without TLS and without streams.

import { connect, createServer } from 'node:net'
import { once } from 'node:events'
import { main } from './common.mjs'
import { socketClient, socketServer } from './sockets.mjs'

await main({
  server: (options) => socketServer(options, (onSocket) => createServer({ allowHalfOpen: true, noDelay: true }, onSocket)),

  client: (options) => socketClient(options, async () => {
    const socket = connect({ host: options.host, port: options.port, allowHalfOpen: true, noDelay: true })
    await once(socket, 'connect')
    return socket
  }),
})
