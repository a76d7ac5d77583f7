// 02-scheduler.mjs: a scheduler of your own, the same object in the simulator and on real sockets
import { Endpoint, createDevCertificate } from 'quicbraid'
import { World } from 'quicbraid/sim'
/** @type {import('quicbraid').Scheduler} */
const cheapFirst = {
  name: 'cheap-first', // paths of weight 1; the dear ones only while the queue is longer than 100 ms
  plan({ paths, queuedBytes }) {
    const alive = paths.filter((path) => !path.suspect), cheap = alive.filter((path) => path.weight <= 1)
    const bitsPerSec = cheap.reduce((sum, path) => sum + path.deliveryRateBitsPerSec, 1)
    const busy = cheap.length === 0 || (8000 * queuedBytes) / bitsPerSec > 100
    const order = (busy ? alive : cheap).sort((a, b) => a.smoothedRttMs - b.smoothedRttMs).map((path) => path.id)
    return { order, reinjectAfterMs: 300, reason: busy ? 'queue over 100 ms: dear paths too' : 'cheap paths suffice' }
  },
}
async function send(connection, bytes) {
  const carried = new Map([...connection.paths].map((path) => [path.id, 0]))
  const trace = connection.bursts.trace$.subscribe((record) => { if (record.kind === 'burst') carried.set(record.path, carried.get(record.path) + record.bytes) })
  const stream = await connection.openUnidirectional()
  for (let left = bytes; left > 0; await stream.ready()) left -= stream.write(new Uint8Array(Math.min(65536, left)))
  stream.end()
  await stream.finished
  trace.unsubscribe()
  console.log(`${connection.endpoint.driver}, ${bytes} bytes: ${[...carried].map(([id, sum]) => `path ${id} ${sum > bytes / 4 ? 'used' : 'spared'}`).join(', ')}`)
}
async function receive(endpoint) {
  const { value: connection } = await endpoint.incoming().next()
  void (async () => { for await (const stream of connection.incomingUnidirectional()) stream.bytes().catch(() => {}) })()
}
const { world, client, server, paths: [cheap, dear], tls } = World.pair([{ delayMs: 15, rateBitsPerSec: 10e6 }, { delayMs: 5, rateBitsPerSec: 10e6 }])
await world.run(async () => {
  const far = await server.bind({ server: { ...tls, alpn: 'x' } })
  const connection = await (await client.bind()).connect(far.local[0], { alpn: 'x', ca: tls.ca, serverName: 'server', paths: [cheap, { ...dear, weight: 9 }], scheduler: cheapFirst })
  await receive(far)
  await connection.paths.ready()
  await send(connection, 20_000) // the dear path is three times as quick, and rests
  await send(connection, 2_000_000)
})
const { cert, key } = createDevCertificate()
const far = await Endpoint.bind({ local: '127.0.0.1:0', server: { cert, key, alpn: 'x' } }), near = await Endpoint.bind()
const connection = await near.connect(far.local[0], { alpn: 'x', ca: cert, paths: [{ local: '127.0.0.1' }, { local: '127.0.0.2', weight: 9 }], scheduler: cheapFirst })
await receive(far)
await connection.paths.ready()
await send(connection, 20_000)
await Promise.all([near.close(), far.close()])
