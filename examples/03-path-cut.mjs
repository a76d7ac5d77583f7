// 03-path-cut.mjs: virtual time; the path in use is cut, the transfer goes on; same hash on every machine
import { World } from 'quicbraid/sim'
const { world, client, server, links, paths, tls } = World.pair([{ delayMs: 10, rateBitsPerSec: 20e6 }, { delayMs: 20, rateBitsPerSec: 20e6 }], { seed: 7 })
world.at(500, () => links[0].cut())
await world.run(async () => {
  const far = await server.bind({ server: { ...tls, alpn: 'sink' } })
  const connection = await (await client.bind()).connect(far.local[0], { alpn: 'sink', ca: tls.ca, serverName: 'server', paths })
  const stream = await connection.openUnidirectional()
  const incoming = (await far.incoming().next()).value
  const reading = incoming.incomingUnidirectional().next().then(({ value }) => value.bytes())
  for (let left = 4_000_000; left > 0; await stream.ready()) left -= stream.write(new Uint8Array(Math.min(65536, left)))
  stream.end()
  console.log('received', (await reading).length, 'stall', incoming.statistics().maxStallMs <= 300 ? 'within' : 'over', '300 ms')
})
console.log(world.traceHash())
