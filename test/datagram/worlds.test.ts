/** What becomes of messages (RFC 9221) in simulated worlds: lost, too old, too many, too large, and what each end is told. */
import { describe, expect, it } from 'vitest'
import type { Connection, DatagramStatus } from '../../src/index.ts'
import { MODULE_BUILT } from '../native/built.ts'
import { connected, transfer } from '../sim/programs.ts'

/** Fates in the order in which they were told. */
function fatesOf(connection: Connection): DatagramStatus[] {
  const fates: DatagramStatus[] = []
  connection.datagrams.status$.subscribe((fate) => fates.push(fate))
  return fates
}

/** Numbers of the messages that arrive. */
function arrivals(connection: Connection): number[] {
  const numbers: number[] = []
  void (async () => {
    for await (const batch of connection.datagrams.batches()) for (const message of batch) numbers.push(Buffer.from(message).readUInt32BE(0))
  })()
  return numbers
}

function numbered(number: number, length = 400): Uint8Array {
  const message = Buffer.alloc(length)
  message.writeUInt32BE(number)
  return message
}

const ids = (fates: readonly DatagramStatus[], status: string): number[] => fates.filter((fate) => fate.status === status).map(({ id }) => id).toSorted((one, other) => one - other)

describe.skipIf(!MODULE_BUILT)('messages', () => {
  it('of a lossy link arrive once or never, and each is told acknowledged or lost, once, with its path', async () => {
    await connected([{ delayMs: 10 }], async ({ world, near, far, links }) => {
      await near.confirmed
      const [fates, numbers] = [fatesOf(near), arrivals(far)]
      links[0]?.set({ delayMs: 10, loss: 0.15 }, 'a-to-b')
      for (let number = 1; number <= 300; number++) {
        expect(near.datagrams.send(numbered(number))).toBe(number)
        await world.sleep(3)
      }
      for (let round = 0; round < 100 && fates.length < 300; round++) await world.sleep(100)
      const [acknowledged, lost] = [ids(fates, 'acknowledged'), ids(fates, 'lost')]
      expect([fates.length, new Set(fates.map(({ id }) => id)).size, new Set(fates.map(({ path }) => path))]).toEqual([300, 300, new Set([0])])
      expect(lost.length).toBeGreaterThan(20)
      // No acknowledgement is lost here, so the fates are the truth.
      expect(numbers.toSorted((one, other) => one - other)).toEqual(acknowledged)
    }, { seed: 5 })
  })

  it('that have not left within expiresMs are abandoned, those without a limit wait', async () => {
    // A round trip of a second: a window full of bytes lets nothing out for so long.
    await connected([{ delayMs: 500 }], async ({ world, near, far }) => {
      await near.confirmed
      const [fates, numbers] = [fatesOf(near), arrivals(far)]
      const stream = await near.openUnidirectional()
      stream.write(Buffer.alloc(200_000))
      await world.sleep(5)
      const [short, long] = [near.datagrams.send(numbered(1), { expiresMs: 50 }), near.datagrams.send(numbered(2), { expiresMs: 5000 })]
      const forEver = near.datagrams.send(numbered(3))
      await world.sleep(100)
      expect(fates).toEqual([{ id: short, status: 'abandoned', path: null }])
      for (let round = 0; round < 100 && fates.length < 3; round++) await world.sleep(50)
      expect([ids(fates, 'acknowledged'), numbers]).toEqual([[long, forEver], [2, 3]])
    })
  })

  it('of more than 64, or 64 KiB, that wait to leave the oldest are abandoned (attacks L14)', async () => {
    await connected([{ delayMs: 10 }], async ({ world, near, links }) => {
      await near.confirmed
      const fates = fatesOf(near)
      const stream = await near.openUnidirectional()
      links[0]?.cut()
      stream.write(Buffer.alloc(200_000))
      await world.sleep(5)
      near.datagrams.sendBatch(Array.from({ length: 70 }, (_, index) => numbered(index, 4)))
      await world.sleep(5)
      expect(ids(fates, 'abandoned')).toEqual([1, 2, 3, 4, 5, 6])
      near.datagrams.sendBatch(Array.from({ length: 64 }, (_, index) => numbered(index, 1150)))
      await world.sleep(5)
      const waiting = 134 - ids(fates, 'abandoned').length
      expect([waiting, ids(fates, 'abandoned').at(-1)]).toEqual([Math.floor(65_536 / 1150), 134 - waiting])
    })
  })

  it('that nobody reads are bounded where they arrive, the newest stay', async () => {
    await connected([{ delayMs: 1 }], async ({ world, near, far }) => {
      await near.confirmed
      for (let number = 1; number <= 3000; number++) {
        near.datagrams.send(numbered(number, 8))
        if (number % 20 === 0) await world.sleep(5)
      }
      await world.sleep(200)
      const numbers = arrivals(far)
      await world.sleep(10)
      expect(numbers.length).toBeGreaterThanOrEqual(1000)
      expect(numbers.length).toBeLessThanOrEqual(1024 + 64)
      expect(numbers.at(-1)).toBe(3000)
      expect(numbers).toEqual(numbers.toSorted((one, other) => one - other))
    })
  })

  it('may be as large as every path in use carries; the size is told as that changes', async () => {
    await connected([{ delayMs: 5, mtuBytes: 1472 }, { delayMs: 5, mtuBytes: 1300 }], async ({ world, near, far }) => {
      const sizes: number[] = []
      near.datagrams.maxDatagramSize$.subscribe((size) => sizes.push(size))
      const [, small] = await near.paths.ready({ count: 2 })
      // Discovery goes with bytes.
      await transfer(near, far, 2_000_000)
      await world.sleep(2000)
      const withBoth = near.datagrams.maxDatagramSizeBytes
      expect([withBoth > 1200, withBoth < 1300]).toEqual([true, true])
      await small?.abandon()
      await transfer(near, far, 500_000)
      await world.sleep(2000)
      const withOne = near.datagrams.maxDatagramSizeBytes
      expect(withOne).toBeGreaterThan(1400)
      expect(sizes.at(-1)).toBe(withOne)
      expect(sizes).toContain(withBoth)
      const numbers = arrivals(far)
      near.datagrams.send(numbered(1, withOne))
      await world.sleep(100)
      expect(numbers).toEqual([1])
      expect(() => near.datagrams.send(numbered(2, withOne + 1))).toThrow(expect.objectContaining({ code: 'QB_DATAGRAM_TOO_LARGE', message: expect.stringMatching(new RegExp(`${withOne + 1}.*${withOne}`)) }))
    }, {}, { scheduler: 'round-robin' })
  })

  it('that are pinned go over their path, and are lost with it; the others go on', async () => {
    await connected([{ delayMs: 5 }, { delayMs: 5 }], async ({ world, near, far, links }) => {
      await near.paths.ready({ count: 2 })
      const [fates, numbers] = [fatesOf(near), arrivals(far)]
      for (let number = 1; number <= 10; number++) near.datagrams.send(numbered(number), { path: number % 2 })
      await world.sleep(100)
      expect(fates.every(({ id, status, path }) => status === 'acknowledged' && path === id % 2)).toBe(true)
      links[1]?.cut()
      near.datagrams.send(numbered(11), { path: 1 })
      near.datagrams.send(numbered(12), { path: 0 })
      await world.sleep(15_000)
      expect(fates.slice(10).map(({ id, status }) => `${id} ${status}`).toSorted()).toEqual(['11 lost', '12 acknowledged'])
      expect(numbers.toSorted((one, other) => one - other)).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 12])
    })
  })

  it('flow through web streams whose reader is slow, until the connection ends: then both ends of the pipe do', async () => {
    await connected([{ delayMs: 5, rateBitsPerSec: 2e6 }], async ({ world, near, far }) => {
      await near.confirmed
      const fates = fatesOf(near)
      const writer = near.datagrams.writable.getWriter()
      let waited = false
      const writing = (async () => {
        for (let number = 1; number <= 200; number++) {
          const write = writer.write(numbered(number, 1000))
          waited ||= writer.desiredSize !== null && writer.desiredSize <= 0
          await write
        }
      })()
      const numbers: number[] = []
      const reading = (async () => {
        for await (const message of far.datagrams.readable) {
          numbers.push(Buffer.from(message).readUInt32BE(0))
          await world.sleep(1)
        }
      })()
      await writing
      for (let round = 0; round < 100 && fates.length < 200; round++) await world.sleep(100)
      // What `send` would have given up waited.
      expect([waited, ids(fates, 'abandoned'), numbers.length]).toEqual([true, [], ids(fates, 'acknowledged').length])
      await near.close()
      await reading
      await expect(writer.closed).rejects.toMatchObject({ code: 'QB_CONNECTION_CLOSED' })
      expect(() => near.datagrams.send(numbered(1))).toThrow(expect.objectContaining({ code: 'QB_CONNECTION_CLOSED' }))
    })
  })
})
