/**
 * What a process has left after things came and went: three rounds each, and the last difference counts, since the first ones warm up what
 * it keeps for good. For tests of leaks (attacks K7, I8, H5).
 */
import { readdirSync } from 'node:fs'
import { expect } from 'vitest'
import { collect } from './collect.ts'
import { RUNS } from './torture.ts'

export const ROUNDS = 3
/** Of the heap at the start. */
const SHARE = 0.01
/** The short form's rounds are so short that the process's own comings and goings show. */
const NOISE_BYTES = RUNS === null ? 500_000 : 0

interface Left {
  heap: number
  outside: number
  handles: number
  descriptors: number
}

/** After everything that can be collected was. */
async function left(): Promise<Left> {
  await collect(6)
  const { heapUsed, external } = process.memoryUsage()
  return {
    heap: heapUsed, outside: external,
    handles: process.getActiveResourcesInfo().filter((name) => name !== 'Immediate' && name !== 'Timeout').length,
    descriptors: process.platform === 'linux' ? readdirSync('/proc/self/fd').length : 0,
  }
}

/** Runs `round` three times; the last one leaves what it found. */
export async function leavesNothing(round: () => Promise<void>): Promise<void> {
  let before = await left()
  for (let count = 1; count <= ROUNDS; count++) {
    await round()
    const after = await left()
    if (count === ROUNDS) {
      expect(after.heap - before.heap).toBeLessThanOrEqual(Math.max(before.heap * SHARE, NOISE_BYTES))
      expect(after.outside - before.outside).toBeLessThanOrEqual(Math.max(before.outside * SHARE, 65_536))
      expect([after.handles, after.descriptors]).toEqual([before.handles, before.descriptors])
    }
    if (RUNS !== null) process.stderr.write(`round ${count}: heap ${before.heap} -> ${after.heap}, outside ${before.outside} -> ${after.outside}, handles ${after.handles}, descriptors ${after.descriptors}\n`)
    before = after
  }
}
