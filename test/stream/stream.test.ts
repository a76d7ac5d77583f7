import { describe, expect, it } from 'vitest'
import { codeOf, connectedPair, pattern, streamPair, taken, turns, until, watchContract } from '../fake/pair.ts'

watchContract()

describe('writing', () => {
  it('carries bytes and the end from one side to the other', async () => {
    const pair = await connectedPair()
    const stream = await pair.near.openUnidirectional()
    const sent = pattern(1_000_000)
    let at = 0
    while (at < sent.length) {
      at += stream.write(sent.subarray(at, at + 65_536))
      await stream.ready()
    }
    stream.end()
    const incoming = await taken(pair.far.incomingUnidirectional())
    expect(Buffer.from(await incoming.bytes()).equals(sent)).toBe(true)
    await stream.finished
    expect(stream.bytesAcknowledged).toBe(sent.length)
    await pair.done()
  })

  it('accepts at most sendBufferBytes and says how many', async () => {
    const pair = await connectedPair({ connect: { limits: { sendBufferBytes: 100_000 } } })
    pair.network.hold()
    const stream = await pair.near.openUnidirectional()
    expect(stream.write(new Uint8Array(60_000))).toBe(60_000)
    expect(stream.write(new Uint8Array(60_000))).toBe(40_000)
    expect(stream.write(new Uint8Array(1))).toBe(0)
    pair.network.release()
    await stream.ready()
    expect(stream.write(new Uint8Array(1))).toBe(1)
    await pair.done()
  })

  it('accepts at most connectionSendBufferBytes over all streams and wakes every one that waits', async () => {
    const pair = await connectedPair({ connect: { limits: { sendBufferBytes: 40_000, connectionSendBufferBytes: 50_000 } } })
    pair.network.hold()
    const [one, two] = [await pair.near.openUnidirectional(), await pair.near.openUnidirectional()]
    expect(one.write(new Uint8Array(40_000))).toBe(40_000)
    expect(two.write(new Uint8Array(40_000))).toBe(10_000)
    const both = Promise.all([one.ready(), two.ready()])
    pair.network.release()
    await both
    await pair.done()
  })

  it('copies before write returns', async () => {
    const pair = await connectedPair()
    const stream = await pair.near.openUnidirectional()
    const small = Uint8Array.of(1, 2, 3)
    const large = new Uint8Array(40_000).fill(7)
    stream.write(small)
    stream.write(large)
    small.fill(9)
    large.fill(9)
    stream.end()
    const bytes = await (await taken(pair.far.incomingUnidirectional())).bytes()
    expect([...bytes.subarray(0, 3)]).toEqual([1, 2, 3])
    expect(bytes.subarray(3).every((byte) => byte === 7)).toBe(true)
    await pair.done()
  })

  it('takes several chunks in one call, SharedArrayBuffers too, and refuses what is no bytes', async () => {
    const pair = await connectedPair()
    const stream = await pair.near.openUnidirectional()
    const shared = new Uint8Array(new SharedArrayBuffer(20_000)).fill(5)
    expect(stream.write([Uint8Array.of(1), shared, new Uint8Array(0)])).toBe(20_001)
    expect(() => stream.write('text' as never)).toThrow(expect.objectContaining({ code: 'QB_OPTION_INVALID' }))
    stream.end()
    expect((await (await taken(pair.far.incomingUnidirectional())).bytes()).length).toBe(20_001)
    await pair.done()
  })

  it('joins small writes of one turn into one flush', async () => {
    const pair = await connectedPair()
    const stream = await pair.near.openUnidirectional()
    const engine = pair.network.endpoints[1]
    await turns(5)
    const before = engine?.calls.flush ?? 0
    for (let index = 0; index < 100; index++) stream.write(pattern(100))
    await turns(5)
    expect((engine?.calls.flush ?? 0) - before).toBeLessThanOrEqual(1)
    await pair.done()
  })

  it('refuses writes after the end, and a second end does nothing', async () => {
    const pair = await connectedPair()
    const stream = await pair.near.openUnidirectional()
    stream.end()
    stream.end()
    expect(() => stream.write(Uint8Array.of(1))).toThrow(expect.objectContaining({ code: 'QB_STREAM_ENDED' }))
    expect(await codeOf(stream.ready())).toBe('QB_STREAM_ENDED')
    await stream.finished
    expect(await stream.closed).toEqual({ error: null })
    expect(stream.state).toBe('closed')
    await pair.done()
  })
})

describe('cutting', () => {
  it('tells the reader of a reset with code and side', async () => {
    const pair = await connectedPair()
    const { mine, theirs } = await streamPair(pair)
    const reading = theirs.bytes()
    mine.reset(7)
    await expect(reading).rejects.toMatchObject({ code: 'QB_STREAM_RESET', errorCode: 7n, by: 'peer', stream: 0n })
    await expect(mine.finished).rejects.toMatchObject({ code: 'QB_STREAM_RESET', by: 'local' })
    expect(() => mine.write(Uint8Array.of(1))).toThrow(expect.objectContaining({ code: 'QB_STREAM_RESET' }))
    expect(mine.state).toBe('reset')
    await pair.done()
  })

  /** mux §4: ERROR is decided and owed, RESET is with the engine. */
  it('is in error until its reset or stop has been handed to the engine', async () => {
    const pair = await connectedPair()
    const first = await streamPair(pair)
    expect(first.mine.state).toBe('open')
    first.mine.reset(1)
    expect(first.mine.state).toBe('error')
    await turns(3)
    expect(first.mine.state).toBe('reset')
    first.mine.stop(2)
    expect(first.mine.state).toBe('error')
    await turns(3)
    expect(first.mine.state).toBe('closed')
    const second = await streamPair(pair)
    second.theirs.stop(3)
    expect(second.theirs.state).toBe('error')
    await turns(3)
    expect([second.theirs.state, second.mine.state]).toEqual(['reset', 'reset'])
    const third = await streamPair(pair)
    third.mine.reset()
    pair.near.destroy()
    expect(third.mine.state).toBe('closed')
    await pair.done()
  })

  it('tells the writer that the reader stopped', async () => {
    const pair = await connectedPair()
    const { mine, theirs } = await streamPair(pair)
    theirs.stop(2n ** 61n)
    await expect(mine.finished).rejects.toMatchObject({ code: 'QB_STREAM_STOPPED', errorCode: 2n ** 61n, by: 'peer' })
    await pair.done()
  })

  it('resets and stops with cancelCode when the handle is dropped', async () => {
    const pair = await connectedPair({ connect: { streamCodes: { cancelCode: 77 } } })
    const { mine, theirs } = await streamPair(pair)
    mine.destroy()
    expect((await mine.closed).error).toMatchObject({ errorCode: 77n })
    await expect(theirs.bytes()).rejects.toMatchObject({ code: 'QB_STREAM_RESET', errorCode: 77n })
    await expect(theirs.finished).rejects.toMatchObject({ code: 'QB_STREAM_STOPPED', errorCode: 77n })
    await pair.done()
  })

  it('asks streamCodes both ways, and a callback that throws falls back', async () => {
    const events: string[] = []
    const streamCodes = { toCode: (reason: unknown) => (reason instanceof RangeError ? 9 : Number('nonsense')), toReason: (code: bigint) => `reason ${code}` }
    const pair = await connectedPair({ connect: { streamCodes }, server: { streamCodes } })
    pair.near.events$.subscribe((event) => events.push(event.type))
    const first = await streamPair(pair)
    first.mine.destroy(new RangeError('x'))
    await expect(first.theirs.bytes()).rejects.toMatchObject({ errorCode: 9n, reason: 'reason 9' })
    const second = await streamPair(pair)
    second.mine.destroy(new Error('y'))
    await expect(second.theirs.bytes()).rejects.toMatchObject({ errorCode: 0x10cn })
    expect(events).toContain('callback-failed')
    await pair.done()
  })

  it('errors every open stream when the connection ends, also in order, but keeps complete ones readable', async () => {
    const pair = await connectedPair()
    const { mine, theirs } = await streamPair(pair)
    const whole = await pair.near.openUnidirectional()
    whole.write(pattern(50_000))
    whole.end()
    const reading = codeOf(theirs.bytes())
    const complete = await taken(pair.far.incomingUnidirectional())
    await pair.near.close()
    await pair.far.closed
    expect(await reading).toBe('QB_CONNECTION_CLOSED')
    expect((await mine.closed).error).toMatchObject({ code: 'QB_CONNECTION_CLOSED' })
    expect((await complete.bytes()).length).toBe(50_000)
    await pair.done()
  })

  it('lets go of streams when both parts have ended', async () => {
    const pair = await connectedPair()
    const engine = pair.network.endpoints[1]?.connections.get(1)
    for (let index = 0; index < 30; index++) {
      const { mine, theirs } = await streamPair(pair)
      mine.end()
      theirs.end()
      await Promise.all([mine.bytes(), theirs.bytes()])
    }
    await until(() => [...(engine?.streams.values() ?? [])].every((stream) => stream.released))
    await pair.done()
  })
})

describe('locking', () => {
  it('refuses a second reading style and names the one in use', async () => {
    const pair = await connectedPair()
    const { theirs } = await streamPair(pair)
    expect(theirs.readable).toBe(theirs.readable)
    expect(() => theirs.toReadable()).toThrow(expect.objectContaining({ code: 'QB_STREAM_LOCKED', message: expect.stringContaining('readable') }))
    expect(await codeOf(theirs.bytes())).toBe('QB_STREAM_LOCKED')
    expect(() => theirs[Symbol.asyncIterator]()).toThrow(expect.objectContaining({ code: 'QB_STREAM_LOCKED' }))
    await pair.done()
  })

  it('refuses a second writing style, and toDuplex() takes both sides', async () => {
    const pair = await connectedPair()
    const { mine, theirs } = await streamPair(pair)
    expect(() => mine.writable).toThrow(expect.objectContaining({ code: 'QB_STREAM_LOCKED' }))
    theirs.toDuplex().on('error', () => {})
    expect(() => theirs.readable).toThrow(expect.objectContaining({ code: 'QB_STREAM_LOCKED' }))
    expect(() => theirs.write(Uint8Array.of(1))).toThrow(expect.objectContaining({ code: 'QB_STREAM_LOCKED' }))
    await pair.done()
  })

  it('allows one style for reading and another for writing', async () => {
    const pair = await connectedPair()
    const { mine, theirs } = await streamPair(pair)
    const writer = theirs.writable.getWriter()
    await writer.write(pattern(10))
    await writer.close()
    expect((await mine.bytes()).length).toBe(10)
    expect(await codeOf(mine.bytes())).toBe('QB_STREAM_LOCKED')
    await pair.done()
  })
})

describe('options', () => {
  it('refuses priorities and pins that this engine does not have', async () => {
    const pair = await connectedPair()
    expect(await codeOf(pair.near.openBidirectional({ urgency: 1 }))).toBe('QB_OPTION_INVALID')
    expect(await codeOf(pair.near.openBidirectional({ path: 1 }))).toBe('QB_OPTION_INVALID')
    const stream = await pair.near.openBidirectional({ urgency: 3, incremental: true })
    expect(() => stream.pin(1)).toThrow(expect.objectContaining({ code: 'QB_OPTION_INVALID' }))
    expect(() => stream.setPriority({ urgency: 9 })).toThrow(expect.objectContaining({ code: 'QB_OPTION_INVALID' }))
    expect(() => stream.reset(-1)).toThrow(expect.objectContaining({ code: 'QB_OPTION_INVALID' }))
    await pair.done()
  })
})
