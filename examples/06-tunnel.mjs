// 06-tunnel.mjs: TCP through QUIC, both ends in one process, mutual TLS
import net from 'node:net'
import { once } from 'node:events'
import { Endpoint, createDevCertificate } from 'quicbraid'
import { TunnelManager, TUNNEL_ALPN } from 'quicbraid/tunnel'
const { cert, key } = createDevCertificate()
const echo = net.createServer((socket) => socket.pipe(socket)).listen(0, '127.0.0.1')
await once(echo, 'listening')
const target = /** @type {net.AddressInfo} */ (echo.address()).port
const far = new TunnelManager({ endpoint: await Endpoint.bind({ local: '127.0.0.1:0', server: { cert, key, alpn: TUNNEL_ALPN, clientAuth: 'require', ca: cert } }) })
far.listen(({ peer, port }) => (peer && port === 7 ? `127.0.0.1:${target}` : undefined))
const near = new TunnelManager({ endpoint: await Endpoint.bind() })
const tunnel = await near.open({ remote: far.endpoint.local[0], port: 7, connection: { ca: cert, cert, key } })
const socket = net.connect(Number(tunnel.local.split(':')[1]), '127.0.0.1')
socket.end('through the tunnel')
console.log(String((await once(socket, 'data'))[0]))
await Promise.all([near.shutdown(), far.shutdown(), near.endpoint.close(), far.endpoint.close(), echo.close()])
