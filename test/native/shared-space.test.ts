/** One packet-number space over all paths, over the native module and loopback (multipath section O). */
import { afterEach, describe, expect, it } from 'vitest'
import type { Connection } from '../../src/index.ts'
import { MODULE_BUILT } from './built.ts'
import { closeAll, nativePair, until } from './pair.ts'

const PATIENCE_MS = 40_000
const BYTES = 2_000_000

afterEach(closeAll)

/** Sends a stream; the bytes that came out at the other end. */
async function carried(near: Connection, far: Connection): Promise<number> {
  const reading = far.incomingUnidirectional().next().then(({ value }) => value?.bytes({ maxBytes: BYTES }))
  const stream = await near.openUnidirectional()
  for (let left = BYTES; left > 0; await stream.ready()) left -= stream.write(new Uint8Array(Math.min(left, 65_536)))
  stream.end()
  return (await reading)?.length ?? 0
}

describe.skipIf(!MODULE_BUILT)('the shared packet-number space', () => {
  it('carries a stream over two paths, abandons the first, and shows one space for both', async () => {
    const pair = await nativePair({ server: { multipath: 'shared-space' } })
    const { near, far } = await pair.connect({ multipath: 'shared-space', scheduler: 'round-robin' })
    expect([near.multipath, far.multipath]).toEqual(['shared-space', 'shared-space'])
    const second = await near.paths.open({ local: '127.0.0.2' }, { timeoutMs: PATIENCE_MS })
    expect(await carried(near, far)).toBe(BYTES)
    const [zero, one] = [near.spaces.application(0), near.spaces.application(second.id)]
    expect(one.largestSent).toBeGreaterThan(100)
    expect(zero.largestSent).toBe(one.largestSent)
    for (const path of near.paths) expect(path.statistics().packetsSent).toBeGreaterThan(20)
    await near.paths.get(0)?.abandon()
    expect(await carried(near, far)).toBe(BYTES)
    await until(() => near.paths.get(0) === undefined, PATIENCE_MS)
    expect(() => near.spaces.application(0)).toThrow(expect.objectContaining({ code: 'QB_PATH_UNKNOWN' }))
  }, 2 * PATIENCE_MS)

  it('is not spoken to a server with the IETF extension: one path, and the event tells', async () => {
    const pair = await nativePair()
    const { near, far } = await pair.connect({ multipath: 'shared-space' })
    expect([near.multipath, far.multipath]).toEqual(['none', 'none'])
    expect(String(near.explain())).toContain('none')
  }, PATIENCE_MS)
})
