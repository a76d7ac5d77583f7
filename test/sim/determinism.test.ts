import { describe, expect, it } from 'vitest'
import { MODULE_BUILT } from '../native/built.ts'
import { connected, transfer } from './programs.ts'

const LINKS = [{ delayMs: 10, jitterMs: 3, rateBitsPerSec: 30e6, loss: 0.02 }, { delayMs: 25, rateBitsPerSec: 10e6, reorder: { probability: 0.05, byMs: 4 } }]

/** A transfer both ways over two paths; the hash of all its datagrams. `pause` is real time that the program wastes now and then. */
async function hashOf(seed: number, pause: () => void = () => {}): Promise<string> {
  return connected(LINKS, async ({ world, near, far }) => {
    await near.paths.ready()
    const both = [transfer(near, far, 300_000, 7_000), transfer(far, near, 200_000, 3_333)]
    for (let turn = 0; turn < 30; turn++) {
      await world.sleep(3)
      pause()
    }
    expect(await Promise.all(both)).toEqual([300_000, 200_000])
    return world.traceHash()
  }, { seed }, { scheduler: 'round-robin' })
}

describe.skipIf(!MODULE_BUILT)('the same seed and the same program', () => {
  it('give the same datagrams in every run', async () => {
    const [first, second] = [await hashOf(5), await hashOf(5)]
    expect(second).toBe(first)
    expect(await hashOf(6)).not.toBe(first)
  })

  it('give the same datagrams however real time passes', async () => {
    const slow = hashOf(5, () => {
      const end = performance.now() + 2
      while (performance.now() < end);
    })
    expect(await slow).toBe(await hashOf(5))
  })

  it('give the same datagrams beside other worlds that run at the same time', async () => {
    const [alone, ...together] = [await hashOf(5), ...(await Promise.all([hashOf(5), hashOf(6), hashOf(5)]))]
    expect(together[0]).toBe(alone)
    expect(together[2]).toBe(alone)
  })
})
