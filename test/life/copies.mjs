/** The package imported, required, loaded once more as another module, and another version of it with a native module of its own: each serves the next one. Arguments: `dist/` of both. */
import { createRequire } from 'node:module'
import { join } from 'node:path'

const [, , dist, older] = process.argv
const copies = { esm: await import(join(dist, 'index.mjs')), cjs: createRequire(import.meta.url)(join(dist, 'index.cjs')), copy: await import(`${join(dist, 'index.mjs')}?again`), older: await import(join(older, 'index.mjs')) }
const names = Object.keys(copies)
const said = []
for (const [index, name] of names.entries()) {
  const next = copies[names[(index + 1) % names.length]]
  const { Endpoint, createDevCertificate, isQuicbraidError } = copies[name]
  const { cert, key } = createDevCertificate()
  const server = await Endpoint.bind({ local: '127.0.0.1:0', server: { cert, key, alpn: 'x' } })
  const client = await next.Endpoint.bind()
  const incoming = server.incoming()
  const [near, { value: far }] = await Promise.all([client.connect(server.local[0], { alpn: 'x', ca: cert }), incoming.next()])
  const stream = await near.openUnidirectional()
  stream.write(Buffer.from(name))
  stream.end()
  const { value: read } = await far.incomingUnidirectional().next()
  said.push(Buffer.from(await read.bytes()).toString())
  await near.close()
  // An error of one copy is known by the other.
  const error = await near.openBidirectional().catch((caught) => caught)
  if (!isQuicbraidError(error)) throw new Error(`${name} does not know an error of another copy`)
  await Promise.all([client.close(), server.close()])
}
process.stdout.write(`${said.join(' ')}\n`)
