// One handshake and one echo over loopback, from the installed package as an ES module. Prints what came back.
import { createDevCertificate, Endpoint, isQuicbraidError } from 'quicbraid'
import { World } from 'quicbraid/sim'

const { cert, key } = createDevCertificate()
const server = await Endpoint.bind({ local: '127.0.0.1:0', server: { cert, key, alpn: 'echo' } })
const echo = (async () => {
  const { value: connection } = await server.incoming().next()
  const { value: stream } = await connection.incomingBidirectional().next()
  await stream.readable.pipeTo(stream.writable)
})()
const client = await Endpoint.bind()
const connection = await client.connect(server.local[0], { alpn: 'echo', ca: cert })
const stream = await connection.openBidirectional()
stream.write(new TextEncoder().encode('over quic'))
stream.end()
const bytes = await stream.bytes()
await echo
await Promise.all([client.close(), server.close()])
const refused = await client.connect('127.0.0.1:1', { alpn: 'echo' }).catch((error) => error)
console.log(new TextDecoder().decode(bytes), client.driver, isQuicbraidError(refused) && refused.code, typeof World.pair)
