import * as fc from 'fast-check'
import { expect, it } from 'vitest'
import { connectedPair, pattern, taken, turns, until, watchContract } from '../fake/pair.ts'

watchContract()

it('carries every byte once and in order, whatever sizes, buffers and styles meet', async () => {
  const sizes = fc.array(fc.oneof(fc.integer({ min: 0, max: 300 }), fc.integer({ min: 10_000, max: 120_000 })), { minLength: 1, maxLength: 20 })
  const scenario = fc.record({
    sizes,
    sendBufferBytes: fc.integer({ min: 4_096, max: 400_000 }),
    streamWindowBytes: fc.integer({ min: 16_384, max: 600_000 }),
    write: fc.constantFrom('write', 'writable', 'duplex'),
    read: fc.constantFrom('bytes', 'readable', 'byob', 'duplex', 'batches', 'borrow'),
  })
  await fc.assert(fc.asyncProperty(scenario, async (plan) => {
    const { sendBufferBytes, streamWindowBytes } = plan
    const pair = await connectedPair({ connect: { limits: { sendBufferBytes } }, server: { limits: { streamWindowBytes } } })
    const sent = pattern(plan.sizes.reduce((sum, size) => sum + size, 0))
    const stream = await pair.near.openBidirectional()
    const writing = writers[plan.write]?.(stream, sent, plan.sizes)
    const got = await readers[plan.read]?.(await taken(pair.far.incomingBidirectional()))
    await writing
    expect(got?.equals(sent)).toBe(true)
    await stream.finished
    await pair.done()
  }), { numRuns: 60 })
})

it('settles every promise, whatever order calls and ends come in', async () => {
  const step = fc.constantFrom('write', 'end', 'reset', 'stop', 'destroy', 'read', 'turn', 'ready', 'farReset', 'farStop', 'farEnd', 'farWrite')
  const scenario = fc.record({ steps: fc.array(step, { maxLength: 25 }), end: fc.constantFrom('close', 'destroy', 'farClose', 'endpoint', 'break') })
  await fc.assert(fc.asyncProperty(scenario, async ({ steps, end }) => {
    const pair = await connectedPair()
    const mine = await pair.near.openBidirectional()
    mine.write(pattern(10))
    const theirs = await taken(pair.far.incomingBidirectional())
    const promises: Promise<unknown>[] = [mine.finished, mine.closed, theirs.finished, theirs.closed]
    const acts: Record<string, () => unknown> = {
      write: () => mine.write(pattern(70_000)), end: () => mine.end(), reset: () => mine.reset(1), stop: () => mine.stop(2), destroy: () => mine.destroy(),
      read: () => promises.push(mine[Symbol.asyncIterator]().next()), turn: () => turns(3), ready: () => promises.push(mine.ready()),
      farReset: () => theirs.reset(3), farStop: () => theirs.stop(4), farEnd: () => theirs.end(), farWrite: () => theirs.write(pattern(70_000)),
    }
    for (const promise of promises) promise.catch(() => {})
    for (const name of steps) {
      try {
        await acts[name]?.()
      } catch (error) {
        expect(String((error as { code: string }).code)).toMatch(/^QB_STREAM_/)
      }
      promises.at(-1)?.catch(() => {})
    }
    if (end === 'close') await pair.near.close()
    else if (end === 'destroy') pair.near.destroy()
    else if (end === 'farClose') await pair.far.close()
    else if (end === 'endpoint') await pair.client.close()
    else pair.network.endpoints[1]?.breakDown()
    await Promise.allSettled(promises.slice(0, 2))
    await pair.done()
    const results = await Promise.allSettled(promises)
    expect(results.length).toBe(promises.length)
    await until(() => pair.client.connections.size + pair.server.connections.size === 0)
  }), { numRuns: 150 })
})

type Stream = Awaited<ReturnType<Awaited<ReturnType<typeof connectedPair>>['near']['openBidirectional']>>

function split(bytes: Buffer, sizes: readonly number[]): Buffer[] {
  let at = 0
  return sizes.map((size) => bytes.subarray(at, (at += size)))
}

const writers: Record<string, (stream: Stream, bytes: Buffer, sizes: readonly number[]) => Promise<void>> = {
  async write(stream, bytes, sizes) {
    for (const piece of split(bytes, sizes)) {
      for (let at = 0; at < piece.length; await stream.ready()) at += stream.write(piece.subarray(at))
    }
    stream.end()
  },
  async writable(stream, bytes, sizes) {
    const writer = stream.writable.getWriter()
    for (const piece of split(bytes, sizes)) void writer.write(piece)
    await writer.close()
  },
  async duplex(stream, bytes, sizes) {
    const writable = stream.toWritable()
    writable.on('error', () => {})
    for (const piece of split(bytes, sizes)) writable.write(piece)
    await new Promise<void>((resolve) => writable.end(resolve))
  },
}

const readers: Record<string, (stream: Stream) => Promise<Buffer>> = {
  bytes: async (stream) => Buffer.from(await stream.bytes()),
  async readable(stream) {
    const pieces: Uint8Array[] = []
    for await (const piece of stream.readable) pieces.push(piece as Uint8Array)
    return Buffer.concat(pieces)
  },
  async byob(stream) {
    const reader = stream.readable.getReader({ mode: 'byob' } as never) as unknown as { read(view: Uint8Array): Promise<{ done: boolean; value: Uint8Array }> }
    const pieces: Buffer[] = []
    for (;;) {
      const { done, value } = await reader.read(new Uint8Array(1 + ((pieces.length * 7919) % 90_000)))
      if (done) return Buffer.concat(pieces)
      pieces.push(Buffer.from(value))
    }
  },
  async duplex(stream) {
    const readable = stream.toReadable()
    const pieces: Buffer[] = []
    for await (const piece of readable) pieces.push(piece as unknown as Buffer)
    return Buffer.concat(pieces)
  },
  async batches(stream) {
    const pieces: Uint8Array[] = []
    for await (const batch of stream) pieces.push(...batch)
    return Buffer.concat(pieces)
  },
  async borrow(stream) {
    const pieces: Uint8Array[] = []
    for await (const { bytes, release } of stream.borrow()) {
      pieces.push(Uint8Array.from(bytes))
      release()
    }
    return Buffer.concat(pieces)
  },
}
