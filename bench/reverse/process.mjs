// One end of a reverse connection, a process: who dials serves, who listens asks. Ours, and node:http2 with its roles turned.
//
// The public end tells its parent what the private end must know, then, once that has dialled, that it is joined; each `{ seconds, inFlight }`
// from the parent is answered with `{ operations, seconds }`.

import { createServer, connect as connectTls } from 'node:tls'
import { once } from 'node:events'
import * as http2 from 'node:http2'
import { collect } from '../node/common.mjs'

const [, , role, parameter] = process.argv
const LOOPBACK = '127.0.0.1'
const REQUEST = Buffer.alloc(1024, 'r')
/** One suite for both: the QUIC side takes the same where the processor has AES. */
const TLS = { minVersion: 'TLSv1.3', ciphers: 'TLS_AES_128_GCM_SHA256' }

const ROLES = { 'ours-public': oursPublic, 'ours-private': oursPrivate, 'http2-public': http2Public, 'http2-private': http2Private }

async function oursPublic() {
  const { createDevCertificate } = await import('../../dist/index.mjs')
  const { reverseListen } = await import('../../dist/reverse.mjs')
  const [front, service] = [createDevCertificate(), createDevCertificate({ names: ['service'] })]
  const listener = await reverseListen({ local: `${LOOPBACK}:0`, cert: front.cert, key: front.key, pins: [service.pin] })
  process.send({ to: listener.local[0], identity: { cert: service.cert, key: service.key }, pin: front.pin })
  const pool = listener.pool()
  const whole = async (stream) => {
    const taken = stream.write(REQUEST)
    if (taken !== REQUEST.length) throw new Error(`${taken} bytes of a request were taken`)
    stream.end()
    const answer = await stream.bytes()
    check(answer)
  }
  await whole(await pool.request('service', { waitForMs: 10_000 }))
  serveParent(async () => whole(await pool.request('service')))
}

async function oursPrivate() {
  const { reverseConnect } = await import('../../dist/reverse.mjs')
  const { to, identity, pin } = JSON.parse(parameter)
  reverseConnect({ to, identity, service: 'service', connection: { pins: [pin] } }, async (stream) => {
    stream.write(await stream.bytes())
    stream.end()
  })
  process.send('dialling')
}

async function http2Public() {
  const { createDevCertificate } = await import('../../dist/index.mjs')
  const { cert, key } = createDevCertificate()
  const server = createServer({ ...TLS, cert, key, ALPNProtocols: ['h2'] })
  server.listen(0, LOOPBACK)
  await once(server, 'listening')
  process.send({ port: server.address().port, ca: cert })
  const [socket] = await once(server, 'secureConnection')
  socket.setNoDelay(true)
  const session = http2.connect('https://service', { createConnection: () => socket })
  const ask = async () => {
    const stream = session.request({ ':method': 'POST', ':path': '/' })
    stream.end(REQUEST)
    check(await collect(stream))
  }
  await ask()
  serveParent(ask)
}

async function http2Private() {
  if (http2.performServerHandshake === undefined) throw new Error('this Node has no http2.performServerHandshake')
  const { port, ca } = JSON.parse(parameter)
  const socket = connectTls({ ...TLS, port, host: LOOPBACK, ca, servername: 'localhost', ALPNProtocols: ['h2'], checkServerIdentity: () => undefined })
  await once(socket, 'secureConnect')
  socket.setNoDelay(true)
  const session = http2.performServerHandshake(socket, { settings: { maxConcurrentStreams: 256 } })
  session.on('stream', (stream) => {
    stream.on('error', () => {})
    collect(stream).then((request) => {
      stream.respond({ ':status': 200 })
      stream.end(request)
    }, () => {})
  })
  process.send('dialling')
}

/** Joined: measures when asked to. */
function serveParent(ask) {
  process.on('message', async ({ seconds, inFlight }) => {
    let operations = 0
    const since = performance.now()
    const lane = async () => {
      while (performance.now() - since < seconds * 1000) {
        await ask()
        operations += 1
      }
    }
    await Promise.all(Array.from({ length: inFlight }, lane))
    process.send({ operations, seconds: (performance.now() - since) / 1000 })
  })
  process.send('joined')
}

function check(answer) {
  if (answer.length !== REQUEST.length || answer[0] !== REQUEST[0]) throw new Error(`an answer of ${answer.length} bytes`)
}

await ROLES[role]()
