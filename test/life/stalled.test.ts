/** What a process holds for TCP connections whose readers sleep (docs/spec/tunnel.md T50, T51; attacks H3): a process of its own, with real sockets. */
import { spawnSync } from 'node:child_process'
import { dirname } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from 'vitest'
import { BUILT, PACKAGE } from '../native/built.ts'

const STALLED = fileURLToPath(new URL('stalled.mjs', import.meta.url))
const MEBIBYTE = 1_048_576
/** At once: what the process needs for itself is then small against what they need. */
const BRIDGES = 8

interface Held {
  rss: number
  /** Of the heap, outside of it, and in the pools of the endpoints. */
  counted: number
}

describe.skipIf(!BUILT)('a reader that sleeps', () => {
  /** tunnel T50, T51; attacks H3; issue part 7 */
  it.each([['from the beginning', 0], ['after it was quick for 4 MiB', 4 * MEBIBYTE]])('%s makes the process hold less than 4 MiB, whatever is written', (_, readBytes) => {
    const { status, stdout, stderr } = spawnSync(process.execPath, ['--expose-gc', STALLED, dirname(PACKAGE), String(BRIDGES), String(readBytes), String(100 * MEBIBYTE)], { encoding: 'utf8' })
    expect([status, stderr]).toEqual([0, ''])
    const { before, after, taken, read } = JSON.parse(stdout) as { before: Held; after: Held; taken: number[]; read: number }
    expect(taken.length).toBe(BRIDGES)
    // The kernel's buffers take the rest of it.
    expect(Math.max(...taken)).toBeLessThan(90 * MEBIBYTE)
    expect(read).toBeGreaterThanOrEqual(BRIDGES * readBytes)
    expect((after.counted - before.counted) / BRIDGES).toBeLessThan(4 * MEBIBYTE)
    expect((after.rss - before.rss) / BRIDGES).toBeLessThan(4 * MEBIBYTE)
  }, 120_000)
})
