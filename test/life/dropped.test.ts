/** Stream handles that JavaScript drops (mux R40, R43; attacks I3, I7): their streams end, and nobody who waits loses one. */
import { afterEach, describe, expect, it } from 'vitest'
import type { BidirectionalStream, Connection, ReceiveStream } from '../../src/index.ts'
import { MODULE_BUILT } from '../native/built.ts'
import { closeAll, nativePair, until } from '../native/pair.ts'
import type { NativePair } from '../native/pair.ts'
import { collect, collectUntil } from './collect.ts'

afterEach(closeAll)

const CANCEL = 0x10cn

interface Dropped { id: bigint; code: bigint }

/** Connected, with what each end told of dropped streams. */
async function watched(options: Parameters<typeof nativePair>[0] = {}): Promise<{ near: Connection; far: Connection; dropped: Dropped[]; pair: NativePair }> {
  const pair = await nativePair(options)
  const { near, far } = await pair.connect()
  const dropped: Dropped[] = []
  for (const connection of [near, far]) connection.events$.subscribe((event) => { if (event.type === 'stream-dropped') dropped.push({ id: event.id, code: event.code }) })
  return { near, far, dropped, pair }
}

/** What a use of a stream leaves behind must not hold it: a call of its own. */
async function opened(near: Connection, use: (stream: BidirectionalStream) => unknown): Promise<void> {
  const stream = await near.openBidirectional()
  await use(stream)
}

/** The same with a stream of the peer's, which says three bytes; what the peer has of it. */
async function taken(near: Connection, far: Connection, use: (stream: BidirectionalStream) => unknown): Promise<BidirectionalStream> {
  const theirs = await far.openBidirectional()
  theirs.write(Uint8Array.of(1, 2, 3))
  await (async () => use(await first(near)))()
  return theirs
}

async function first(far: Connection): Promise<BidirectionalStream> {
  return (await far.incomingBidirectional().next()).value as BidirectionalStream
}

/** Writes until nothing is taken any more. */
async function fill(stream: BidirectionalStream): Promise<void> {
  for (let idle = 0; idle < 20; await new Promise((resolve) => setTimeout(resolve, 5))) idle = stream.write(Buffer.alloc(65_536)) > 0 ? 0 : idle + 1
}

describe.skipIf(!MODULE_BUILT)('a stream whose handle is dropped', () => {
  /** mux R40. */
  it('is reset and stopped with the cancel code, and its connection tells once', async () => {
    const { near, far, dropped } = await watched()
    const theirs = await taken(near, far, () => {})
    const reading = theirs.bytes().catch((error: unknown) => error)
    const writing = theirs.finished.catch((error: unknown) => error)
    await collectUntil(() => dropped.length > 0, 'dropped')
    expect([await reading, await writing]).toEqual([
      expect.objectContaining({ code: 'QB_STREAM_RESET', by: 'peer', errorCode: CANCEL }),
      expect.objectContaining({ code: 'QB_STREAM_STOPPED', by: 'peer', errorCode: CANCEL }),
    ])
    await collect()
    expect(dropped).toEqual([{ id: theirs.id, code: CANCEL }])
  })

  const faces: [string, (stream: BidirectionalStream) => unknown][] = [
    ['readable', (stream) => stream.readable],
    ['a reader', (stream) => stream.readable.getReader()],
    ['writable', (stream) => stream.writable],
    ['a writer', (stream) => stream.writable.getWriter()],
    ['toDuplex()', (stream) => stream.toDuplex().on('error', () => {})],
    ['toReadable()', (stream) => stream.toReadable().on('error', () => {})],
    ['toWritable()', (stream) => stream.toWritable().on('error', () => {})],
    ['an iterator', (stream) => stream[Symbol.asyncIterator]()],
  ]

  it.each(faces)('ends although there was %s of it', async (_name, use) => {
    const { near, far, dropped } = await watched()
    const theirs = await taken(near, far, (stream) => void use(stream))
    await collectUntil(() => dropped.length > 0, 'dropped')
    await expect(theirs.bytes()).rejects.toMatchObject({ code: 'QB_STREAM_RESET' })
  })

  it.each(faces)('lives while %s of it is held', async (_name, use) => {
    const { near, far, dropped } = await watched()
    const held: unknown[] = []
    const theirs = await taken(near, far, (stream) => void held.push(use(stream)))
    await collect(4)
    expect(dropped).toEqual([])
    held.length = 0
    await collectUntil(() => dropped.length > 0, 'dropped')
    expect(dropped).toEqual([{ id: theirs.id, code: CANCEL }])
  })

  /** What each waits for comes when the peer answers, long after the last handle has gone. */
  const waits: [string, (stream: BidirectionalStream) => Promise<unknown>][] = [
    ['bytes()', async (stream) => asked(stream) && text(await stream.bytes())],
    ['a read', async (stream) => asked(stream) && text((await stream.readable.getReader().read()).value as Uint8Array)],
    ['a batch', async (stream) => asked(stream) && text(...((await stream[Symbol.asyncIterator]().next()).value ?? []))],
    ['data of a Readable', async (stream) => asked(stream) && new Promise((resolve) => stream.toReadable().on('error', () => {}).on('data', (piece: Buffer) => resolve(text(piece))))],
    ['data of a Duplex', async (stream) => new Promise((resolve) => {
      const duplex = stream.toDuplex().on('error', () => {})
      duplex.write('?')
      duplex.on('data', (piece: Buffer) => resolve(text(piece)))
    })],
  ]

  it.each(waits)('lives while somebody waits for %s', async (_name, use) => {
    const { near, far, dropped } = await watched()
    const answers: unknown[] = []
    await opened(near, (stream) => void use(stream).then((answer) => answers.push(answer)))
    const theirs = await first(far)
    await collect(4)
    expect(dropped).toEqual([])
    theirs.write(Buffer.from('answer'))
    theirs.end()
    await until(() => answers.length > 0)
    expect(answers).toEqual(['answer'])
  })

  it('lives while somebody waits for closed, finished or ready()', async () => {
    const { near, far, dropped } = await watched({ server: { limits: { streamWindowBytes: 16_384 } } })
    const done: string[] = []
    await opened(near, (stream) => void (asked(stream) && stream.closed.then(() => done.push('closed'))))
    await opened(near, (stream) => void (asked(stream) && stream.finished.catch(() => done.push('finished'))))
    await opened(near, async (stream) => {
      await fill(stream)
      void stream.ready().then(() => done.push('ready'))
    })
    const incoming = far.incomingBidirectional()
    const theirs: BidirectionalStream[] = []
    for (let index = 0; index < 3; index++) theirs.push((await incoming.next()).value as BidirectionalStream)
    await collect(4)
    expect([dropped, done]).toEqual([[], []])
    theirs[0]?.destroy()
    theirs[1]?.destroy()
    void theirs[2]?.toReadable().on('error', () => {}).resume()
    await until(() => done.includes('finished') && done.includes('ready'))
    // The first was only waited for: its own sending part was stopped, so it is over.
    await until(() => done.includes('closed'))
  })

  it('is noticed too when something was waited for before', async () => {
    const { near, far, dropped } = await watched()
    const theirs = await far.openBidirectional()
    theirs.write(Uint8Array.of(1, 2, 3))
    theirs.end()
    await (async () => {
      const stream = await first(near)
      await stream.ready()
      await stream.bytes()
    })()
    await collectUntil(() => dropped.length > 0, 'dropped')
    await expect(theirs.bytes()).rejects.toMatchObject({ code: 'QB_STREAM_RESET', errorCode: CANCEL })
  })

  it('leaves what was ended alone: all bytes arrive', async () => {
    const { near, far, dropped } = await watched()
    await (async () => {
      const stream = await near.openUnidirectional()
      for (let left = 200_000; left > 0; await stream.ready()) left -= stream.write(new Uint8Array(Math.min(left, 65_536)))
      stream.end()
    })()
    await collect(4)
    const theirs = (await far.incomingUnidirectional().next()).value as ReceiveStream
    expect((await theirs.bytes()).length).toBe(200_000)
    expect(dropped).toEqual([])
  })

  /** mux R43: the peer can open more only when handles of ended streams have gone. */
  it('gives the peer its credit back', async () => {
    const { near, far, dropped } = await watched({ server: { limits: { bidirectionalStreams: 8 } } })
    void (async () => {
      // Takes each and does nothing with it.
      for await (const stream of far.incomingBidirectional()) void stream.id
    })()
    let opened = 0
    void (async () => {
      for (; opened < 100; opened++) {
        const stream = await near.openBidirectional()
        stream.write(Uint8Array.of(1))
        stream.closed.catch(() => {})
      }
    })()
    await until(() => opened === 8)
    await collectUntil(() => opened === 100, 'a hundred streams through a limit of eight')
    expect(dropped.length).toBeGreaterThan(80)
  })
})

function asked(stream: BidirectionalStream): boolean {
  return stream.write(Uint8Array.of(63)) === 1
}

function text(...pieces: Uint8Array[]): string {
  return Buffer.concat(pieces).toString()
}
