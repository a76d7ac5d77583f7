// 11-path-policy.mjs: a policy of your own keeps a spare path; it comes back when it is lost; prints what happens
import { Endpoint, createDevCertificate } from 'quicbraid'
const { cert, key } = createDevCertificate()
const server = await Endpoint.bind({ local: '127.0.0.1:0', server: { cert, key, alpn: 'p' } })
const client = await Endpoint.bind()
/** @type {import('quicbraid').PathPolicy} */
const spare = {
  name: 'spare', // asked when a path or an interface changes, and every 5 s; what is there already is not done again
  decide: ({ remotes }) => [{ do: 'open', spec: { local: '127.0.0.2', remote: remotes[0], status: 'backup' } }],
}
const connection = await client.connect(server.local[0], { alpn: 'p', ca: cert, pathPolicy: spare })
connection.paths.events$.subscribe(({ path, type }) => { if (type === 'validated' || type === 'abandoned') console.log(`path ${path} ${type}`) })
const [, lost] = await connection.paths.ready({ count: 2 })
await lost.abandon()
const [first, second] = await connection.paths.ready({ count: 2 })
console.log(`now ${first.local.split(':')[0]} ${first.facts.status} and ${second.local.split(':')[0]} ${second.facts.status}`)
await Promise.all([client.close(), server.close()])
