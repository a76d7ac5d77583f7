// 08-js-quic.mjs: a program written for @matrixai/quic
import { QUICServer, QUICClient, events } from 'quicbraid/js-quic'
import { createDevCertificate } from 'quicbraid'
const { cert, key } = createDevCertificate()
const server = new QUICServer({ config: { cert, key, verifyPeer: false, applicationProtos: ['echo'] } })
server.addEventListener(events.EventQUICServerConnection.name, ({ detail: connection }) => {
  connection.addEventListener(events.EventQUICConnectionStream.name, ({ detail: stream }) => { void stream.readable.pipeTo(stream.writable).catch(() => {}) })
})
await server.start({ host: '127.0.0.1', port: 0 })
const client = await QUICClient.createQUICClient({ host: server.host, port: server.port, serverName: 'localhost', config: { ca: cert, verifyPeer: true, applicationProtos: ['echo'] } })
const stream = client.connection.newStream()
const writer = stream.writable.getWriter()
await writer.write(new TextEncoder().encode('Hello World'))
await writer.close()
for await (const chunk of stream.readable) console.log(new TextDecoder().decode(chunk))
await client.destroy()
await server.stop()
