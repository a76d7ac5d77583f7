// One case of the simulator's benchmark in a process of its own: `run.mjs CASE SCALE` prints {perSecond, perCpuSecond}.

import { World } from '../../dist/sim.mjs'

const [name, scale] = [process.argv[2], Number(process.argv[3])]

/** What runs before, so that the code under measurement is compiled: a share of the case. */
const WARM_UP = 0.1

const CASES = {
  bulk: (scale) => bulk([{ delayMs: 5, rateBitsPerSec: 1e9 }], Math.round(200e6 * scale)),
  'bulk-two-paths': (scale) => bulk([{ delayMs: 5, rateBitsPerSec: 100e6 }, { delayMs: 10, rateBitsPerSec: 100e6 }], Math.round(100e6 * scale)),
  'handshakes-two-paths': (scale) => handshakes(Math.round(1000 * scale)),
}

/** Runs `main` with a connection over all links; how many datagrams arrived. */
async function connected(links, main, seed = 1) {
  const pair = World.pair(links, { seed })
  const { world, client, server, paths, tls } = pair
  await world.run(async () => {
    const far = await server.bind({ server: { ...tls, alpn: 'x' } })
    const connection = await (await client.bind()).connect(far.local[0], { alpn: 'x', ca: tls.ca, serverName: 'server', paths })
    await connection.paths.ready()
    await main(connection, (await far.incoming().next()).value)
  })
  return pair.links.reduce((sum, link) => sum + link.statistics().delivered, 0)
}

function bulk(links, bytes) {
  return connected(links, async (near, far) => {
    const stream = await near.openUnidirectional()
    const reading = count(far.incomingUnidirectional())
    const chunk = new Uint8Array(65_536)
    for (let left = bytes; left > 0; await stream.ready()) left -= stream.write(left < chunk.length ? chunk.subarray(0, left) : chunk)
    stream.end()
    if ((await reading) !== bytes) throw new Error('bytes are missing')
  })
}

async function count(streams) {
  let bytes = 0
  const { value } = await streams.next()
  for await (const batch of value) for (const chunk of batch) bytes += chunk.length
  return bytes
}

async function handshakes(total) {
  for (let seed = 0; seed < total; seed++) await connected([{ delayMs: 10 }, { delayMs: 20 }], async () => {}, seed)
  return total
}

await CASES[name](scale * WARM_UP)
const [started, used] = [performance.now(), process.cpuUsage()]
const done = await CASES[name](scale)
const { user, system } = process.cpuUsage(used)
console.log(JSON.stringify({ perSecond: done / ((performance.now() - started) / 1000), perCpuSecond: done / ((user + system) / 1e6) }))
