/**
 * A client and a server in this thread that never rest, and an end after so many ms. Arguments: the package, how it ends (`exit`, `throw`,
 * `reject`, `orderly`, a signal), when, and what runs until then (`transfers`, `handshakes`, `simulator`, `carriers`). In a worker the
 * package and the load may come as `workerData`. Started by the tests beside, or as the whole program of another Node.
 */
import { parentPort, workerData } from 'node:worker_threads'

const path = workerData?.package ?? process.argv[2]
const { Endpoint, createDevCertificate } = await import(path)
const [how, afterMs] = [process.argv[3], Number(process.argv[4])]
if (how !== undefined) setTimeout(end, afterMs)
const SERVER = '10.0.0.2:4433'
/** However slow the machine is. */
const limits = { idleTimeoutMs: 0, handshakeTimeoutMs: 600_000 }
const CHUNK = Buffer.alloc(65_536)
// An orderly end may come before there is anything to end.
const state = { open: new Set(), over: false }

const LOADS = { transfers, handshakes, simulator, carriers }
try {
  await LOADS[process.argv[5] ?? workerData?.load ?? 'transfers']()
} catch (error) {
  if (!state.over) throw error
}

async function transfers() {
  const { server, options } = await listening()
  const client = kept(await Endpoint.bind())
  await circle(await client.connect(server.local[0], options))
  running()
}

/** Connections that come and go: handshakes held by a function, refused ones, early data, ends of every kind. */
async function handshakes() {
  const { server, options } = await listening({ earlyData: true })
  const client = kept(await Endpoint.bind())
  for (let turn = 0; !state.over; turn++) {
    const verify = turn % 4 === 0 ? () => new Promise((resolve) => setImmediate(resolve)) : turn % 7 === 0 ? () => Promise.reject(new Error('on purpose')) : 'default'
    const all = Array.from({ length: 8 }, () => client.connect(server.local[0], { ...options, earlyData: true, verify }).catch(() => null))
    for (const [index, connection] of (await Promise.all(all)).entries()) {
      if (index % 3 === 0) connection?.destroy()
      else void connection?.close({ drainMs: 10 })
    }
    if (turn === 0) running()
  }
}

/** Worlds that come and go with a transfer in each. */
async function simulator() {
  const { World } = await import(new URL('sim.mjs', path.startsWith('file:') ? path : `file://${path}`))
  for (let seed = 1; !state.over; seed++) {
    const { world, client, server, paths, tls } = World.pair([{ delayMs: 5, loss: 0.02 }, { delayMs: 20 }], { seed })
    await world.run(async () => {
      const far = await server.bind({ server: { ...tls, alpn: 'x' } })
      const near = await client.bind()
      const connection = await near.connect(far.local[0], { alpn: 'x', ca: tls.ca, serverName: 'server', paths })
      const stream = await connection.openUnidirectional()
      const incoming = (await far.incoming().next()).value
      const reading = incoming.incomingUnidirectional().next().then(({ value }) => value.bytes())
      for (let left = 500_000; left > 0; await stream.ready()) left -= stream.write(new Uint8Array(Math.min(65_536, left)))
      stream.end()
      if (seed === 1) running()
      if ((await reading).length !== 500_000) throw new Error('bytes are lost')
    })
    await world.close()
    await new Promise((resolve) => setImmediate(resolve))
  }
}

/** Two endpoints on this thread, joined by a function. */
async function carriers() {
  const own = createDevCertificate()
  const server = kept(Endpoint.carrier({ maxDatagramSizeBytes: 1452, local: SERVER, server: { cert: own.cert, key: own.key, alpn: 'x', limits }, send: (burst) => client.receive(datagrams(burst)) }))
  const client = kept(Endpoint.carrier({ maxDatagramSizeBytes: 1452, local: '10.0.0.1:7', send: (burst) => server.receive(datagrams(burst)) }))
  void echo(server)
  await circle(await client.connect(SERVER, { alpn: 'x', ca: own.cert, serverName: 'localhost', limits }))
  running()
}

function datagrams({ bytes, segmentBytes, segments, local, remote, ecn }) {
  return Array.from({ length: segments }, (_, index) => ({ bytes: bytes.subarray(index * segmentBytes, (index + 1) * segmentBytes), local: remote, remote: local, ecn }))
}

async function listening(more = {}) {
  const { cert, key } = createDevCertificate()
  const server = kept(await Endpoint.bind({ local: '127.0.0.1:0', server: { cert, key, alpn: 'x', limits, ...more } }))
  void echo(server)
  return { server, options: { alpn: 'x', ca: cert, limits } }
}

/** Bytes in circles, for ever. */
async function circle(connection) {
  const stream = (await connection.openBidirectional()).toDuplex()
  stream.on('error', () => {})
  stream.on('data', () => {})
  const write = () => {
    while (stream.write(CHUNK));
    stream.once('drain', write)
  }
  write()
}

async function echo(server) {
  for await (const incoming of server.incoming()) void echoOf(incoming)
}

async function echoOf(connection) {
  for await (const one of connection.incomingBidirectional()) {
    const duplex = one.toDuplex()
    duplex.on('error', () => {})
    duplex.pipe(duplex)
  }
}

function kept(endpoint) {
  if (state.over) void endpoint.close()
  state.open.add(endpoint)
  return endpoint
}

function running() {
  // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a port of a worker takes none
  parentPort?.postMessage('running')
}

function end() {
  if (how === 'exit') process.exit(7)
  if (how === 'throw') throw new Error('thrown on purpose')
  if (how === 'reject') return void Promise.reject(new Error('rejected on purpose'))
  if (how === 'orderly') {
    state.over = true
    return void Promise.all([...state.open].map((endpoint) => endpoint.close()))
  }
  process.kill(process.pid, how)
}
