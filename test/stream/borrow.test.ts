/** Reading by borrowed views (streams-over-ring S13), over the fake engine. */
import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { AHEAD_BYTES } from '../../src/binding/native.ts'
import { codeOf, connectedPair, pattern, streamPair, taken, turns, until, watchContract } from '../fake/pair.ts'
import type { Pair } from '../fake/pair.ts'
import type { ReceiveStream, SendStream } from '../../src/stream/index.ts'

watchContract()

type Loan = { bytes: Uint8Array; release(): void }

async function sentBy(pair: Pair, bytes: Uint8Array): Promise<SendStream> {
  const stream = await pair.near.openUnidirectional()
  void (async () => {
    for (let at = 0; at < bytes.length; await stream.ready()) at += stream.write(bytes.subarray(at, at + 65_536))
    stream.end()
  })().catch(() => {})
  return stream
}

async function received(pair: Pair): Promise<ReceiveStream> {
  return taken(pair.far.incomingUnidirectional())
}

describe('borrow()', () => {
  it('hands out every byte once and in order, and ends', async () => {
    const pair = await connectedPair()
    const sent = pattern(1_500_000)
    const writer = await sentBy(pair, sent)
    const stream = await received(pair)
    const got: Buffer[] = []
    for await (const { bytes, release } of stream.borrow()) {
      got.push(Buffer.from(bytes))
      release()
    }
    expect(Buffer.concat(got).equals(sent)).toBe(true)
    await writer.finished
    expect(await stream.closed).toEqual({ error: null })
    await pair.done()
  })

  it('lends exactly a window, then waits for what comes back, byte for byte', async () => {
    const pair = await connectedPair({ server: { limits: { streamWindowBytes: 4_194_304 } } })
    await sentBy(pair, pattern(3_000_000))
    const loans = (await received(pair)).borrow()
    const held: Loan[] = []
    const take = async (): Promise<boolean> => {
      let value: Loan | undefined
      loans.next().then((result) => { value = result.value }, () => {})
      await turns(20)
      if (value !== undefined) held.push(value)
      return value !== undefined
    }
    while (await take());
    const out = (): number => held.reduce((sum, { bytes }) => sum + bytes.length, 0)
    expect(out()).toBe(AHEAD_BYTES)
    const first = held.shift()
    const length = first?.bytes.length ?? 0
    first?.release()
    first?.release()
    // The call that waited gets it; nobody sees that here but by what is out.
    await turns(20)
    while (await take());
    expect(out()).toBeLessThanOrEqual(AHEAD_BYTES)
    expect(out()).toBeGreaterThanOrEqual(AHEAD_BYTES - length)
    await pair.done()
  })

  it('does not touch what is lent, whatever comes or ends meanwhile', async () => {
    const pair = await connectedPair()
    const sent = pattern(2_000_000)
    await sentBy(pair, sent)
    const other = await sentBy(pair, pattern(800_000, 5))
    const stream = await received(pair)
    const loans = stream.borrow()
    const { value } = await loans.next()
    const copy = Buffer.from(value?.bytes ?? [])
    expect(copy.length).toBeGreaterThan(0)
    expect((await (await received(pair)).bytes()).length).toBe(800_000)
    await other.finished
    expect(copy.equals(value?.bytes ?? Buffer.alloc(0))).toBe(true)
    await loans.return?.()
    await turns(2)
    expect(stream.state).toBe('closed')
    pair.network.endpoints[0]?.breakDown()
    await pair.done()
    expect(copy.equals(value?.bytes ?? Buffer.alloc(0))).toBe(true)
    value?.release()
    value?.release()
  })

  it('stops the stream when the loop is left, and rejects who waits when it fails', async () => {
    const pair = await connectedPair()
    const { mine, theirs } = await streamPair(pair)
    for await (const loan of theirs.borrow()) {
      loan.release()
      break
    }
    await expect(mine.finished).rejects.toMatchObject({ code: 'QB_STREAM_STOPPED', errorCode: 0x10cn })
    const second = await streamPair(pair)
    const loans = second.theirs.borrow()
    ;(await loans.next()).value?.release()
    const waiting = codeOf(loans.next())
    second.mine.reset(3)
    expect(await waiting).toBe('QB_STREAM_RESET')
    expect(await codeOf(loans.next())).toBe('QB_STREAM_RESET')
    await pair.done()
  })

  it('waits under a signal without losing a byte', async () => {
    const pair = await connectedPair()
    const { mine, theirs } = await streamPair(pair)
    const leaving = new AbortController()
    const hasty = theirs.borrow({ signal: leaving.signal })
    ;(await hasty.next()).value?.release()
    const given = hasty.next()
    leaving.abort(new Error('enough'))
    await expect(given).rejects.toThrow('enough')
    await expect(hasty.next()).rejects.toThrow('enough')
    mine.write(pattern(10))
    const { value } = await theirs.borrow().next()
    expect(Buffer.from(value?.bytes ?? []).equals(pattern(10))).toBe(true)
    await pair.done()
  })

  it('locks reading, and hands out what came before it', async () => {
    const pair = await connectedPair()
    const { mine, theirs } = await streamPair(pair)
    mine.write(pattern(100_000))
    mine.end()
    await until(() => theirs.bytesReceived === 100_001)
    const loans = theirs.borrow()
    expect(() => theirs.readable).toThrow(expect.objectContaining({ code: 'QB_STREAM_LOCKED' }))
    let length = 0
    for await (const loan of loans) {
      length += loan.bytes.length
      loan.release()
    }
    expect(length).toBe(100_001)
    await pair.done()
  })

  it('model: any order of reading, giving back, leaving and ends gives each byte once, at most a window at a time, and stale views stay as they were', async () => {
    const step = fc.oneof(fc.constantFrom('next', 'next', 'next', 'turn', 'other'), fc.nat())
    const scenario = fc.record({ length: fc.integer({ min: 0, max: 2_000_000 }), steps: fc.array(step, { maxLength: 60 }), end: fc.constantFrom('read', 'leave', 'reset', 'close', 'break') })
    await fc.assert(fc.asyncProperty(scenario, async ({ length, steps, end }) => {
      const pair = await connectedPair({ server: { limits: { streamWindowBytes: 1_048_576 } } })
      const sent = pattern(length)
      const writer = await sentBy(pair, sent)
      if (length === 0) writer.end()
      const stream = await received(pair)
      const loans = stream.borrow()
      const held: (Loan & { at: number })[] = []
      let at = 0
      let waiting = false
      const part = { over: false }
      const note = ({ value, done }: IteratorResult<Loan, undefined>): void => {
        waiting = false
        if (done === true) return void (part.over = true)
        held.push({ ...value, at })
        at += value.bytes.length
        return undefined
      }
      const next = (): void => {
        if (waiting || part.over) return
        waiting = true
        loans.next().then(note, () => { part.over = true; waiting = false })
      }
      const check = (): void => {
        expect(held.reduce((sum, { bytes }) => sum + bytes.length, 0)).toBeLessThanOrEqual(AHEAD_BYTES)
        for (const one of held) expect(Buffer.compare(one.bytes, sent.subarray(one.at, one.at + one.bytes.length))).toBe(0)
      }
      for (const it of steps) {
        if (it === 'next') next()
        else if (it === 'turn') await turns(2)
        else if (it === 'other') await sentBy(pair, pattern(90_000, 3))
        else if (typeof it === 'number') {
          const [one] = held.splice(it % Math.max(1, held.length), 1)
          one?.release()
          if (it % 3 === 0) one?.release()
        }
        check()
      }
      if (end === 'leave') await loans.return?.()
      if (end === 'reset') writer.reset(1)
      if (end === 'close') void pair.far.close({ drainMs: 0 })
      if (end === 'break') pair.network.endpoints[0]?.breakDown()
      if (end === 'read') {
        while (!part.over) {
          next()
          await turns(1)
          for (const one of held.splice(0)) one.release()
        }
        expect(at).toBe(length)
      } else {
        next()
        await turns(20)
        check()
      }
      await pair.done()
      check()
      for (const one of held) one.release()
    }), { numRuns: 60 })
  }, 120_000)
})
