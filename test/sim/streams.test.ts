import { buffer } from 'node:stream/consumers'
import { describe, expect, it } from 'vitest'
import type { BidirectionalStream } from '../../src/index.ts'
import { MODULE_BUILT } from '../native/built.ts'
import { connected } from './programs.ts'

/** One round trip of a request, written and read in one style; when the answer was complete. */
async function roundTrip(use: (stream: BidirectionalStream) => Promise<number>): Promise<[number, number]> {
  return connected([{ delayMs: 20 }], async ({ world, near, far }) => {
    await near.confirmed
    void (async () => {
      for await (const stream of far.incomingBidirectional()) void stream.bytes().then((bytes) => {
        stream.write(bytes)
        stream.end()
      })
    })()
    const before = world.nowMs
    const bytes = await use(await near.openBidirectional())
    return [bytes, world.nowMs - before]
  })
}

const REQUEST = new Uint8Array(2_000)

describe.skipIf(!MODULE_BUILT)('in a simulated world', () => {
  it('a request takes one round trip, however it is written and read', async () => {
    const direct = await roundTrip(async (stream) => {
      stream.write(REQUEST)
      stream.end()
      return (await stream.bytes()).length
    })
    const web = await roundTrip(async (stream) => {
      const writer = stream.writable.getWriter()
      await writer.write(REQUEST)
      await writer.close()
      return (await new Response(stream.readable).arrayBuffer()).byteLength
    })
    const duplex = await roundTrip(async (stream) => {
      const node = stream.toDuplex()
      node.end(REQUEST)
      return (await buffer(node)).length
    })
    expect([direct, web, duplex]).toEqual([[2_000, 40], [2_000, 40], [2_000, 40]])
  })

  it('samples of statistics come by the clock of the world, and do not keep it going', async () => {
    const at = await connected([{ delayMs: 5 }], async ({ world, near }) => {
      const at: number[] = []
      const subscription = near.metrics$.subscribe(() => at.push(world.nowMs))
      await world.sleep(250)
      subscription.unsubscribe()
      return at.map((ms) => Math.round(ms - (at[0] ?? 0)))
    })
    expect(at).toEqual([0, 100, 200])
  })

  it('time limits of waits are those of the world', async () => {
    const [code, ms] = await connected([{ delayMs: 5 }], async ({ world, near }) => {
      const before = world.nowMs
      const code = await near.paths.ready({ count: 2, timeoutMs: 3000 }).catch((error: { code: string }) => error.code)
      return [code, world.nowMs - before]
    })
    expect([code, ms]).toEqual(['QB_PATH_TIMEOUT', 3000])
  })
})
