// 10-bursts.mjs: what the assembler put into each burst, and why it was silent
import { Endpoint, createDevCertificate } from 'quicbraid'
const { cert, key } = createDevCertificate()
const server = await Endpoint.bind({ local: '127.0.0.1:0', server: { cert, key, alpn: 'b' } })
const client = await Endpoint.bind()
client.connections$.subscribe(({ bursts }) => bursts.trace$.subscribe((record) => {
  if (record.kind === 'blocked') console.log('silent:', record.signals.join(' '), 'until', record.timer)
  else console.log(record.segments.map((segment) => segment.packets.map((packet) => packet.type).join('+')).join(' | '))
}))
const connection = await client.connect(server.local[0], { alpn: 'b', ca: cert })
await connection.confirmed
console.log(String(connection.explain()))
await Promise.all([client.close(), server.close()])
