/**
 * A process with both ends of a tunnel. Of `bridges` TCP connections the target reads `readBytes` each and then sleeps, while somebody writes on.
 * Tells on standard output what the process holds before and after, as JSON; run with `--expose-gc`. Arguments: folder of the package, bridges,
 * readBytes, bytes to write.
 */
import { once } from 'node:events'
import { connect, createServer } from 'node:net'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'

const [folder = '', bridges = '1', readBytes = '0', writeBytes = '0'] = process.argv.slice(2)
const { Endpoint, createDevCertificate } = await import(pathToFileURL(join(folder, 'index.mjs')).href)
const { TUNNEL_ALPN, TUNNEL_LIMITS, TunnelManager } = await import(pathToFileURL(join(folder, 'tunnel.mjs')).href)

const QUIET_MS = 500
const PIECE = Buffer.alloc(65_536, 7)

let quota = Infinity
let received = 0
const target = createServer((socket) => {
  let read = 0
  socket.on('data', (piece) => {
    received += piece.length
    read += piece.length
    if (read >= quota) socket.pause()
  }).on('error', () => {})
  if (quota === 0) socket.pause()
  socket.on('end', () => socket.end())
}).listen(0, '127.0.0.1')
await once(target, 'listening')

const { cert, key } = createDevCertificate({ kind: 'ed25519' })
const server = { cert, key, alpn: TUNNEL_ALPN, clientAuth: 'require', ca: cert, limits: TUNNEL_LIMITS }
const far = new TunnelManager({ endpoint: await Endpoint.bind({ local: '127.0.0.1:0', server }) })
far.listen(({ peer }) => (peer ? `127.0.0.1:${target.address().port}` : undefined))
const near = new TunnelManager({ endpoint: await Endpoint.bind() })
const tunnel = await near.open({ remote: far.endpoint.local[0], port: 7, connection: { ca: cert, cert, key } })
await tunnel.opened

// What a process needs once, it needs once: code, pools, buffers of the kernel's.
await Promise.all(Array.from({ length: Number(bridges) }, () => write(64 * 2 ** 20 / Number(bridges))))
const before = await held()
const since = received
quota = Number(readBytes)
const stalled = await Promise.all(Array.from({ length: Number(bridges) }, () => write(Number(writeBytes))))
const after = await held()
const taken = stalled.map(({ bytesWritten, writableLength }) => bytesWritten - writableLength)
process.stdout.write(`${JSON.stringify({ before, after, taken, read: received - since })}\n`)
for (const socket of stalled) socket.destroy()
await Promise.all([near.shutdown({ graceMs: 0 }), far.shutdown({ graceMs: 0 })])
await Promise.all([near.endpoint.close({ drainMs: 0 }), far.endpoint.close({ drainMs: 0 })])
target.close()

/** Writes until all is written and the end has come back, or nothing has moved for a while. */
async function write(bytes) {
  const socket = connect(Number(tunnel.local.split(':')[1]), '127.0.0.1')
  socket.on('error', () => {}).resume()
  void (async () => {
    for (let sent = 0; sent < bytes; sent += PIECE.length) if (!socket.write(PIECE)) await once(socket, 'drain')
    socket.end()
  })()
  for (let last = -1; !socket.readableEnded && last !== moved(socket);) {
    last = moved(socket)
    await new Promise((resolve) => setTimeout(resolve, QUIET_MS))
  }
  return socket
}

function moved(socket) {
  return socket.bytesWritten - socket.writableLength + received
}

async function held() {
  for (let round = 0; round < 5; round++) {
    globalThis.gc()
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
  const { rss, heapUsed, external } = process.memoryUsage()
  return { rss, counted: heapUsed + external + near.endpoint.statistics().poolBytesUsed + far.endpoint.statistics().poolBytesUsed }
}
