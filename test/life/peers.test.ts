/**
 * Peers that die, that end one half and wait, that are many and say nothing (attacks K1, K5, K6). Bounds of time are checked in simulated
 * worlds; a process that is killed, and what idle connections cost, over loopback. The long form of the last one is `npm run torture -- idle`.
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { afterEach, describe, expect, it } from 'vitest'
import type { BidirectionalStream, Connection } from '../../src/index.ts'
import { BUILT, MODULE_BUILT, PACKAGE } from '../native/built.ts'
import { bound, closeAll, nativePair } from '../native/pair.ts'
import { connected } from '../sim/programs.ts'
import { collect } from './collect.ts'
import { progress, RUNS } from './torture.ts'

afterEach(closeAll)

const SERVER = fileURLToPath(new URL('killed.mjs', import.meta.url))

describe.skipIf(!MODULE_BUILT)('a peer that dies without a word', () => {
  it.each([[0, 4000], [1000, 5000]])('attack K1: is noticed within the idle timeout, keepAliveMs %i', async (keepAliveMs, withinMs) => {
    await connected([{ delayMs: 20 }], async ({ world, near, server }) => {
      await near.confirmed
      const stream = await near.openBidirectional()
      stream.write(Uint8Array.of(1))
      await world.sleep(3000)
      server.crash()
      const before = world.nowMs
      const info = await near.closed
      // Counted from what was heard or asked last: a keep-alive may have been answered just before, and is then asked once more.
      expect(world.nowMs - before).toBeLessThanOrEqual(withinMs + 100)
      expect(info).toMatchObject({ by: 'timeout', error: { code: 'QB_IDLE_TIMEOUT', by: 'timeout' } })
      await expect(stream.finished).rejects.toMatchObject({ code: 'QB_IDLE_TIMEOUT' })
    }, {}, { limits: { idleTimeoutMs: 4000, keepAliveMs } })
  })
})

describe.skipIf(!BUILT)('a process that is killed', () => {
  it('attack K1: ends the connections of its peer with an error of its own, and the endpoint serves on', async () => {
    const child = spawn(process.execPath, [SERVER, PACKAGE], { stdio: ['ignore', 'pipe', 'inherit'] })
    const line = await once(createInterface(child.stdout), 'line')
    const { address, ca } = JSON.parse(line[0] as string) as { address: string; ca: string }
    const client = await bound()
    const near = await client.connect(address, { alpn: 'x', ca, limits: { idleTimeoutMs: 1000 } })
    const stream = await near.openBidirectional()
    stream.write(Uint8Array.of(1))
    await near.ping()
    child.kill('SIGKILL')
    await once(child, 'exit')
    const { by, error } = await near.closed
    expect([by, error?.code]).toEqual(['timeout', 'QB_IDLE_TIMEOUT'])
    const pair = await nativePair()
    expect((await client.connect(pair.server.local[0] ?? '', { alpn: 'test', ca: pair.own.cert })).state).toBe('open')
  }, 60_000)
})

describe.skipIf(!MODULE_BUILT)('peers that end one half of a stream and wait', () => {
  type Ends = (near: BidirectionalStream, far: BidirectionalStream) => void
  const WHO: [string, Ends, string, string][] = [
    ['the one that opened', (near) => near.end(), 'half-local', 'half-remote'],
    ['the other one', (_near, far) => far.end(), 'half-remote', 'half-local'],
    ['neither', () => {}, 'open', 'open'],
  ]

  it.each(WHO)('attack K5: %s: states are right, a limit holds, and nothing stays when they go', async (_who, ends, mine, theirs) => {
    const ROUNDS = 8
    await connected([{ delayMs: 5 }], async ({ world, near, far }) => {
      const incoming = far.incomingBidirectional()
      for (let round = 0; round < ROUNDS; round++) {
        const pairs: [BidirectionalStream, BidirectionalStream][] = []
        for (let count = 0; count < 50; count++) {
          const stream = await near.openBidirectional()
          stream.write(Uint8Array.of(1, 2, 3))
          const other = (await incoming.next()).value as BidirectionalStream
          // What has come is read; nobody reads the end that does not come.
          await other.readable.getReader().read()
          ends(stream, other)
          pairs.push([stream, other])
        }
        if (round === 0) {
          // The peer's limit is all there can be at once.
          const more = Array.from({ length: 51 }, () => near.openBidirectional())
          const opened: BidirectionalStream[] = []
          for (const opening of more) void opening.then((stream) => opened.push(stream), () => undefined)
          await world.sleep(1000)
          expect([opened.length, near.statistics().streamsOpen]).toEqual([50, 100])
          for (const stream of opened) stream.destroy()
          for (let count = 0; count < 51; count++) void incoming.next().then(({ value }) => value?.destroy())
          pairs[0]?.[0].destroy()
          pairs[0]?.[1].destroy()
          await world.sleep(1000)
          opened.at(-1)?.destroy()
          await world.sleep(1000)
          pairs.shift()
        }
        await world.sleep(100)
        for (const [stream, other] of pairs) expect([stream.state, other.state]).toEqual([mine, theirs])
        for (const [stream, other] of pairs) {
          stream.destroy()
          other.destroy()
        }
        await world.sleep(200)
        expect([near.statistics().streamsOpen, far.statistics().streamsOpen]).toEqual([0, 0])
      }
      expect([near.state, far.state]).toEqual(['open', 'open'])
    })
  })
})

describe.skipIf(!MODULE_BUILT)('connections that say nothing', () => {
  /** Both ends are in this process. */
  const BYTES = 2 * 40_960

  it('attack K6: cost at most 40 KiB at each end, no call and no datagram', async () => {
    const count = RUNS ?? 200
    const told = progress('idle connections', count)
    const quiet = { idleTimeoutMs: 0, handshakeTimeoutMs: 600_000 }
    const pair = await nativePair({ server: { limits: quiet, backlog: 65_536, maxConnections: { total: 100_000 } } })
    const connections: Connection[] = []
    const more = async (wanted: number, tell: () => void): Promise<void> => {
      for (; connections.length < wanted; tell()) {
        const { near, far } = await pair.connect({ limits: quiet })
        await near.confirmed
        connections.push(near, far)
      }
    }
    // The first ones warm the process up.
    await more(200, () => {})
    await collect(4)
    const before = process.memoryUsage()
    await more(200 + 2 * count, told)
    // Acknowledgements, tickets and tokens of the last one.
    await new Promise((resolve) => setTimeout(resolve, 300))
    await collect(4)
    const after = process.memoryUsage()
    const perPair = (what: 'rss' | 'heapUsed'): number => (after[what] - before[what]) / count
    if (RUNS !== null) process.stderr.write(`${count} idle connections, both ends: ${(perPair('rss') / 1024).toFixed(1)} KiB of the process each, ${(perPair('heapUsed') / 1024).toFixed(1)} KiB of it heap\n`)
    // Of a few hundred the process's own comings and goings would be counted too.
    expect(perPair(RUNS === null ? 'heapUsed' : 'rss')).toBeLessThan(BYTES)
    const ends = [pair.client, pair.server]
    const [first, second] = [ends.map((end) => end.statistics()), await new Promise<void>((resolve) => setTimeout(resolve, 1000)).then(() => ends.map((end) => end.statistics()))]
    for (const [index, { crossings, datagramsSent, poolBytesUsed }] of second.entries()) {
      expect(poolBytesUsed).toBe(0)
      // On a slow machine the last connection may still have something to acknowledge.
      expect(datagramsSent - (first[index]?.datagramsSent ?? 0)).toBeLessThanOrEqual(8)
      // The questions of this test itself.
      expect(crossings - (first[index]?.crossings ?? 0)).toBeLessThanOrEqual(12)
    }
  }, 3_600_000)
})

