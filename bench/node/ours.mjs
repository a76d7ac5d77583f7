// The cases over our own package, through Node streams (`duplex`), Web streams (`web`), its own verbs (`direct`) or memory that
// is lent (`borrowed`).

import { Endpoint } from '../../dist/index.mjs'
import {
  ALPN, DelayMeter, FIRST_BYTE, REQUEST, SERVER_NAME, answerWeb, check, collect, countDuplex, countWeb, encoded, main, repeat, requestWeb, uploadDuplex, uploadWeb,
} from './common.mjs'
import { IdleMeter, openIdle } from './memory.mjs'

const LIMITS = { bidirectionalStreams: 256 }
const COMMON = { alpn: ALPN, ciphers: ['aes-128-gcm'], limits: LIMITS }
/** Remembers nothing: every handshake is a full one. */
const SESSIONS = { get: () => [], set: () => {} }

const UPLOAD = {
  duplex: (stream, seconds) => uploadDuplex(stream.toDuplex(), seconds),
  web: uploadWeb,
  borrowed: (stream, seconds) => uploadDuplex(stream.toDuplex(), seconds),
}

const COUNT = {
  duplex: (stream, meter) => countDuplex(stream.toDuplex(), meter),
  web: countWeb,
  async borrowed(stream) {
    let count = 0
    for await (const { bytes, release } of stream.borrow()) {
      count += bytes.byteLength
      release()
    }
    stream.write(encoded(count))
    stream.end()
  },
}

const REQUESTS = {
  async duplex(stream) {
    const duplex = stream.toDuplex()
    duplex.end(REQUEST)
    check(await collect(duplex))
  },
  web: requestWeb,
  async direct(stream) {
    stream.write(REQUEST)
    stream.end()
    check(await stream.bytes())
  },
}

const ANSWER = {
  async duplex(stream) {
    const duplex = stream.toDuplex()
    duplex.end(await collect(duplex))
  },
  web: answerWeb,
  async direct(stream) {
    stream.write(await stream.bytes())
    stream.end()
  },
}

/** What a server does with each connection, and what it has to report. */
const SERVERS = {
  bulk: (api) => ({ serve: (connection) => acceptStreams(connection, COUNT[api]) }),
  streams: (api) => ({ serve: (connection) => acceptStreams(connection, ANSWER[api]) }),
  delay(api) {
    const meter = new DelayMeter()
    return { serve: (connection) => acceptStreams(connection, (stream) => COUNT[api](stream, meter)), report: () => meter.report() }
  },
  handshakes: () => ({ serve: greet }),
  idle() {
    const meter = new IdleMeter()
    const serve = (connection) => {
      const end = () => connection.close()
      void connection.closed.then(() => meter.remove(end))
      meter.add(end)
    }
    return { serve, report: () => meter.report() }
  },
}

await main({
  async server({ case: kind, api, cert, key }) {
    const endpoint = await Endpoint.bind({ local: '127.0.0.1:0', server: { ...COMMON, cert, key } })
    const { serve, report = () => ({}) } = SERVERS[kind](api)
    void acceptAll(endpoint, serve)
    return { address: endpoint.local[0], report: () => ({ ...report(), crossings: endpoint.statistics().crossings }) }
  },

  async client({ case: kind, api, ca, host, port, seconds, inFlight }) {
    const endpoint = await Endpoint.bind()
    const options = { ...COMMON, ca, serverName: SERVER_NAME, sessions: SESSIONS }
    const connect = () => endpoint.connect(`${host}:${port}`, options)
    if (kind === 'handshakes') return repeat({ seconds, inFlight }, async () => greeted(await connect()))
    if (kind === 'idle') return openIdle(async () => ({ ended: (await connect()).closed }))
    const connection = await connect()
    const report = kind === 'streams'
      ? await repeat({ seconds, inFlight }, async () => REQUESTS[api](await connection.openBidirectional()))
      : await UPLOAD[api](await connection.openBidirectional(), seconds)
    await connection.close()
    return { ...report, crossings: endpoint.statistics().crossings }
  },
})

async function acceptAll(endpoint, serve) {
  for await (const connection of endpoint.incoming()) void serve(connection)
}

async function acceptStreams(connection, serve) {
  try {
    // How a connection or a stream ends is the client's to report.
    for await (const stream of connection.incomingBidirectional()) Promise.resolve(serve(stream)).catch(() => {})
  } catch {
    // The connection is over.
  }
}

async function greet(connection) {
  try {
    const stream = await connection.openUnidirectional()
    stream.write(FIRST_BYTE)
    stream.end()
  } catch {
    // The connection is over; the client reports.
  }
}

/** To the server's first byte, then closed. */
async function greeted(connection) {
  for await (const stream of connection.incomingUnidirectional()) {
    await stream.bytes()
    break
  }
  await connection.close({ drainMs: 0 })
}
