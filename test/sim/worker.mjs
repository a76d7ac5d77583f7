// A world in a worker thread, over the built package: posts the hash of a transfer with this seed.
import { parentPort, workerData } from 'node:worker_threads'

const { World } = await import(workerData.sim)
const { world, client, server, paths, tls } = World.pair([{ delayMs: 10, loss: 0.03 }, { delayMs: 15, rateBitsPerSec: 20e6 }], { seed: workerData.seed })
await world.run(async () => {
  const far = await server.bind({ server: { ...tls, alpn: 'x' } })
  const connection = await (await client.bind()).connect(far.local[0], { alpn: 'x', ca: tls.ca, serverName: 'server', paths, scheduler: 'round-robin' })
  const incoming = (await far.incoming().next()).value
  const stream = await connection.openUnidirectional()
  const reading = incoming.incomingUnidirectional().next().then(({ value }) => value.bytes())
  stream.write(new Uint8Array(100_000))
  stream.end()
  await reading
})
parentPort.postMessage(world.traceHash(), [])
