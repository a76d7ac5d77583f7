/** What programs see of blocked bytes (mux R60, R61), in virtual time. */
import { describe, expect, it } from 'vitest'
import type { Connection, ConnectionOptions, ServerOptions } from '../../src/index.ts'
import { World } from '../../src/sim/index.ts'
import { MODULE_BUILT } from '../native/built.ts'
import { connected, withPair } from './programs.ts'
import type { Connected } from './programs.ts'

const WINDOW = 131_072
const CHUNK = 10_000

interface Case {
  reason: string
  more?: ConnectionOptions
  serving?: Partial<ServerOptions>
  block?(pair: Connected): void
  release?(pair: Connected): void
  /** Whether the far end reads from the start. */
  reads: boolean
}

const CASES: Case[] = [
  { reason: 'STREAM_CREDIT', reads: false },
  { reason: 'CWND', reads: true, block: ({ links }) => links[0]?.cut(), release: ({ links }) => links[0]?.restore() },
]

function blockedMs(connection: Connection, reason: string): number {
  let ms = 0
  connection.buffers$.subscribe((facts) => { ms = (facts.blockedMs as Record<string, number>)[reason] ?? 0 }).unsubscribe()
  return ms
}

describe.skipIf(!MODULE_BUILT)('a blocked writer', () => {
  /** mux R60. */
  it.each(CASES)('has a desiredSize of 0 while $reason holds a window of bytes, and all of it again afterwards', async ({ reason, more, serving, block, release, reads }) => {
    const pair = World.pair([{ delayMs: 10, rateBitsPerSec: 50e6 }], { seed: 5 })
    await withPair(pair, async (parts) => {
      const { world, near, far } = parts
      await near.confirmed
      const stream = await near.openUnidirectional()
      const writer = stream.writable.getWriter()
      expect(writer.desiredSize).toBe(WINDOW)
      await writer.write(new Uint8Array(1))
      const theirs = (await far.incomingUnidirectional().next()).value
      let read = 0
      const readAll = async (): Promise<void> => {
        for await (const batch of theirs ?? []) for (const piece of batch) read += piece.length
      }
      if (reads) void readAll()
      block?.(parts)
      let written = 1
      // Until nothing has gone for so long that no round trip can change it.
      for (let still = 0; still < 30; still++) {
        while ((writer.desiredSize ?? 0) > 0) {
          still = 0
          written += CHUNK
          writer.write(new Uint8Array(CHUNK)).catch(() => {})
          await world.sleep(0)
        }
        await world.sleep(20)
      }
      expect(writer.desiredSize).toBe(0)
      expect(stream.bytesWritten).toBeLessThanOrEqual(written)
      release?.(parts)
      if (!reads) void readAll()
      await writer.ready
      expect(writer.desiredSize).toBe(WINDOW)
      // Told with the next event of the connection, which was quiet.
      expect(blockedMs(near, reason)).toBeGreaterThan(300)
      await writer.close()
      await stream.finished
      expect(read).toBe(written)
    }, { limits: { sendBufferBytes: WINDOW }, ...more }, serving)
  })
})

describe.skipIf(!MODULE_BUILT)('buffers$', () => {
  /** mux R61. */
  it('tells at most ten times a second, however often the statistics are sampled, and reads nothing while nobody listens', async () => {
    const { times, idle, busy } = await connected([{ delayMs: 5 }], async ({ world, near, atClient }) => {
      await near.confirmed
      const stream = await near.openUnidirectional()
      const quiet = await stirred()
      const times: number[] = []
      const subscription = near.buffers$.subscribe(() => times.push(world.nowMs))
      const busy = await stirred()
      subscription.unsubscribe()
      return { times, idle: quiet, busy }

      /** Crossings of a second in which bytes go all the time. */
      async function stirred(): Promise<number> {
        const before = atClient.statistics().crossings
        for (let round = 0; round < 100; round++) {
          stream.write(new Uint8Array(100))
          await world.sleep(10)
        }
        return atClient.statistics().crossings - before
      }
    })
    expect(times.length).toBeGreaterThan(5)
    for (const [index, at] of times.entries()) if (index > 0) expect(at - (times[index - 1] ?? 0)).toBeGreaterThanOrEqual(99.9)
    expect(Math.abs(busy - idle - times.length)).toBeLessThanOrEqual(6)
  })
})
