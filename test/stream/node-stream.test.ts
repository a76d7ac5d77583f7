import { once } from 'node:events'
import { pipeline } from 'node:stream/promises'
import { PassThrough, Readable } from 'node:stream'
import { describe, expect, it } from 'vitest'
import { connectedPair, pattern, streamPair, taken, turn, turns, until, watchContract } from '../fake/pair.ts'

watchContract()

describe('toDuplex', () => {
  it('echoes ten megabytes unharmed', async () => {
    const pair = await connectedPair()
    const stream = await pair.near.openBidirectional()
    const duplex = stream.toDuplex().on('error', ignore)
    const sent = pattern(10_000_000)
    const echo = taken(pair.far.incomingBidirectional()).then((incoming) => {
      const other = incoming.toDuplex().on('error', ignore)
      return pipeline(other, new PassThrough(), other)
    })
    const received: Buffer[] = []
    duplex.on('data', (chunk: Buffer) => received.push(chunk))
    await pipeline(Readable.from(pieces(sent, 65_536)), duplex)
    await echo
    if (!duplex.readableEnded) await once(duplex, 'end')
    expect(Buffer.concat(received).equals(sent)).toBe(true)
    await pair.done()
  })

  it('stays half open: reading goes on after end()', async () => {
    const pair = await connectedPair()
    const near = (await pair.near.openBidirectional()).toDuplex().on('error', ignore)
    near.end('question')
    const answers: string[] = []
    near.on('data', (chunk: Buffer) => answers.push(String(chunk)))
    const ended = once(near, 'end')
    const far = (await taken(pair.far.incomingBidirectional())).toDuplex().on('error', ignore)
    const chunks: string[] = []
    far.on('data', (chunk: Buffer) => chunks.push(String(chunk)))
    await once(far, 'end')
    far.end('answer')
    await ended
    expect([chunks.join(''), answers.join('')]).toEqual(['question', 'answer'])
    await pair.done()
  })

  it('stops taking bytes when nobody reads, and the sender feels it', async () => {
    const pair = await connectedPair({ server: { limits: { streamWindowBytes: 300_000 } } })
    const near = (await pair.near.openBidirectional()).toDuplex().on('error', ignore)
    let accepted = 0
    let blocked = false
    while (!blocked) {
      blocked = !near.write(pattern(50_000, accepted))
      accepted += 50_000
      await turns(10)
      if (accepted > 5_000_000) throw new Error('no back-pressure')
    }
    const far = await taken(pair.far.incomingBidirectional())
    const duplex = far.toDuplex().on('error', ignore)
    await turns(20)
    expect(duplex.readableLength).toBeLessThanOrEqual(262_144 + 65_536)
    const drained = once(near, 'drain')
    let received = 0
    duplex.on('data', (chunk: Buffer) => (received += chunk.length))
    await drained
    await until(() => received === accepted)
    await pair.done()
  })

  it('calls back writes in the turn they were accepted in', async () => {
    const pair = await connectedPair()
    const duplex = (await pair.near.openBidirectional()).toDuplex().on('error', ignore)
    let written = false
    duplex.write(pattern(1000), () => (written = true))
    await Promise.resolve()
    await new Promise((resolve) => process.nextTick(resolve))
    expect(written).toBe(true)
    await pair.done()
  })

  it('yields after a megabyte in one turn', async () => {
    const pair = await connectedPair({ connect: { limits: { sendBufferBytes: 64 * 1_048_576, connectionSendBufferBytes: 64 * 1_048_576 } } })
    const duplex = (await pair.near.openBidirectional()).toDuplex({ writableHighWaterMark: 1024 * 1024 * 1024 }).on('error', ignore)
    let done = 0
    for (let index = 0; index < 64; index++) duplex.write(pattern(65_536), () => (done += 1))
    await new Promise((resolve) => process.nextTick(resolve))
    await Promise.resolve()
    expect(done).toBeLessThan(64)
    await until(() => done === 64)
    await pair.done()
  })

  it('is destroyed with the reset of the peer', async () => {
    const pair = await connectedPair()
    const { mine, theirs } = await streamPair(pair)
    const duplex = theirs.toDuplex().on('error', ignore)
    const failed = once(duplex, 'error')
    duplex.resume()
    mine.reset(5)
    expect(((await failed) as unknown[])[0]).toMatchObject({ code: 'QB_STREAM_RESET', errorCode: 5n })
    expect(duplex.destroyed).toBe(true)
    await expect(mine.finished).rejects.toMatchObject({ code: 'QB_STREAM_RESET' })
    await pair.done()
  })

  it('resets and stops when destroyed with an error', async () => {
    const pair = await connectedPair()
    const { mine, theirs } = await streamPair(pair)
    const duplex = theirs.toDuplex().on('error', ignore)
    duplex.destroy(new Error('enough'))
    await expect(mine.finished).rejects.toMatchObject({ code: 'QB_STREAM_STOPPED', errorCode: 0x10cn })
    await expect(mine.bytes()).rejects.toMatchObject({ code: 'QB_STREAM_RESET', errorCode: 0x10cn })
    await pair.done()
  })

  it('does not reset what was ended when it closes by itself', async () => {
    const pair = await connectedPair()
    const near = await pair.near.openBidirectional()
    const duplex = near.toDuplex().on('error', ignore)
    duplex.resume()
    duplex.end(pattern(100))
    const far = await taken(pair.far.incomingBidirectional())
    expect((await far.bytes()).length).toBe(100)
    far.end()
    await once(duplex, 'close')
    await near.finished
    expect(await near.closed).toEqual({ error: null })
    await pair.done()
  })

  it('lets a data handler throw without hurting other streams', async () => {
    const pair = await connectedPair()
    const [one, two] = [await streamPair(pair), await streamPair(pair)]
    const before = process.listeners('uncaughtException')
    process.removeAllListeners('uncaughtException')
    const thrown: unknown[] = []
    const note = (error: Error): void => void thrown.push(error)
    process.on('uncaughtException', note)
    one.theirs.toDuplex().on('error', ignore).once('data', () => {
      throw new Error('handler')
    })
    const reading = two.theirs.bytes()
    two.mine.end()
    one.mine.write(pattern(10))
    await until(() => thrown.length > 0)
    process.off('uncaughtException', note)
    for (const listener of before) process.on('uncaughtException', listener)
    expect(thrown[0]).toMatchObject({ message: 'handler' })
    expect((await reading).length).toBe(1)
    await pair.done()
  })
})

describe('a sending part that fails', () => {
  it('destroys a Writable at once, a Duplex only when nothing is left to read', async () => {
    const pair = await connectedPair()
    const writable = (await pair.near.openUnidirectional()).toWritable()
    writable.write(pattern(10))
    const failed = once(writable, 'error')
    ;(await taken(pair.far.incomingUnidirectional())).stop(4)
    expect(((await failed) as unknown[])[0]).toMatchObject({ code: 'QB_STREAM_STOPPED', errorCode: 4n })
    const { mine, theirs } = await streamPair(pair)
    const duplex = theirs.toDuplex().on('error', ignore)
    const received: Buffer[] = []
    duplex.on('data', (chunk: Buffer) => received.push(chunk))
    mine.stop()
    await turns(10)
    mine.write(pattern(5))
    await until(() => Buffer.concat(received).length === 6)
    expect(duplex.destroyed).toBe(false)
    const error = once(duplex, 'error')
    duplex.write(pattern(1))
    expect(((await error) as unknown[])[0]).toMatchObject({ code: 'QB_STREAM_STOPPED' })
    await pair.done()
  })
})

describe('toReadable and toWritable', () => {
  it('carry one direction', async () => {
    const pair = await connectedPair()
    const writable = (await pair.near.openUnidirectional()).toWritable()
    writable.end(pattern(300_000))
    const readable = (await taken(pair.far.incomingUnidirectional())).toReadable()
    let total = 0
    for await (const chunk of readable) total += (chunk as unknown as Buffer).length
    expect(total).toBe(300_000)
    await pair.done()
  })

  it('give pieces of at least 40 KiB in bulk', async () => {
    const pair = await connectedPair()
    const writable = (await pair.near.openUnidirectional()).toWritable()
    writable.write(pattern(2_000_000))
    const readable = (await taken(pair.far.incomingUnidirectional())).toReadable()
    let pieces = 0
    readable.on('data', () => (pieces += 1))
    writable.end()
    await once(readable, 'end')
    expect(2_000_000 / pieces).toBeGreaterThan(40_960)
    await turn()
    await pair.done()
  })
})

/** These tests end by destroying connections; that is no failure of theirs. */
function ignore(): void {}

function* pieces(bytes: Buffer, size: number): Generator<Buffer> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size)
}
