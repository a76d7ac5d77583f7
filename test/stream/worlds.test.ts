/** Clauses of the streams' contract (docs/spec/api.md §2.4) that need a network to be seen: simulated worlds, in virtual time. */
import { describe, expect, it } from 'vitest'
import type { BidirectionalStream, ReceiveStream, SendStream } from '../../src/index.ts'
import { MODULE_BUILT } from '../native/built.ts'
import { connected } from '../sim/programs.ts'

describe.skipIf(!MODULE_BUILT)('a stream', () => {
  it('is finished when its FIN is acknowledged, not when it is sent or read', async () => {
    await connected([{ delayMs: 50 }], async ({ world, near, far, links }) => {
      await near.confirmed
      await world.sleep(500)
      const stream = await near.openUnidirectional()
      let finishedAt: number | null = null
      void stream.finished.then(() => { finishedAt = world.nowMs })
      links[0]?.cut('b-to-a')
      stream.write(Buffer.from('all of it'))
      stream.end()
      const bytes = await ((await far.incomingUnidirectional().next()).value as ReceiveStream).bytes()
      await world.sleep(300)
      expect([Buffer.from(bytes).toString(), finishedAt]).toEqual(['all of it', null])
      const restored = world.nowMs
      links[0]?.restore()
      await stream.finished
      expect(finishedAt ?? 0).toBeGreaterThanOrEqual(restored + 50)
      expect(await stream.closed).toEqual({ error: null })
    })
  })

  it('of more urgency arrives first, whatever the order of writing; equals share, or take turns', async () => {
    await connected([{ delayMs: 10, rateBitsPerSec: 5e6 }], async ({ near, far }) => {
      await near.confirmed
      const LENGTH = 200_000
      const order: string[] = []
      const names = new Map<bigint, string>()
      const writing = async (name: string, urgency: number, incremental: boolean): Promise<SendStream> => {
        const stream = await near.openUnidirectional({ urgency, incremental })
        names.set(stream.id, name)
        stream.write(new Uint8Array(LENGTH))
        stream.end()
        return stream
      }
      const ends: Promise<unknown>[] = []
      const reading = (async () => {
        for await (const stream of far.incomingUnidirectional()) {
          ends.push(stream.bytes().then(() => order.push(names.get(stream.id) ?? '?')))
          if (ends.length === 4) return
        }
      })()
      const last = await writing('idle', 7, true)
      await writing('first in turn', 3, false)
      const second = await writing('second in turn', 7, false)
      await writing('urgent', 0, true)
      second.setPriority({ urgency: 3, incremental: false })
      expect(last.bytesWritten).toBe(LENGTH)
      await reading
      await Promise.all(ends)
      expect(order).toEqual(['urgent', 'first in turn', 'second in turn', 'idle'])
    }, {}, { limits: { sendBufferBytes: 300_000 } })
  })

  it('takes writes of nothing without a packet, at any time, and a list in one call', async () => {
    await connected([{ delayMs: 10 }], async ({ world, near, far }) => {
      await near.confirmed
      await world.sleep(500)
      const stream = await near.openBidirectional()
      await world.sleep(500)
      const before = near.statistics().packetsSent
      for (let count = 0; count < 100; count++) expect(stream.write(count % 2 === 0 ? new Uint8Array(0) : [new Uint8Array(0), new Uint8Array(0)])).toBe(0)
      await world.sleep(200)
      expect(near.statistics().packetsSent).toBe(before)
      expect(stream.write([Buffer.from('a'), new Uint8Array(0), Buffer.from('bc')])).toBe(3)
      stream.end()
      const theirs = (await far.incomingBidirectional().next()).value as BidirectionalStream
      expect(Buffer.from(await theirs.bytes()).toString()).toBe('abc')
      // Half open: the other way goes on, also with nothing but an end.
      expect([stream.state, theirs.state]).toEqual(['half-local', 'half-remote'])
      theirs.end()
      expect((await stream.bytes()).length).toBe(0)
      expect([await stream.closed, await theirs.closed]).toEqual([{ error: null }, { error: null }])
    })
  })

  it('waits to be opened while the peer\'s limit is reached; who gives up leaves the next in line', async () => {
    await connected([{ delayMs: 10 }], async ({ world, near, far }) => {
      const incoming = far.incomingUnidirectional()
      const held: SendStream[] = []
      for (let count = 0; count < 100; count++) held.push(await near.openUnidirectional())
      const [abort, reason] = [new AbortController(), new Error('no patience')]
      const waiting = [near.openUnidirectional(), near.openUnidirectional({ signal: abort.signal }), near.openUnidirectional()]
      const states = ['waits', 'waits', 'waits']
      for (const [index, opening] of waiting.entries()) opening.then(() => { states[index] = 'open' }, () => { states[index] = 'gone' })
      await world.sleep(1000)
      expect(states).toEqual(['waits', 'waits', 'waits'])
      abort.abort(reason)
      await expect(waiting[1]).rejects.toBe(reason)
      for (const stream of held.slice(0, 60)) {
        stream.end()
        await ((await incoming.next()).value as ReceiveStream).bytes()
      }
      await world.sleep(1000)
      expect(states).toEqual(['open', 'gone', 'open'])
      expect((await Promise.all([waiting[0], waiting[2]])).map((stream) => stream?.id)).toEqual([402n, 406n])
    })
  })

  it('ended by both sides at once with different words tells each what the other said', async () => {
    const codes = { toCode: (error: unknown) => Number((error as Error).message), toReason: (code: bigint) => `reason ${code}` }
    await connected([{ delayMs: 20 }], async ({ world, near, far }) => {
      const mine = await near.openBidirectional()
      mine.write(Uint8Array.of(1))
      const theirs = (await far.incomingBidirectional().next()).value as BidirectionalStream
      mine.reset(11)
      mine.stop(12)
      theirs.reset(21)
      theirs.stop(22)
      await world.sleep(500)
      await expect(theirs.bytes()).rejects.toMatchObject({ code: 'QB_STREAM_RESET' })
      await expect(mine.finished).rejects.toMatchObject({ code: 'QB_STREAM_RESET', by: 'local', errorCode: 11n })
      // The reason of a code that came is what `streamCodes` makes of it.
      const other = await near.openBidirectional()
      other.write(Uint8Array.of(1))
      const seen = (await far.incomingBidirectional().next()).value as BidirectionalStream
      const reading = other.bytes()
      seen.reset(33)
      await expect(reading).rejects.toMatchObject({ code: 'QB_STREAM_RESET', by: 'peer', errorCode: 33n, reason: 'reason 33' })
      other.destroy(new Error('44'))
      await expect(seen.bytes()).rejects.toMatchObject({ code: 'QB_STREAM_RESET', errorCode: 44n })
      await world.sleep(200)
      expect([near.statistics().streamsOpen, far.statistics().streamsOpen]).toEqual([0, 0])
    }, {}, { streamCodes: codes })
  })
})
