/** Messages (RFC 9221) over the native module and loopback. */
import { afterEach, describe, expect, it } from 'vitest'
import type { DatagramStatus } from '../../src/index.ts'
import { pattern } from '../fake/pair.ts'
import { MODULE_BUILT } from './built.ts'
import { closeAll, nativePair, until } from './pair.ts'

afterEach(closeAll)

describe.skipIf(!MODULE_BUILT)('datagrams', () => {
  it('arrive whole, in batches, and their fates are told with their ids', async () => {
    const { near, far } = await (await nativePair()).connect()
    expect(near.datagrams.maxDatagramSizeBytes).toBeGreaterThan(1100)
    const fates: DatagramStatus[] = []
    near.datagrams.status$.subscribe((status) => fates.push(status))
    const sent = [pattern(1), pattern(0), pattern(1000, 7)]
    expect(near.datagrams.sendBatch(sent)).toEqual([1, 2, 3])
    expect(near.datagrams.send(pattern(5))).toBe(4)
    const received: Uint8Array[] = []
    for await (const batch of far.datagrams.batches()) {
      received.push(...batch)
      if (received.length >= 4) break
    }
    expect(received.map((message) => message.length)).toEqual([1, 0, 1000, 5])
    expect(Buffer.from(received[2] ?? []).equals(sent[2] ?? Buffer.alloc(0))).toBe(true)
    await until(() => fates.length === 4)
    expect(fates.map(({ id, status }) => `${id} ${status}`).toSorted()).toEqual(['1 acknowledged', '2 acknowledged', '3 acknowledged', '4 acknowledged'])
  })

  it('are refused when they are too large, when the peer takes none, and after the end', async () => {
    const pair = await nativePair()
    const { near } = await pair.connect()
    const limit = near.datagrams.maxDatagramSizeBytes
    expect(() => near.datagrams.send(new Uint8Array(limit + 1))).toThrow(expect.objectContaining({ code: 'QB_DATAGRAM_TOO_LARGE' }))
    expect(() => near.datagrams.sendBatch([new Uint8Array(1), new Uint8Array(limit + 1)])).toThrow(expect.objectContaining({ code: 'QB_DATAGRAM_TOO_LARGE' }))
    expect(near.datagrams.send(new Uint8Array(limit))).toBe(1)
    expect(() => near.datagrams.send(new Uint8Array(1), { path: 7 })).toThrow(expect.objectContaining({ code: 'QB_PATH_UNKNOWN' }))
    const { near: mute, far } = await pair.connect({ maxDatagramFrameBytes: 0 })
    expect(far.datagrams.maxDatagramSizeBytes).toBe(0)
    expect(() => far.datagrams.send(new Uint8Array(1))).toThrow(expect.objectContaining({ code: 'QB_DATAGRAM_REFUSED' }))
    mute.datagrams.send(new Uint8Array(1))
    await mute.close()
    expect(() => mute.datagrams.send(new Uint8Array(1))).toThrow(expect.objectContaining({ code: 'QB_CONNECTION_CLOSED' }))
  })

  it('flow through web streams, whose writer waits where messages would be given up', async () => {
    const COUNT = 2000
    const { near, far } = await (await nativePair()).connect()
    const fates: DatagramStatus[] = []
    near.datagrams.status$.subscribe((status) => fates.push(status))
    const reading = (async () => {
      const numbers: number[] = []
      for await (const message of far.datagrams.readable) numbers.push(Buffer.from(message).readUInt32BE(0))
      return numbers
    })()
    const writer = near.datagrams.writable.getWriter()
    for (let index = 0; index < COUNT; index++) {
      const message = Buffer.alloc(1000)
      message.writeUInt32BE(index)
      await writer.write(message)
    }
    await until(() => fates.length === COUNT, 10_000)
    expect(fates.filter(({ status }) => status === 'abandoned')).toEqual([])
    await near.close()
    const numbers = await reading
    expect(new Set(numbers).size).toBe(numbers.length)
    // Nothing is lost on loopback but what the receiver's bounded queue dropped.
    expect(numbers.length).toBeGreaterThan(COUNT / 2)
    await expect(writer.write(new Uint8Array(1))).rejects.toMatchObject({ code: 'QB_CONNECTION_CLOSED' })
  }, 30_000)

  it('of more than the queue holds, the oldest are given up, and ids stay in line', async () => {
    const { near } = await (await nativePair()).connect()
    const fates = new Map<number, string>()
    near.datagrams.status$.subscribe(({ id, status }) => fates.set(id, status))
    const ids = near.datagrams.sendBatch(Array.from({ length: 500 }, () => new Uint8Array(1000)))
    expect(ids).toEqual(Array.from({ length: 500 }, (_, index) => index + 1))
    await until(() => fates.size === 500)
    expect(fates.get(1)).toBe('abandoned')
    expect(fates.get(500)).toBe('acknowledged')
    expect(near.datagrams.send(new Uint8Array(1))).toBe(501)
    await until(() => fates.get(501) === 'acknowledged')
  })

  it('have one reading style, and the size as an observable that ends with the connection', async () => {
    const { near, far } = await (await nativePair()).connect()
    void far.datagrams.readable
    expect(() => far.datagrams.batches()).toThrow(expect.objectContaining({ code: 'QB_STREAM_LOCKED' }))
    const sizes: number[] = []
    const ended = new Promise<void>((resolve) => near.datagrams.maxDatagramSize$.subscribe({ next: (size) => sizes.push(size), complete: resolve }))
    expect(sizes[0]).toBe(near.datagrams.maxDatagramSizeBytes)
    await near.close()
    await ended
  })
})
