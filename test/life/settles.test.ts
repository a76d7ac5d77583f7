/** Connection ends (mux R44): one of each promise that can be pending is held, the connection ends in each way, and all settle. */
import { describe, expect, it } from 'vitest'
import type { BidirectionalStream, Connection } from '../../src/index.ts'
import { isQuicbraidError } from '../../src/index.ts'
import { World } from '../../src/sim/index.ts'
import { MODULE_BUILT } from '../native/built.ts'
import { withPair } from '../sim/programs.ts'
import type { Connected } from '../sim/programs.ts'
import { Outcome } from './model.ts'

const LIMITS = { bidirectionalStreams: 9, unidirectionalStreams: 1, idleTimeoutMs: 3000, streamWindowBytes: 16_384, connectionWindowBytes: 65_536 }

interface Completing {
  subscribe(observer: { complete(): void }): unknown
}

/** Each promise of a connection that only its end settles. */
async function pendings({ world, near, far }: Connected): Promise<Outcome<unknown>[]> {
  const held: Outcome<unknown>[] = []
  const hold = (what: string, promise: Promise<unknown>): void => void held.push(new Outcome(what, promise))
  const streams: BidirectionalStream[] = []
  for (let count = 0; count < LIMITS.bidirectionalStreams; count++) {
    const stream = await near.openBidirectional()
    streams.push(stream)
    hold('stream.closed', stream.closed)
    hold('stream.finished', stream.finished)
  }
  const [reads, byob, batch, whole, ready, web, duplex, readable, writable] = streams as [BidirectionalStream, BidirectionalStream, BidirectionalStream, BidirectionalStream, BidirectionalStream, BidirectionalStream, BidirectionalStream, BidirectionalStream, BidirectionalStream]
  const reader = reads.readable.getReader()
  hold('reader.read()', reader.read())
  hold('reader.closed', reader.closed)
  const lending = byob.readable.getReader({ mode: 'byob' } as never) as unknown as { read(view: Uint8Array): Promise<unknown> }
  hold('read into a view', lending.read(new Uint8Array(100)))
  hold('batch', batch[Symbol.asyncIterator]().next())
  hold('bytes()', whole.bytes())
  for (let round = 0; round < 20; round++) {
    while (ready.write(Buffer.alloc(300_000)) > 0);
    await world.sleep(10)
  }
  hold('ready()', ready.ready())
  const writer = web.writable.getWriter()
  writer.write(Buffer.alloc(1_000_000)).catch(() => {})
  hold('writer.write()', writer.write(Buffer.alloc(1_000_000)))
  hold('writer.closed', writer.closed)
  hold('duplex', new Promise((resolve) => duplex.toDuplex().on('error', () => {}).on('close', () => resolve(null))))
  hold('Readable', new Promise((resolve) => readable.toReadable().on('error', () => {}).on('close', () => resolve(null)).resume()))
  hold('Writable', new Promise((resolve) => {
    const node = writable.toWritable().on('error', () => {}).on('close', () => resolve(null))
    node.write(Buffer.alloc(1_000_000))
  }))
  hold('openBidirectional()', near.openBidirectional())
  hold('openUnidirectional()', near.openUnidirectional().then(() => near.openUnidirectional()))
  for (const [name, connection] of [['near', near], ['far', far]] as [string, Connection][]) {
    hold(`${name} incomingUnidirectional`, exhausted(connection.incomingUnidirectional()))
    hold(`${name} incomingBidirectional`, exhausted(connection.incomingBidirectional()))
    hold(`${name} datagrams`, name === 'near' ? exhausted(connection.datagrams.batches()) : connection.datagrams.readable.getReader().read())
    hold(`${name} paths`, connection.paths.ready({ count: 3, timeoutMs: 3_000_000 }))
    hold(`${name} closed`, connection.closed)
    const feeds: Record<string, Completing> = { events$: connection.events$, metrics$: connection.metrics$, handshake$: connection.handshake$, paths$: connection.paths.events$, all$: connection.paths.all$, trace$: connection.bursts.trace$, status$: connection.datagrams.status$ }
    for (const [feed, values$] of Object.entries(feeds)) {
      hold(`${name} ${feed}`, new Promise((resolve) => values$.subscribe({ complete: () => resolve(null) })))
    }
  }
  return held
}

async function exhausted(supply: AsyncIterable<unknown>): Promise<void> {
  for await (const one of supply) void one
}

const ENDS: Record<string, (pair: Connected) => unknown> = {
  'close()': ({ near }) => near.close({ drainMs: 100 }),
  'close() at the other end': ({ far }) => far.close({ code: 3, drainMs: 100 }),
  'close() at both ends': ({ near, far }) => Promise.all([near.close({ drainMs: 100 }), far.close({ drainMs: 100 })]),
  'destroy()': ({ near }) => near.destroy(new Error('on purpose')),
  'destroy() at the other end': ({ far }) => far.destroy(),
  'close() of the endpoint': ({ atClient }) => atClient.close({ drainMs: 100 }),
  'destroy() of the endpoint': ({ atClient }) => atClient.destroy(),
  'destroy() of the other endpoint': ({ atServer }) => atServer.destroy(),
  'a crash of the other host': ({ server }) => server.crash(),
  'a dead link': ({ links }) => { for (const link of links) link.set({ loss: 1 }) },
}

describe.skipIf(!MODULE_BUILT)('every promise settles when the connection ends', () => {
  it.each(Object.entries(ENDS))('by %s', async (_how, end) => {
    const pair = World.pair([{ delayMs: 5 }])
    const held = await withPair(pair, async (connected) => {
      const { world, near, far } = connected
      await near.confirmed
      const promises = await pendings(connected)
      await world.sleep(200)
      const early = promises.filter(({ state }) => state !== 'pending').map(({ what }) => what)
      expect(early).toEqual([])
      promises.push(new Outcome('ping', near.ping()))
      await end(connected)
      await Promise.all([near.closed, far.closed])
      await world.sleep(100)
      return promises
    }, { limits: LIMITS }, { limits: LIMITS })
    await pair.world.close()
    expect(held.filter(({ state }) => state === 'pending').map(({ what }) => what)).toEqual([])
    for (const { what, state, error } of held) if (state === 'rejected') expect(isQuicbraidError(error), `${what}: ${String(error)}`).toBe(true)
  })
})
