// 01-two-paths.mjs: one connection over two loopback paths; prints what each carried
import { Endpoint, createDevCertificate } from 'quicbraid'
const { cert, key } = createDevCertificate()
const server = await Endpoint.bind({ local: '127.0.0.1:0', server: { cert, key, alpn: 'sink' } })
const client = await Endpoint.bind()
const paths = [{ local: '127.0.0.1' }, { local: '127.0.0.2' }]
const connection = await client.connect(server.local[0], { alpn: 'sink', ca: cert, paths, scheduler: 'round-robin' })
const incoming = (await server.incoming().next()).value
await connection.paths.ready()
const stream = await connection.openUnidirectional()
const writer = stream.writable.getWriter()
const reading = incoming.incomingUnidirectional().next().then(({ value }) => value.bytes())
for (let i = 0; i < 64; i++) await writer.write(new Uint8Array(65536))
await writer.close()
console.log('received', (await reading).length)
for (const path of connection.paths) console.log(`path ${path.id} ${path.local}: ${path.statistics().bytesSent > 400_000 ? 'used' : 'idle'}`)
await Promise.all([client.close(), server.close()])
