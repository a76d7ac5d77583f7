/** `lab failover`: a path goes silent in the middle of a transfer; how long the receiver gets nothing (multipath.md MP-83). */
import type { World } from '../../sim/index.ts'
import { defineExperiment } from '../experiment.ts'
import type { Experiment } from '../experiment.ts'
import { available } from './schedulers.ts'
import { connect, pairIn, transfer } from './network.ts'

const RATE = 20e6
/** Two paths need over 3 s for it. */
const BYTES = 16_000_000

export type FailoverCell = { silentAtMs: number; rttMs: number; path: 'first' | 'second'; direction: 'both' | 'a-to-b' | 'b-to-a'; scheduler: 'min-rtt' | 'round-robin' | 'redundant' }
export type FailoverValues = { stallMs: number; completeMs: number; reinjectedBytes: number }

export function failoverExperiment(): Experiment<FailoverCell, FailoverValues> {
  return defineExperiment<FailoverCell, FailoverValues>({
    name: 'failover',
    axes: {
      scheduler: ['min-rtt', 'round-robin', ...available('scheduler.', ['redundant'] as const)],
      rttMs: [20, 60, 120], silentAtMs: [100, 500, 2000], path: ['first', 'second'], direction: ['both', 'a-to-b', 'b-to-a'],
    },
    quick: { axes: { rttMs: [20, 60], silentAtMs: [500, 2000], direction: ['both'], scheduler: ['min-rtt'] }, seeds: 5 },
    columns: { stallMs: 'ms', completeMs: 'ms', reinjectedBytes: 'B' },
    run: (cell, world) => world.run(() => measure(cell, world)),
  })
}

async function measure({ silentAtMs, rttMs, path, direction, scheduler }: FailoverCell, world: World): Promise<FailoverValues> {
  // Jitter makes the seeds differ: the instant of the cut meets other packets in flight.
  const shape = { delayMs: rttMs / 2, jitterMs: 1, rateBitsPerSec: RATE }
  const pair = pairIn(world, [shape, shape])
  const { near, far, atClient, atServer } = await connect(pair, { scheduler })
  await near.paths.ready()
  const start = world.nowMs
  world.at(start + silentAtMs, () => pair.links[path === 'first' ? 0 : 1]?.cut(direction))
  await transfer(near, far, BYTES)
  const values = { stallMs: far.statistics().maxStallMs, completeMs: world.nowMs - start, reinjectedBytes: near.statistics().bytesReinjected }
  near.destroy()
  atClient.destroy()
  atServer.destroy()
  return values
}
