/**
 * Churn for a long time (attacks I14): connections, streams, datagrams, resets, dropped handles; memory is measured every minute.
 * `npm run torture -- soak --runs SECONDS`; without that, three seconds that only show that it runs.
 */
import { afterEach, describe, expect, it } from 'vitest'
import type { BidirectionalStream, Connection } from '../../src/index.ts'
import { MODULE_BUILT } from '../native/built.ts'
import { closeAll, nativePair } from '../native/pair.ts'
import { collect } from './collect.ts'
import { RUNS } from './torture.ts'

afterEach(closeAll)

const SECONDS = RUNS ?? 3
const HOUR_MS = 3_600_000
/** Between two measurements. */
const SAMPLE_MS = Math.min(60_000, (SECONDS * 1000) / 3)
/** The process warms up in the first hour, or the first third of a shorter run. */
const WARM_MS = Math.min(HOUR_MS, (SECONDS * 1000) / 3)
const MIB = 1_048_576

interface Sample {
  atMs: number
  rss: number
  heap: number
}

/** Of a straight line through the samples, per hour. */
function slope(samples: readonly Sample[], of: 'rss' | 'heap'): number {
  const mean = (values: number[]): number => values.reduce((sum, value) => sum + value, 0) / values.length
  const [atMean, ofMean] = [mean(samples.map(({ atMs }) => atMs)), mean(samples.map((sample) => sample[of]))]
  const over = samples.reduce((sum, sample) => sum + (sample.atMs - atMean) * (sample[of] - ofMean), 0)
  const under = samples.reduce((sum, { atMs }) => sum + (atMs - atMean) ** 2, 0)
  return under === 0 ? 0 : (over / under) * HOUR_MS
}

async function serve(far: Connection): Promise<void> {
  for await (const stream of far.incomingBidirectional()) {
    const turn = Number(stream.id >> 2n) % 4
    if (turn === 0) stream.destroy()
    else if (turn === 1) void stream.id // dropped
    else void answer(stream)
  }
}

async function answer(stream: BidirectionalStream): Promise<void> {
  try {
    stream.write(await stream.bytes())
    stream.end()
  } catch {
    stream.destroy()
  }
}

async function churn(near: Connection, round: number): Promise<void> {
  for (let count = 0; count < 40; count++) {
    const stream = await near.openBidirectional()
    stream.write(Buffer.alloc((round * 37 + count * 1009) % 20_000))
    near.datagrams.send(Buffer.alloc(count))
    if (count % 5 === 0) stream.reset(count)
    else stream.end()
    if (count % 3 === 0) stream.stop(count)
    else if (count % 4 >= 2) await stream.bytes().catch(() => {})
  }
}

describe.skipIf(!MODULE_BUILT)('churn', () => {
  it('attack I14: leaves memory flat', async () => {
    const { server, client, own } = await nativePair()
    void (async () => {
      for await (const connection of server.incoming()) void serve(connection)
    })()
    const started = performance.now()
    const samples: Sample[] = []
    let round = 0
    let next = SAMPLE_MS
    while (performance.now() - started < SECONDS * 1000) {
      const near = await client.connect(server.local[0] ?? '', { alpn: 'test', ca: own.cert })
      await churn(near, round++)
      await near.close({ drainMs: 100 })
      const atMs = performance.now() - started
      if (atMs < next) continue
      next += SAMPLE_MS
      await collect(2)
      const { rss, heapUsed } = process.memoryUsage()
      samples.push({ atMs, rss, heap: heapUsed })
      if (RUNS !== null) process.stderr.write(`${(atMs / 1000).toFixed(0)} s of ${SECONDS}: ${round} connections, resident ${(rss / MIB).toFixed(1)} MiB, heap ${(heapUsed / MIB).toFixed(1)} MiB\n`)
    }
    expect(round).toBeGreaterThan(0)
    expect([client.connections.size, server.connections.size <= 1]).toEqual([0, true])
    const warm = samples.filter(({ atMs }) => atMs >= WARM_MS)
    // Less than an hour after the warming tells nothing of a slope per hour.
    if (SECONDS * 1000 - WARM_MS >= HOUR_MS) expect(Math.max(slope(warm, 'rss'), slope(warm, 'heap'))).toBeLessThan(MIB)
    else if (RUNS !== null) process.stderr.write(`too short for a verdict; per hour: resident ${(slope(warm, 'rss') / MIB).toFixed(1)} MiB, heap ${(slope(warm, 'heap') / MIB).toFixed(1)} MiB\n`)
  }, 86_400_000 * 2)
})
