// 09-datagrams.mjs: unreliable datagrams and their fate
import { firstValueFrom } from 'rxjs'
import { Endpoint, createDevCertificate } from 'quicbraid'
const { cert, key } = createDevCertificate()
const server = await Endpoint.bind({ local: '127.0.0.1:0', server: { cert, key, alpn: 'd' } })
const client = await Endpoint.bind()
const connection = await client.connect(server.local[0], { alpn: 'd', ca: cert })
const batches = (await server.incoming().next()).value.datagrams.batches()
const status = firstValueFrom(connection.datagrams.status$)
const id = connection.datagrams.send(new TextEncoder().encode('ping'))
console.log(new TextDecoder().decode((await batches.next()).value[0]), (await status).id === id, (await status).status)
await Promise.all([client.close(), server.close()])
