// The cases over our own package, through Node streams (`duplex`), Web streams (`web`) or its own verbs (`direct`).

import { Endpoint } from '../../dist/index.mjs'
import {
  ALPN, REQUEST, SERVER_NAME, answerWeb, check, collect, countDuplex, countWeb, main, repeat, requestWeb, uploadDuplex, uploadWeb,
} from './common.mjs'

const LIMITS = { bidirectionalStreams: 256 }

const UPLOAD = { duplex: (stream, seconds) => uploadDuplex(stream.toDuplex(), seconds), web: uploadWeb }
const COUNT = { duplex: (stream) => countDuplex(stream.toDuplex()), web: countWeb }

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

await main({
  async server({ case: kind, api, cert, key }) {
    const endpoint = await Endpoint.bind({ local: '127.0.0.1:0', server: { cert, key, alpn: ALPN, ciphers: ['aes-128-gcm'], limits: LIMITS } })
    void acceptAll(endpoint, kind === 'bulk' ? COUNT[api] : ANSWER[api])
    return endpoint.local[0]
  },

  async client({ case: kind, api, ca, host, port, seconds, inFlight }) {
    const endpoint = await Endpoint.bind()
    const connection = await endpoint.connect(`${host}:${port}`, { alpn: ALPN, ca, serverName: SERVER_NAME, ciphers: ['aes-128-gcm'], limits: LIMITS })
    const report = kind === 'bulk'
      ? await UPLOAD[api](await connection.openBidirectional(), seconds)
      : await repeat({ seconds, inFlight }, async () => REQUESTS[api](await connection.openBidirectional()))
    await connection.close()
    return report
  },
})

async function acceptAll(endpoint, serve) {
  for await (const connection of endpoint.incoming()) void acceptStreams(connection, serve)
}

async function acceptStreams(connection, serve) {
  try {
    // How a connection or a stream ends is the client's to report.
    for await (const stream of connection.incomingBidirectional()) Promise.resolve(serve(stream)).catch(() => {})
  } catch {
    // The connection is over.
  }
}
