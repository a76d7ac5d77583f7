// 12-early-data.mjs: the second connection says hello before its handshake is complete
import { Endpoint, createDevCertificate } from 'quicbraid'
const { cert, key } = createDevCertificate()
const server = await Endpoint.bind({ local: '127.0.0.1:0', server: { cert, key, alpn: 'hello', earlyData: true } })
const client = await Endpoint.bind()
const incoming = server.incoming()
const options = { alpn: 'hello', ca: cert, earlyData: true }
const ticket = new Promise((resolve) => client.connections$.subscribe(({ events$ }) => events$.subscribe(({ type }) => { if (type === 'session-stored') resolve(type) })))
const [first] = await Promise.all([client.connect(server.local[0], options), incoming.next(), ticket])
await first.close()
const second = await client.connect(server.local[0], options) // at once, since there is a ticket
const stream = await second.openUnidirectional()
stream.write(new TextEncoder().encode('hello again'))
stream.end()
const far = (await incoming.next()).value
const received = (await far.incomingUnidirectional().next()).value
console.log(new TextDecoder().decode(await received.bytes()), received.early ? '(may be a replay)' : '(the handshake was quicker)')
const { resumed } = await second.opened
console.log(second.early, resumed)
await Promise.all([client.close(), server.close()])
