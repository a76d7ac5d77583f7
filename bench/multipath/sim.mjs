// One case of the multipath table in virtual time: `sim.mjs CASE SEEDS` prints one array of values, one a seed.

import { World } from '../../dist/sim.mjs'

/** Of a download; one that a path leaves after two seconds has more left by then than the other can hide. */
const BYTES = process.argv[2] === 'path-silent' ? 25e6 : 10e6
/** Queues hold 100 ms of the rate, the simulator's own choice. */
const path = (mbit, delayMs, more = {}) => ({ rateBitsPerSec: mbit * 1e6, delayMs, ...more })
const LOSSY = path(20, 20, { loss: 0.01 })

const CASES = {
  'equal-0ms': (seed) => download([path(20, 0), path(20, 0)], seed),
  'equal-20ms': (seed) => download([path(20, 20), path(20, 20)], seed),
  'hetero-fast-first': (seed) => download([path(20, 10), path(10, 100)], seed),
  'hetero-slow-first': (seed) => download([path(10, 100), path(20, 10)], seed),
  'loss-1pct-cubic': (seed) => download([LOSSY, LOSSY], seed),
  'loss-1pct-cubic-single': (seed) => download([LOSSY], seed),
  'loss-1pct-bbr': (seed) => download([LOSSY, LOSSY], seed, { congestion: 'bbr3' }),
  'path-silent': (seed) => silent([path(20, 10), path(20, 10)], seed),
  'first-path-dead-single': (seed) => handshake([path(20, 10), path(20, 20)], seed, { handshake: 'single' }, 0),
  'first-path-dead-stagger': (seed) => handshake([path(20, 10), path(20, 20)], seed, { handshake: 'stagger' }, 0),
  'first-path-dead-race': (seed) => handshake([path(20, 10), path(20, 20)], seed, { handshake: 'race' }, 0),
  'first-path-dead-shared': (seed) => handshake([path(20, 10), path(20, 20)], seed, { handshake: 'shared' }, 0),
  'clean-handshake-single': (seed) => handshake([path(20, 10), path(20, 20)], seed, { handshake: 'single' }),
  'clean-handshake-stagger': (seed) => handshake([path(20, 10), path(20, 20)], seed, { handshake: 'stagger' }),
  'clean-handshake-race': (seed) => handshake([path(20, 10), path(20, 20)], seed, { handshake: 'race' }),
  'clean-handshake-shared': (seed) => handshake([path(20, 10), path(20, 20)], seed, { handshake: 'shared' }),
}

/** Both ends of a connection over all links, inside a world that runs until `main` settles. */
async function world(shapes, seed, options, main) {
  const pair = World.pair(shapes, { seed })
  return pair.world.run(async () => {
    const transport = options.congestion === undefined ? {} : { congestion: options.congestion }
    const far = await pair.server.bind({ server: { ...pair.tls, alpn: 'x', ...transport } })
    const dial = async () => (await pair.client.bind()).connect(far.local[0], { alpn: 'x', ca: pair.tls.ca, serverName: 'server', paths: pair.paths, ...options })
    return main({ pair, far, dial })
  })
}

/** Megabits a second from the request to the last byte; the request is sent when all paths are open. */
function download(shapes, seed, options = {}) {
  return world(shapes, seed, options, async ({ pair, far, dial }) => {
    const near = await dial()
    const serving = serve(far)
    await near.paths.ready()
    const started = pair.world.nowMs
    await fetch(near)
    const ms = pair.world.nowMs - started
    await serving
    return (BYTES * 8) / (ms * 1000)
  })
}

/** Milliseconds without a new byte for the application: path 0 falls silent after two seconds. */
function silent(shapes, seed) {
  return world(shapes, seed, {}, async ({ pair, far, dial }) => {
    const near = await dial()
    const serving = serve(far)
    await near.paths.ready()
    pair.world.at(pair.world.nowMs + 2000, () => pair.links[0].cut())
    await fetch(near)
    await serving
    return near.statistics().maxStallMs
  })
}

/** Milliseconds until the handshake is complete; link `dead` carries nothing. */
function handshake(shapes, seed, options, dead) {
  return world(shapes, seed, options, async ({ pair, dial }) => {
    if (dead !== undefined) pair.links[dead].cut()
    const { ms } = await (await dial()).opened
    return ms
  })
}

async function serve(far) {
  const connection = (await far.incoming().next()).value
  const stream = (await connection.incomingBidirectional().next()).value
  const chunk = new Uint8Array(65_536)
  for (let left = BYTES; left > 0; await stream.ready()) left -= stream.write(left < chunk.length ? chunk.subarray(0, left) : chunk)
  stream.end()
}

async function fetch(near) {
  const stream = await near.openBidirectional()
  stream.write(new Uint8Array(1))
  stream.end()
  let bytes = 0
  for await (const batch of stream) for (const chunk of batch) bytes += chunk.length
  if (bytes !== BYTES) throw new Error(`${BYTES - bytes} bytes are missing`)
}

const [name, seeds] = [process.argv[2], Number(process.argv[3])]
const values = []
for (let seed = 1; seed <= seeds; seed++) values.push(await CASES[name](seed))
console.log(JSON.stringify(values))
