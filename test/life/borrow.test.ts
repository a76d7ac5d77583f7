/** Borrowed views over the native module (streams-over-ring S13): ends with loans out, loans that nobody gives back, threads that end. */
import { fileURLToPath } from 'node:url'
import { Worker } from 'node:worker_threads'
import { afterEach, describe, expect, it } from 'vitest'
import type { BidirectionalStream, Connection } from '../../src/index.ts'
import { BUILT, MODULE_BUILT, PACKAGE } from '../native/built.ts'
import { closeAll, nativePair } from '../native/pair.ts'
import { collect, collectUntil } from './collect.ts'

afterEach(closeAll)

const PROGRAM = fileURLToPath(new URL('borrowing.mjs', import.meta.url))
const WINDOW = 524_288

interface Loan { bytes: Uint8Array; release(): void }

/** A stream on which the far end sends `bytes` of a pattern, as the near end has it. */
async function sending(near: Connection, far: Connection, length: number): Promise<BidirectionalStream> {
  const stream = await near.openBidirectional()
  stream.write(Uint8Array.of(1))
  const theirs = (await far.incomingBidirectional().next()).value as BidirectionalStream
  const bytes = Buffer.alloc(length, 7)
  void (async () => {
    for (let at = 0; at < length; await theirs.ready()) at += theirs.write(bytes.subarray(at, at + 65_536))
    theirs.end()
  })().catch(() => {})
  return stream
}

/** Borrows until a window is out. */
async function borrowWindow(loans: AsyncIterator<Loan>): Promise<Loan[]> {
  const held: Loan[] = []
  for (let out = 0; out < WINDOW;) {
    const loan = (await loans.next()).value as Loan
    held.push(loan)
    out += loan.bytes.length
  }
  return held
}

describe.skipIf(!MODULE_BUILT)('borrowed views', () => {
  it('streams-over-ring S13: carry a stream whole through a few blocks of memory', async () => {
    const { connect } = await nativePair()
    const { near, far } = await connect()
    const stream = await sending(near, far, 20_000_000)
    const memory = new Set<ArrayBufferLike>()
    let total = 0
    let wrong = 0
    for await (const { bytes, release } of stream.borrow()) {
      total += bytes.length
      if (bytes.length >= 4096) memory.add(bytes.buffer)
      for (let at = 0; at < bytes.length; at += 997) if (bytes[at] !== 7) wrong += 1
      release()
    }
    expect([total, wrong]).toEqual([20_000_000, 0])
    expect(memory.size).toBeLessThanOrEqual(8)
  }, 60_000)

  it('streams-over-ring S13: are lent up to a window, and stay as they are when stream, connection and endpoint end', async () => {
    const pair = await nativePair()
    const { near, far } = await pair.connect()
    const stream = await sending(near, far, 8_000_000)
    const loans = stream.borrow()
    const held = await borrowWindow(loans)
    expect(held.reduce((sum, { bytes }) => sum + bytes.length, 0)).toBe(WINDOW)
    const whole = (): boolean => held.every(({ bytes }) => bytes.every((byte) => byte === 7))
    const waiting = loans.next().then(() => 'a piece', (error: { code: string }) => error.code)
    stream.stop()
    expect(await waiting).toBe('QB_STREAM_RESET')
    // Others use the ring meanwhile.
    const other = await sending(near, far, 3_000_000)
    expect((await other.bytes()).length).toBe(3_000_000)
    expect(whole()).toBe(true)
    near.destroy()
    await pair.client.close({ drainMs: 0 })
    await pair.server.close({ drainMs: 0 })
    await collect()
    expect(whole()).toBe(true)
    for (const { release } of held) release()
    for (const { release } of held) release()
  }, 60_000)

  it('streams-over-ring S13: give their credit back when they are collected, and their memory is not used again while a part is in sight', async () => {
    const { connect } = await nativePair()
    const { near, far } = await connect()
    const stream = await sending(near, far, 1_500_000)
    const loans = stream.borrow()
    const parts: Uint8Array[] = []
    let total = 0
    const take = async (): Promise<boolean> => {
      const { value, done } = await loans.next()
      if (done === true) return false
      total += value.bytes.length
      parts.push(value.bytes.subarray(0, 100))
      return true
    }
    let over = false
    void (async () => {
      while (await take());
      over = true
    })()
    await collectUntil(() => over, 'the end of a stream whose loans nobody gives back')
    expect(total).toBe(1_500_000)
    expect((await (await sending(near, far, 2_000_000)).bytes()).length).toBe(2_000_000)
    expect(parts.every((part) => part.every((byte) => byte === 7))).toBe(true)
  }, 60_000)
})

describe.skipIf(!BUILT)('threads with borrowed views', () => {
  it.each(['terminate', 'exit', 'throw', 'close'])('streams-over-ring S13, attack I6: end by %s with loans out', async (how) => {
    for (const afterMs of [0, 10, 40]) {
      const worker = new Worker(PROGRAM, { workerData: { package: PACKAGE, how, afterMs } })
      const gone = new Promise((resolve) => worker.once('exit', resolve))
      worker.on('error', () => {})
      await new Promise((resolve) => {
        worker.once('message', resolve)
        worker.once('exit', resolve)
      })
      if (how === 'terminate') {
        await new Promise((resolve) => setTimeout(resolve, afterMs))
        await worker.terminate()
      }
      await gone
    }
  }, 120_000)
})
