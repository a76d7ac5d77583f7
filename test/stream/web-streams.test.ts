import { describe, expect, it } from 'vitest'
import { codeOf, connectedPair, pattern, streamPair, taken, turns, until, watchContract } from '../fake/pair.ts'

watchContract()

interface ByobReader { read(view: Uint8Array): Promise<{ done: boolean; value: Uint8Array | undefined }>; cancel(reason?: unknown): Promise<void>; releaseLock(): void }

describe('writable', () => {
  /** mux R60. */
  it('has the window for its mark, and 0 of it left while a window of bytes does not go', async () => {
    const pair = await connectedPair({ connect: { limits: { sendBufferBytes: 100_000 } } })
    const stream = await pair.near.openUnidirectional()
    const writer = stream.writable.getWriter()
    expect(writer.desiredSize).toBe(100_000)
    pair.network.hold()
    const writes: Promise<void>[] = []
    for (let count = 0; count < 4; count++) {
      expect(writer.desiredSize).toBeGreaterThan(0)
      writes.push(writer.write(pattern(30_000)))
      await turns(2)
    }
    // Three are with the engine whole, the fourth fills the window.
    expect(stream.bytesWritten).toBe(100_000)
    expect(writer.desiredSize).toBe(0)
    const done = writes.map(() => false)
    for (const [index, write] of writes.entries()) void write.then(() => { done[index] = true })
    await turns(3)
    expect(done).toEqual([true, true, true, false])
    writes.push(writer.write(pattern(1)))
    expect(writer.desiredSize).toBeLessThanOrEqual(0)
    pair.network.release()
    await Promise.all(writes)
    expect(writer.desiredSize).toBe(100_000)
    await writer.close()
    expect((await (await taken(pair.far.incomingUnidirectional())).bytes()).length).toBe(120_001)
    await pair.done()
  })

  /** mux R60. */
  it('counts what is written at once as it will be, not as it is', async () => {
    const pair = await connectedPair({ connect: { limits: { sendBufferBytes: 100_000 } } })
    const stream = await pair.near.openUnidirectional()
    const writer = stream.writable.getWriter()
    pair.network.hold()
    const writes = [40_000, 40_000, 20_000].map((length) => writer.write(pattern(length)))
    expect(writer.desiredSize).toBeLessThanOrEqual(0)
    await turns(3)
    expect([writer.desiredSize, stream.bytesWritten]).toEqual([0, 100_000])
    pair.network.release()
    await Promise.all(writes)
    expect(writer.desiredSize).toBe(100_000)
    await pair.done()
  })
})

describe('readable', () => {
  it('hands out pieces that own their memory, and ends', async () => {
    const pair = await connectedPair()
    const stream = await pair.near.openUnidirectional()
    const sent = pattern(200_000)
    stream.write(sent)
    stream.end()
    const incoming = await taken(pair.far.incomingUnidirectional())
    const pieces: Uint8Array[] = []
    for await (const piece of incoming.readable) pieces.push(piece as Uint8Array)
    expect(Buffer.concat(pieces).equals(sent)).toBe(true)
    for (const piece of pieces) expect(piece.buffer.byteLength).toBe(piece.length)
    expect(await incoming.closed).toEqual({ error: null })
    await pair.done()
  })

  it('fills the reader\'s own view, whatever its size, and answers the last one empty', async () => {
    const pair = await connectedPair()
    const stream = await pair.near.openUnidirectional()
    const sent = pattern(150_000)
    stream.write(sent)
    const incoming = await taken(pair.far.incomingUnidirectional())
    const reader = incoming.readable.getReader({ mode: 'byob' } as never) as unknown as ByobReader
    const got: Buffer[] = []
    let size = 1
    let total = 0
    while (total < sent.length) {
      const { value } = await reader.read(new Uint8Array(size))
      got.push(Buffer.from(value ?? new Uint8Array(0)))
      total += value?.length ?? 0
      size = (size * 7) % 70_001 || 1
    }
    expect(Buffer.concat(got).equals(sent)).toBe(true)
    const last = reader.read(new Uint8Array(10))
    await turns(3)
    stream.end()
    expect((await last).done).toBe(true)
    await pair.done()
  })

  it('fills a waiting view straight from what arrives', async () => {
    const pair = await connectedPair()
    const { mine, theirs } = await streamPair(pair)
    const reader = theirs.readable.getReader({ mode: 'byob' } as never) as unknown as ByobReader
    await reader.read(new Uint8Array(1))
    const pending = reader.read(new Uint8Array(5000))
    await turns(3)
    mine.write(pattern(3000))
    const { value } = await pending
    expect(Buffer.from(value ?? []).equals(pattern(3000))).toBe(true)
    expect(theirs.bytesReceived).toBe(3001)
    await pair.done()
  })

  it('stops the stream when cancelled, with the code of the reason', async () => {
    const pair = await connectedPair()
    const { mine, theirs } = await streamPair(pair)
    await theirs.readable.cancel(42)
    await expect(mine.finished).rejects.toMatchObject({ code: 'QB_STREAM_STOPPED', errorCode: 42n })
    await pair.done()
  })

  it('errors a pending read when the peer resets', async () => {
    const pair = await connectedPair()
    const { mine, theirs } = await streamPair(pair)
    const reader = theirs.readable.getReader()
    await reader.read()
    const pending = codeOf(reader.read())
    mine.reset()
    expect(await pending).toBe('QB_STREAM_RESET')
    await pair.done()
  })

  it('takes nothing from the engine that nobody asked for', async () => {
    const pair = await connectedPair()
    const { mine, theirs } = await streamPair(pair)
    void theirs.readable
    for (let index = 0; index < 40; index++) {
      mine.write(pattern(65_536))
      await turns(2)
    }
    expect(theirs.bytesReceived).toBeLessThanOrEqual(524_288 + 65_536)
    await pair.done()
  })
})

describe('writable', () => {
  it('completes writes at once while there is room and waits without', async () => {
    const pair = await connectedPair()
    const stream = await pair.near.openUnidirectional()
    pair.network.hold()
    const writer = stream.writable.getWriter()
    await writer.write(pattern(200_000))
    let waited = true
    const second = writer.write(pattern(200_000)).then(() => (waited = false))
    await turns(5)
    expect(waited).toBe(true)
    pair.network.release()
    await second
    await writer.close()
    expect((await (await taken(pair.far.incomingUnidirectional())).bytes()).length).toBe(400_000)
    await pair.done()
  })

  it('aborts a write that waits, and resets with the code of the reason', async () => {
    const pair = await connectedPair()
    const stream = await pair.near.openUnidirectional()
    stream.finished.catch(() => {})
    const writer = stream.writable.getWriter()
    await writer.write(pattern(1000))
    const incoming = await taken(pair.far.incomingUnidirectional())
    pair.network.hold()
    const stuck = codeOf(writer.write(pattern(400_000)))
    await turns(3)
    await writer.abort(12n)
    expect(await stuck).toBe('QB_STREAM_RESET')
    pair.network.release()
    await expect(incoming.bytes()).rejects.toMatchObject({ errorCode: 12n })
    await pair.done()
  })

  it('errors when the peer stops reading', async () => {
    const pair = await connectedPair()
    const stream = await pair.near.openUnidirectional()
    const writer = stream.writable.getWriter()
    await writer.write(pattern(10))
    const closed = codeOf(writer.closed)
    ;(await taken(pair.far.incomingUnidirectional())).stop(3)
    expect(await closed).toBe('QB_STREAM_STOPPED')
    await pair.done()
  })

  it('refuses chunks that are no bytes', async () => {
    const pair = await connectedPair()
    const writer = (await pair.near.openUnidirectional()).writable.getWriter()
    writer.closed.catch(() => {})
    expect(await codeOf(writer.write('text' as never))).toBe('QB_OPTION_INVALID')
    await pair.done()
  })

  it('pipes through both faces', async () => {
    const pair = await connectedPair()
    const near = await pair.near.openBidirectional()
    void taken(pair.far.incomingBidirectional()).then((far) => far.readable.pipeTo(far.writable))
    const writer = near.writable.getWriter()
    const sent = pattern(700_000)
    const writing = writer.write(sent).then(() => writer.close())
    const got: Uint8Array[] = []
    for await (const piece of near.readable) got.push(piece as Uint8Array)
    await writing
    expect(Buffer.concat(got).equals(sent)).toBe(true)
    await until(() => near.state === 'closed')
    await pair.done()
  })
})

describe('the async iterator and bytes()', () => {
  it('gives one batch a drain, in order, and stops the peer when the loop is left', async () => {
    const pair = await connectedPair()
    const { mine, theirs } = await streamPair(pair)
    mine.write(pattern(200_000))
    let seen = 0
    for await (const batch of theirs) {
      for (const piece of batch) {
        expect(piece.length).toBeLessThanOrEqual(65_536)
        seen += piece.length
      }
      if (seen > 100_000) break
    }
    await expect(mine.finished).rejects.toMatchObject({ code: 'QB_STREAM_STOPPED', errorCode: 0x10cn })
    await pair.done()
  })

  it('answers several next() calls in order and ends them all', async () => {
    const pair = await connectedPair()
    const { mine, theirs } = await streamPair(pair)
    const iterator = theirs[Symbol.asyncIterator]()
    await iterator.next()
    const [first, second] = [iterator.next(), iterator.next()]
    mine.write(pattern(10))
    mine.end()
    expect((await first).value?.[0]?.length).toBe(10)
    expect((await second).done).toBe(true)
    await pair.done()
  })

  it('limits bytes() and stops the stream that is too long', async () => {
    const pair = await connectedPair()
    const { mine, theirs } = await streamPair(pair)
    const reading = theirs.bytes({ maxBytes: 1000 })
    mine.write(pattern(2000))
    await expect(reading).rejects.toMatchObject({ code: 'QB_STREAM_TOO_LONG', message: expect.stringContaining('1000') })
    await expect(mine.finished).rejects.toMatchObject({ code: 'QB_STREAM_STOPPED' })
    await pair.done()
  })

  it('aborts bytes() and ready() with the reason of the signal', async () => {
    const pair = await connectedPair()
    const { mine, theirs } = await streamPair(pair)
    const abort = new AbortController()
    const reading = codeOf(theirs.bytes({ signal: abort.signal }))
    const reason = Object.assign(new Error('no'), { code: 'MINE' })
    abort.abort(reason)
    expect(await reading).toBe('MINE')
    pair.network.hold()
    while (mine.write(pattern(65_536)) > 0);
    const waiting = new AbortController()
    const ready = codeOf(mine.ready({ signal: waiting.signal }))
    waiting.abort(reason)
    expect(await ready).toBe('MINE')
    expect(await codeOf(mine.ready({ signal: AbortSignal.abort(reason) }))).toBe('MINE')
    pair.network.release()
    await pair.done()
  })
})
