// One process of the benchmark: the source of bytes, an end of a tunnel, or a proxy of 20 lines. Tells its parent where it is.

import { connect, createServer } from 'node:net'

const [, , role, parameter] = process.argv
const PIECE = Buffer.alloc(262_144)
const LOOPBACK = '127.0.0.1'

const ROLES = { source, proxy, far, near }

/** First four bytes: how many to send, 0: what comes is sent back. */
function source() {
  listen((socket) => {
    socket.once('data', (ask) => {
      let left = ask.readUInt32BE()
      if (left === 0) return void socket.on('data', (bytes) => socket.write(bytes)).write('.')
      const send = () => {
        while (left > 0) {
          const piece = PIECE.subarray(0, Math.min(left, PIECE.length))
          left -= piece.length
          if (!socket.write(piece)) return void socket.once('drain', send)
        }
        socket.end()
      }
      send()
    })
  })
}

function proxy() {
  listen((socket) => {
    const target = connect({ port: Number(parameter), host: LOOPBACK, noDelay: true })
    target.on('error', () => {})
    socket.pipe(target).pipe(socket)
  })
}

async function far() {
  const { Endpoint, createDevCertificate } = await import('../../dist/index.mjs')
  const { TunnelManager, TUNNEL_ALPN, TUNNEL_LIMITS } = await import('../../dist/tunnel.mjs')
  const { cert, key } = createDevCertificate()
  const endpoint = await Endpoint.bind({ local: `${LOOPBACK}:0`, server: { cert, key, alpn: TUNNEL_ALPN, clientAuth: 'require', ca: cert, limits: TUNNEL_LIMITS } })
  new TunnelManager({ endpoint }).listen(({ peer }) => (peer === null ? undefined : `${LOOPBACK}:${parameter}`))
  process.send({ cert, key, remote: endpoint.local[0] })
}

async function near() {
  const { Endpoint } = await import('../../dist/index.mjs')
  const { TunnelManager } = await import('../../dist/tunnel.mjs')
  const { cert, key, remote } = JSON.parse(parameter)
  const tunnel = await new TunnelManager({ endpoint: await Endpoint.bind() }).open({ remote, port: 7, connection: { ca: cert, cert, key } })
  await tunnel.opened
  process.send(Number(tunnel.local.split(':')[1]))
}

function listen(onSocket) {
  const server = createServer({ noDelay: true }, (socket) => {
    socket.on('error', () => {})
    onSocket(socket)
  }).listen(0, LOOPBACK, () => process.send(server.address().port))
}

await ROLES[role]()
