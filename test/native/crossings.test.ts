/** How often bytes make JavaScript and the engine call each other (mux R62; streams-over-ring S2, S11). */
import { afterEach, describe, expect, it } from 'vitest'
import type { BidirectionalStream, Connection, Endpoint } from '../../src/index.ts'
import { MODULE_BUILT } from './built.ts'
import { closeAll, nativePair } from './pair.ts'

afterEach(closeAll)

const MEBIBYTE = 1_048_576
const MOST_A_MEBIBYTE = 40

type Read = (stream: BidirectionalStream) => Promise<number>

const STYLES: Record<string, Read> = {
  async batches(stream) {
    let bytes = 0
    for await (const batch of stream) for (const piece of batch) bytes += piece.length
    return bytes
  },
  async borrow(stream) {
    let bytes = 0
    for await (const loan of stream.borrow()) {
      bytes += loan.bytes.length
      loan.release()
    }
    return bytes
  },
  async readable(stream) {
    let bytes = 0
    for await (const piece of stream.readable) bytes += piece.byteLength
    return bytes
  },
  toDuplex: (stream) => new Promise((resolve, reject) => {
    let bytes = 0
    stream.toDuplex().on('data', (piece: Buffer) => { bytes += piece.length }).once('end', () => resolve(bytes)).once('error', reject)
  }),
}

/** What `use` costs an endpoint. */
async function crossingsOf(endpoints: readonly Endpoint[], use: () => Promise<void>): Promise<number[]> {
  const before = endpoints.map((endpoint) => endpoint.statistics().crossings)
  await use()
  return endpoints.map((endpoint, index) => endpoint.statistics().crossings - (before[index] ?? 0))
}

async function opened(near: Connection, far: Connection): Promise<[BidirectionalStream, BidirectionalStream]> {
  const mine = await near.openBidirectional()
  mine.write(Uint8Array.of(0))
  return [mine, (await far.incomingBidirectional().next()).value as BidirectionalStream]
}

describe.skipIf(!MODULE_BUILT)('crossings', () => {
  /** mux R62. */
  it.each(Object.entries(STYLES))('of a long transfer are at most 40 a MiB at either end: %s', async (_style, read) => {
    const { connect, client, server } = await nativePair()
    const { near, far } = await connect()
    const [mine, theirs] = await opened(near, far)
    const total = 32 * MEBIBYTE
    let got = 0
    const chunk = new Uint8Array(65_536)
    const [sending = 0, receiving = 0] = await crossingsOf([client, server], async () => {
      const reading = read(theirs)
      for (let at = 0; at < total; await mine.ready()) at += mine.write(chunk.subarray(0, Math.min(chunk.length, total - at)))
      mine.end()
      got = await reading
    })
    expect(got).toBe(total + 1)
    expect(sending / 32).toBeLessThanOrEqual(MOST_A_MEBIBYTE)
    expect(receiving / 32).toBeLessThanOrEqual(MOST_A_MEBIBYTE)
  }, 120_000)

  /** mux R62. */
  it('of many small streams that come together are one for many of them', async () => {
    const { connect, client, server } = await nativePair({ server: { limits: { bidirectionalStreams: 1000 } } })
    const { near, far } = await connect()
    const count = 800
    const answering = (async () => {
      let answered = 0
      for await (const stream of far.incomingBidirectional()) {
        void stream.bytes().then((bytes) => {
          stream.write(bytes)
          stream.end()
        })
        answered += 1
        if (answered === count) return
      }
    })()
    const [asking = 0, serving = 0] = await crossingsOf([client, server], async () => {
      const streams = await Promise.all(Array.from({ length: count }, async () => near.openBidirectional()))
      const answers = streams.map(async (stream) => {
        stream.write(new Uint8Array(100))
        stream.end()
        return stream.bytes()
      })
      expect((await Promise.all(answers)).every((answer) => answer.length === 100)).toBe(true)
      await answering
    })
    // A frame, a stream or a record each would be 800 and more.
    expect(asking).toBeLessThanOrEqual(count / 2)
    expect(serving).toBeLessThanOrEqual(count / 2)
  }, 60_000)
})
