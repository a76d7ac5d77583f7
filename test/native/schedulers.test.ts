/** Weights, pins and schedulers of the user's over real sockets: what each path carried is counted, nothing is timed. */
import { afterEach, describe, expect, it } from 'vitest'
import type { Connection, ConnectionEvent, ConnectionOptions, Path, Scheduler, SendStream, StreamOptions } from '../../src/index.ts'
import { MODULE_BUILT } from './built.ts'
import { closeAll, nativePair } from './pair.ts'

const MEGABYTE = 1_000_000

/** A connection over two loopback paths; whatever is sent is taken at the other end. */
async function twoPaths(options: ConnectionOptions, weights: readonly number[] = [1, 1]): Promise<{ near: Connection; paths: readonly Path[] }> {
  const pair = await nativePair()
  const paths = weights.map((weight, index) => ({ local: `127.0.0.${index + 1}`, weight }))
  const { near, far } = await pair.connect({ paths, ...options })
  void (async () => {
    for await (const stream of far.incomingUnidirectional()) void stream.bytes().catch(() => {})
  })()
  return { near, paths: await near.paths.ready({ timeoutMs: 20_000 }) }
}

async function send(near: Connection, bytes: number, { prepare = () => {}, ...options }: StreamOptions & { prepare?: (stream: SendStream) => void } = {}): Promise<void> {
  const stream = await near.openUnidirectional(options)
  prepare(stream)
  for (let left = bytes; left > 0; await stream.ready()) left -= stream.write(new Uint8Array(Math.min(65_536, left)))
  stream.end()
  await stream.finished
}

/** Bytes that each path carried for a stream of `bytes`, once the numbers have come as far. */
async function carried(near: Connection, bytes: number, options?: Parameters<typeof send>[2]): Promise<[number, number]> {
  const sent = (): number[] => [...near.paths].map((path) => path.statistics().bytesSent)
  const before = sent()
  const since = (): number[] => sent().map((now, index) => now - (before[index] ?? 0))
  await send(near, bytes, options)
  await expect.poll(() => since().reduce((sum, own) => sum + own, 0), { timeout: 20_000 }).toBeGreaterThan(bytes)
  const [first = 0, second = 0] = since()
  return [first, second]
}

afterEach(closeAll)

describe.skipIf(!MODULE_BUILT)('schedulers over real sockets', () => {
  it('weighted shares the bytes as the weights of the paths say, also when they change', { timeout: 60_000 }, async () => {
    const { near, paths } = await twoPaths({ scheduler: 'weighted' }, [4, 1])
    await expect.poll(() => paths.map((path) => path.statistics().weight), { timeout: 10_000 }).toEqual([4, 1])
    const [first, second] = await carried(near, 10 * MEGABYTE)
    expect(first / second).toBeGreaterThan(3)
    expect(first / second).toBeLessThan(5)
    paths[1]?.setWeight(8)
    const after = await carried(near, 10 * MEGABYTE)
    expect(after[1] / after[0]).toBeGreaterThan(1.5)
    await expect.poll(() => paths.map((path) => path.statistics().weight), { timeout: 10_000 }).toEqual([4, 8])
    expect(() => paths[0]?.setWeight(0)).toThrow('option weight is 0; allowed: a number from 0.001 to 1000')
  })

  it('a stream keeps to the path it is pinned to, and is free again', { timeout: 60_000 }, async () => {
    const { near } = await twoPaths({ scheduler: 'round-robin' })
    for (const [own, other] of [[0, 1], [1, 0]] as const) {
      const bytes = await carried(near, 2 * MEGABYTE, { prepare: (stream) => stream.pin(own) })
      // Not all: on a machine that is busy a path may be silent for a moment, and then the other helps out.
      expect(bytes[own]).toBeGreaterThan(3 * bytes[other])
    }
    const opened = await carried(near, 2 * MEGABYTE, { path: 1 })
    expect(opened[1]).toBeGreaterThan(3 * opened[0])
    const free = await carried(near, 4 * MEGABYTE, {
      prepare: (stream) => {
        stream.pin(1)
        stream.pin(null)
      },
    })
    expect(Math.min(...free)).toBeGreaterThan(MEGABYTE / 2)
    const stream = await near.openUnidirectional()
    expect(() => stream.pin(7)).toThrow(expect.objectContaining({ code: 'QB_PATH_UNKNOWN', path: 7 }))
    expect(() => stream.pin(0.5)).toThrow(expect.objectContaining({ code: 'QB_PATH_UNKNOWN' }))
    await expect(near.openUnidirectional({ path: 7 })).rejects.toMatchObject({ code: 'QB_PATH_UNKNOWN', path: 7 })
    stream.reset()
  })

  it('a plan holds, with its words where people look', { timeout: 60_000 }, async () => {
    const views: number[] = []
    const scheduler: Scheduler = {
      name: 'last-first',
      plan({ paths }) {
        views.push(paths.length)
        const last = paths.at(-1)?.id ?? 0
        return { order: [last], reason: `all on path ${last}` }
      },
    }
    const { near } = await twoPaths({ scheduler })
    expect(views.length).toBeGreaterThan(0)
    // It hears of the second path a moment after everybody else.
    await expect.poll(() => views.at(-1), { timeout: 10_000 }).toBe(2)
    const reasons = new Set<string>()
    near.bursts.trace$.subscribe((record) => void (record.kind === 'burst' && reasons.add(record.reason)))
    const bytes = await carried(near, 2 * MEGABYTE)
    expect(bytes[1]).toBeGreaterThan(2 * MEGABYTE)
    expect(bytes[0]).toBeLessThan(MEGABYTE / 4)
    expect([...reasons]).toContain('all on path 1')
    const explanation = near.explain()
    expect(String(explanation)).toContain('scheduler plan (all on path 1)')
    expect(explanation.paths.find(({ id }) => id === 1)?.reason).toContain('last data: all on path 1')
    expect(String(near.paths.explain())).toContain('scheduler last-first: ')
  })

  it('a scheduler that fails is told of, and the transfer goes on by the plan before', { timeout: 60_000 }, async () => {
    let broken = false
    const scheduler: Scheduler = { name: 'moody', plan: () => (broken ? { order: [0], weights: { 0: NaN }, reason: '' } : { order: [1, 0], reason: 'fine' }) }
    const { near } = await twoPaths({ scheduler })
    const events: ConnectionEvent[] = []
    near.events$.subscribe((event) => void events.push(event))
    await carried(near, MEGABYTE)
    broken = true
    await carried(near, 4 * MEGABYTE)
    const failed = events.filter(({ type }) => type === 'callback-failed')
    expect(failed.length).toBeGreaterThan(0)
    expect(failed[0]).toMatchObject({ callback: 'scheduler', error: { code: 'QB_SCHEDULER_FAILED', field: 'plan().weights.0', message: expect.stringContaining('scheduler moody') } })
    expect(String(near.explain())).toContain('scheduler plan (fine)')
  })

  it('a scheduler that only picks is refused before anything is sent', async () => {
    const pair = await nativePair()
    const scheduler: Scheduler = { name: 'picky', pick: () => ({ path: 0, reason: '' }) }
    await expect(pair.connect({ scheduler })).rejects.toMatchObject({ code: 'QB_SCHEDULER_NO_PLAN', message: expect.stringContaining('picky') })
  })
})
