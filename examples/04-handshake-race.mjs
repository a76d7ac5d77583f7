// 04-handshake-race.mjs: the first path is dead before connect; how long until the handshake is complete?
import { World } from 'quicbraid/sim'
for (const mode of /** @type {const} */ (['single', 'stagger', 'race', 'shared'])) {
  const { world, client, server, links, paths, tls } = World.pair([{ delayMs: 10 }, { delayMs: 30 }])
  links[0].cut()
  await world.run(async () => {
    const far = await server.bind({ server: { ...tls, alpn: 'x' } })
    const connection = await (await client.bind()).connect(far.local[0], { alpn: 'x', ca: tls.ca, serverName: 'server', handshake: mode, paths })
    const { ms, winner } = await connection.opened
    console.log(mode, Math.round(ms), 'ms by', winner.local)
  })
}
