// Bulk and small streams over @chainsafe/libp2p-quic: its transport, connections and stream class, with its defaults, without the
// rest of libp2p (no protocol negotiation, which costs a round trip a stream).

import { generateKeyPair } from '@libp2p/crypto/keys'
import { defaultLogger } from '@libp2p/logger'
import { quic } from '@chainsafe/libp2p-quic'
import { multiaddr } from '@multiformats/multiaddr'
import { REQUEST, check, encoded, main, Meter, repeat } from './common.mjs'

const HELD = new Set()
const CHUNK = new Uint8Array(65_536).fill(7)

// It asks for Node 22, and this is all of Node 22 that it needs.
Promise.withResolvers ??= () => {
  const made = {}
  made.promise = new Promise((resolve, reject) => Object.assign(made, { resolve, reject }))
  return made
}

const SERVE = {
  bulk(stream) {
    let count = 0
    stream.addEventListener('message', ({ data }) => { count += data.byteLength })
    stream.addEventListener('remoteCloseWrite', () => answer(stream, encoded(count)))
  },
  streams(stream) {
    collect(stream).then((bytes) => answer(stream, bytes), () => {})
  },
}

await main({
  async server({ case: kind }) {
    const listener = held((await transport()).createListener({
      upgrader: { upgradeInbound: async (socket, { muxerFactory }) => {
        held(muxerFactory.createStreamMuxer(socket)).addEventListener('stream', ({ detail: stream }) => SERVE[kind](stream))
      } },
    }))
    await listener.listen(multiaddr('/ip4/127.0.0.1/udp/0/quic-v1'))
    const part = (name) => listener.getAddrs()[0].getComponents().find((it) => it.name === name).value
    return { address: `${part('ip4')}:${part('udp')}` }
  },

  async client({ case: kind, host, port, seconds, inFlight }) {
    const muxer = held(await (await transport()).dial(multiaddr(`/ip4/${host}/udp/${port}/quic-v1`), {
      upgrader: { upgradeOutbound: async (socket, { muxerFactory }) => muxerFactory.createStreamMuxer(held(socket)) },
    }))
    return kind === 'bulk' ? upload(await muxer.createStream(), seconds) : repeat({ seconds, inFlight }, async () => request(await muxer.createStream()))
  },
})

async function transport() {
  return held(quic()({ privateKey: await generateKeyPair('Ed25519'), logger: defaultLogger() }))
}

/** Its native parts end with their objects, when the collector finds nobody who holds them. */
function held(part) {
  HELD.add(part)
  return part
}

async function upload(stream, seconds) {
  const meter = new Meter()
  const answered = collect(stream)
  // Not `onDrain()`, whose promise stays resolved after the first time.
  while (meter.seconds < seconds) if (!stream.send(CHUNK)) await new Promise((resolve) => stream.addEventListener('drain', resolve, { once: true }))
  await stream.close()
  return meter.report({ bytes: Number((await answered).readBigUInt64BE()) })
}

async function request(stream) {
  const answered = collect(stream)
  stream.send(REQUEST)
  await stream.close()
  check(await answered)
}

function answer(stream, bytes) {
  stream.send(bytes)
  // How a stream ends is the client's to report.
  stream.close().catch(() => {})
}

/** Everything up to the end of what the peer sends. */
function collect(stream) {
  return new Promise((resolve, reject) => {
    const chunks = []
    stream.addEventListener('message', ({ data }) => chunks.push(data.subarray()))
    stream.addEventListener('remoteCloseWrite', () => resolve(Buffer.concat(chunks)))
    stream.addEventListener('close', ({ error }) => reject(error ?? new Error('the stream ended early')))
  })
}
