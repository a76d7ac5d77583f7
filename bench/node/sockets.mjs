// The cases over stream sockets, of node:net and node:tls alike.

import { once } from 'node:events'
import { DelayMeter, FIRST_BYTE, REQUEST, countDuplex, repeat, uploadDuplex } from './common.mjs'
import { IdleMeter, openIdle } from './memory.mjs'

/** @param create a server that calls back with each socket */
export async function socketServer({ case: kind }, create) {
  const { serve, report } = SERVERS[kind]()
  const server = create((socket) => {
    // How it ends is the client's to report.
    socket.on('error', () => {})
    serve(socket)
  })
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve))
  return { address: `127.0.0.1:${server.address().port}`, report }
}

/** @param open one connected socket */
export async function socketClient({ case: kind, seconds, inFlight }, open) {
  if (kind === 'handshakes') return repeat({ seconds, inFlight }, async () => greeted(await open()))
  if (kind === 'idle') return openIdle(async () => idle(await open()))
  const socket = await open()
  const report = kind === 'streams' ? await echoes(socket, seconds, inFlight) : await uploadDuplex(socket, seconds)
  socket.destroy()
  return report
}

const SERVERS = {
  bulk: () => ({ serve: countDuplex }),
  delay() {
    const meter = new DelayMeter()
    return { serve: (socket) => countDuplex(socket, meter), report: () => meter.report() }
  },
  handshakes: () => ({
    serve(socket) {
      socket.end(FIRST_BYTE)
      socket.resume()
    },
  }),
  streams: () => ({ serve: (socket) => socket.pipe(socket) }),
  idle() {
    const meter = new IdleMeter()
    const serve = (socket) => {
      const end = () => socket.destroy()
      socket.on('close', () => meter.remove(end))
      socket.resume()
      meter.add(end)
    }
    return { serve, report: () => meter.report() }
  },
}

/** To the server's first byte, then closed. */
async function greeted(socket) {
  await once(socket, 'data')
  socket.destroy()
}

function idle(socket) {
  socket.on('error', () => {})
  socket.resume()
  socket.on('end', () => socket.destroy())
  return { ended: new Promise((resolve) => socket.once('close', resolve)) }
}

/** Requests and answers without streams: in order on one connection. A floor, since nothing tells them apart but their length. */
async function echoes(socket, seconds, inFlight) {
  const waiting = []
  let asked = 0
  let got = 0
  socket.on('data', (chunk) => {
    got += chunk.length
    while (waiting.length > 0 && waiting[0].until <= got) waiting.shift().resolve()
  })
  return repeat({ seconds, inFlight }, () => {
    asked += REQUEST.length
    const until = asked
    socket.write(REQUEST)
    return new Promise((resolve) => waiting.push({ until, resolve }))
  })
}
