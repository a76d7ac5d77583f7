// The multipath cases in real time over our package, as its users have it.
//
//   ours.mjs server --listen ADDR --cert FILE --key FILE [--congestion NAME]
//   ours.mjs client --ca FILE --path LOCAL,REMOTE [--path …] --bytes N [--handshake MODE] [the same]
//
// The server prints {"listening":ADDR} and sends on the first stream as many bytes as eight bytes ask for. The client prints
// {"started":true} with its request and ends with {"handshakeMs","seconds","stallMs","bytes"} or {"lost":WORDS}.

import { readFileSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { Endpoint } from '../../dist/index.mjs'

const ALPN = 'qb-bench'
const SERVER_NAME = 'localhost'
const CHUNK = new Uint8Array(65_536).fill(7)

const text = { type: 'string' }
const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { listen: text, cert: text, key: text, ca: text, path: { type: 'string', multiple: true, default: [] }, bytes: text, congestion: text, handshake: text },
})
const transport = values.congestion === undefined ? {} : { congestion: values.congestion }
const pem = (name) => readFileSync(values[name], 'utf8')
const tell = (line) => process.stdout.write(`${JSON.stringify(line)}\n`)

async function serve() {
  const endpoint = await Endpoint.bind({ local: values.listen, server: { cert: pem('cert'), key: pem('key'), alpn: ALPN, ...transport } })
  tell({ listening: endpoint.local[0] })
  for await (const connection of endpoint.incoming()) {
    for await (const stream of connection.incomingBidirectional()) await send(stream, Number(Buffer.from(await stream.bytes()).readBigUInt64BE()))
  }
}

async function send(stream, bytes) {
  for (let left = bytes; left > 0; await stream.ready()) left -= stream.write(left < CHUNK.length ? CHUNK.subarray(0, left) : CHUNK)
  stream.end()
}

async function connect() {
  const paths = values.path.map((path) => {
    const [local, remote] = path.split(',')
    return { local, remote }
  })
  const endpoint = await Endpoint.bind()
  const handshake = values.handshake === undefined ? {} : { handshake: values.handshake }
  const connection = await endpoint.connect(paths[0].remote, {
    alpn: ALPN, ca: pem('ca'), serverName: SERVER_NAME, paths, ...transport, ...handshake,
  })
  const { ms } = await connection.opened
  const bytes = Number(values.bytes)
  const transfer = bytes > 0 ? await fetch(connection, bytes) : { seconds: 0, stallMs: 0 }
  tell({ handshakeMs: ms, ...transfer, bytes })
  await connection.close()
}

/** Seconds from the request to the last byte, and the longest time without a new one. */
async function fetch(connection, bytes) {
  await connection.paths.ready()
  const stream = await connection.openBidirectional()
  const request = Buffer.alloc(8)
  request.writeBigUInt64BE(BigInt(bytes))
  const started = performance.now()
  tell({ started: true })
  stream.write(new Uint8Array(request))
  stream.end()
  let [count, last, stallMs] = [0, started, 0]
  for await (const batch of stream) {
    const now = performance.now()
    stallMs = Math.max(stallMs, now - last)
    last = now
    for (const chunk of batch) count += chunk.length
  }
  if (count !== bytes) throw new Error(`${count} bytes of ${bytes}`)
  return { seconds: (last - started) / 1000, stallMs }
}

try {
  await (positionals[0] === 'server' ? serve() : connect())
} catch (error) {
  tell({ lost: error.message })
}
process.exit()
