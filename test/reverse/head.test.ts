/** Requests whose first bytes may be sent again (docs/spec/reverse.md V47), in virtual time. */
import { describe, expect, it } from 'vitest'
import type { Connection } from '../../src/index.ts'
import type { BidirectionalStream } from '../../src/stream/index.ts'
import { MODULE_BUILT } from '../native/built.ts'
import { codeOf } from '../fake/pair.ts'
import { echo, inReverseWorld } from './world.ts'
import type { Caller } from './world.ts'

const HEAD = Buffer.from('GET / HTTP/1.1\r\n\r\n')

/** The rest of what the peer says. */
async function answerOf(stream: BidirectionalStream): Promise<string> {
  stream.end()
  return Buffer.from(await stream.bytes()).toString()
}

describe.skipIf(!MODULE_BUILT)('a request with a head', { timeout: 60_000 }, () => {
  /** reverse V47 */
  it('is handed out when the first of it is acknowledged, and can be used in any way', async () => {
    await inReverseWorld(async ({ listener, join, world }) => {
      await join('web', { serve: async (stream) => { await world.sleep(500); await echo(stream) } })
      const since = world.nowMs
      const stream = await listener.pool().request('web', { head: HEAD })
      expect(world.nowMs - since).toBeLessThan(100)
      expect([stream.bytesWritten, stream.bytesAcknowledged > 0]).toEqual([HEAD.length, true])
      const duplex = stream.toDuplex()
      duplex.end('body')
      const pieces: Buffer[] = []
      for await (const piece of duplex) pieces.push(piece as Buffer)
      expect(Buffer.concat(pieces).toString()).toBe(`${HEAD.toString()}body`)
    })
  })

  it('may be as long as it may, however little the connection takes at once', async () => {
    await inReverseWorld(async ({ listener, join }) => {
      await join('web')
      const head = Buffer.alloc(65_536, 'x')
      const stream = await listener.pool().request('web', { head })
      expect(await answerOf(stream)).toBe(head.toString())
    }, { listen: { server: { limits: { sendBufferBytes: 8192, connectionSendBufferBytes: 16_384 } } } })
  })

  /** reverse V47 */
  it('is sent again over another connection when the first ends before anything was acknowledged', async () => {
    await inReverseWorld(async ({ listener, join, links, world }) => {
      const served: Caller[] = []
      const first = await join('web')
      links[0]?.cut()
      const asked = listener.pool().request('web', { head: HEAD, waitForMs: 10_000 })
      await world.sleep(100)
      // The private end has gone without a word, and another is there.
      first.connection.destroy()
      links[0]?.restore()
      const [connection] = await new Promise<readonly { close(options: object): unknown }[]>((resolve) => listener.connections$.subscribe((list) => list.length > 0 && resolve(list)))
      void connection?.close({ code: 0 })
      served.push(await join('web'))
      expect(await answerOf(await asked)).toBe(HEAD.toString())
      expect([listener.statistics().repeated, listener.statistics().requests, first.requests.length]).toEqual([1, 1, 0])
    })
  })

  /** reverse V47 */
  it('is not sent again once something was acknowledged, nor when that is not wanted, nor against the word of the private end', async () => {
    await inReverseWorld(async ({ listener, join, links, world }) => {
      const [first] = [await join('web', { serve: null })]
      const heard = await listener.pool().request('web', { head: HEAD })
      await first.connection.close({ code: 7 })
      expect(await codeOf(answerOf(heard))).toBe('QB_APPLICATION_CLOSED')
      const second = await join('web', { serve: null })
      links[0]?.cut()
      const unwanted = listener.pool().request('web', { head: HEAD, retryUnsent: false })
      const [connection] = await new Promise<readonly { destroy(): void }[]>((resolve) => listener.connections$.subscribe((list) => list.length > 0 && resolve(list)))
      connection?.destroy()
      expect(await codeOf(unwanted)).toBe('QB_CONNECTION_DESTROYED')
      second.connection.destroy()
      links[0]?.restore()
      await join('web', { serve: (stream) => { stream.reset(8); stream.stop(8) } })
      await join('web')
      const results = await Promise.all([0, 1].map(() => listener.pool().request('web', { head: HEAD }).then(answerOf).catch((error: { errorCode: bigint }) => error.errorCode)))
      expect(results).toEqual(expect.arrayContaining([8n, HEAD.toString()]))
      await world.sleep(100)
      expect(listener.statistics()).toMatchObject({ repeated: 0, streamsOpen: 0 })
    })
  })

  /** reverse V47: what a private end has had is acknowledged by its CLOSE at the latest */
  it('is not sent again when the private end closes in the turn in which it came', async () => {
    await inReverseWorld(async ({ listener, join, world }) => {
      let served = 0
      const serve = (_stream: BidirectionalStream, connection: Connection): void => {
        served += 1
        if (served === 1) connection.destroy(undefined, { code: 7 })
      }
      await join('web', { serve })
      await join('web', { serve })
      expect(await codeOf(listener.pool().request('web', { head: HEAD }).then(answerOf))).toBe('QB_APPLICATION_CLOSED')
      await world.sleep(1000)
      expect([served, listener.statistics().repeated]).toEqual([1, 0])
    })
  })

  it('that is given up leaves nothing behind', async () => {
    await inReverseWorld(async ({ listener, join, links, world }) => {
      await join('web')
      links[0]?.cut()
      const abort = new AbortController()
      const asked = listener.pool().request('web', { head: HEAD, signal: abort.signal })
      await world.sleep(50)
      abort.abort(new Error('gone'))
      await expect(asked).rejects.toThrow('gone')
      links[0]?.restore()
      await world.sleep(2000)
      expect(listener.statistics()).toMatchObject({ streamsOpen: 0, repeated: 0, requests: 0, connections: 1 })
    })
  })
})
