/** Weights, pins and schedulers of the user's in simulated worlds: shares, picks, and that no answer breaks a transfer. */
import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { ConnectionEvent, Scheduler, SchedulerPick, SchedulerPlan } from '../../src/index.ts'
import { World } from '../../src/sim/index.ts'
import { MODULE_BUILT } from '../native/built.ts'
import { connected, transfer, withPair } from './programs.ts'
import type { Connected } from './programs.ts'

const MEGABYTE = 1_000_000
const TWO = [{ delayMs: 10, rateBitsPerSec: 10e6 }, { delayMs: 10, rateBitsPerSec: 10e6 }]

const sent = ({ near }: Connected): number[] => [...near.paths].map((path) => path.statistics().bytesSent)

/** Bytes that each path carried while `run` ran. */
async function carried(pair: Connected, run: () => Promise<unknown>): Promise<[number, number]> {
  await pair.near.paths.ready()
  const before = sent(pair)
  await run()
  await pair.world.sleep(2)
  const [first = 0, second = 0] = sent(pair).map((now, index) => now - (before[index] ?? 0))
  return [first, second]
}

describe.skipIf(!MODULE_BUILT)('schedulers in simulated worlds', () => {
  it('weighted keeps within 5 % of 4:1 at home', { timeout: 60_000 }, async () => {
    for (const seed of [1, 2, 3]) {
      const made = World.pair([{ delayMs: 20, rateBitsPerSec: 20e6 }, { delayMs: 20, rateBitsPerSec: 5e6 }], { seed })
      const paths = made.paths.map((path, index) => ({ ...path, weight: index === 0 ? 4 : 1 }))
      const [first, second] = await withPair({ ...made, paths }, (pair) => carried(pair, () => transfer(pair.near, pair.far, 10 * MEGABYTE)), { scheduler: 'weighted' })
      expect(Math.abs(first / second / 4 - 1), `seed ${seed}: ${first} and ${second}`).toBeLessThan(0.05)
    }
  })

  it('a path takes another share when its weight changes', { timeout: 60_000 }, async () => {
    const [first, second] = await connected(TWO, async (pair) => {
      const [, other] = await pair.near.paths.ready()
      other?.setWeight(0.25)
      return carried(pair, () => transfer(pair.near, pair.far, 4 * MEGABYTE))
    }, {}, { scheduler: 'weighted' })
    expect(first / second).toBeGreaterThan(3.7)
    expect(first / second).toBeLessThan(4.3)
  })

  it('a pinned stream moves while its path is cut, and comes back', { timeout: 60_000 }, async () => {
    await connected(TWO, async (pair) => {
      await pair.near.paths.ready()
      const stream = await pair.near.openUnidirectional({ path: 1 })
      const reading = pair.far.incomingUnidirectional().next().then(({ value }) => value?.bytes())
      const writer = { over: false }
      const writing = (async () => {
        for (; !writer.over; await stream.ready()) stream.write(new Uint8Array(16_384))
        stream.end()
      })()
      const during = (ms: number): Promise<[number, number]> => carried(pair, () => pair.world.sleep(ms))
      const kept = await during(1000)
      expect(kept[0]).toBeLessThan(kept[1] / 10)
      pair.links[1]?.cut()
      const away = await during(1000)
      expect(away[0]).toBeGreaterThan(400_000)
      pair.links[1]?.restore()
      await during(1500)
      const back = await during(1000)
      expect(back[0]).toBeLessThan(back[1] / 10)
      writer.over = true
      await Promise.all([writing, reading])
    })
  })

  it('a plan comes before the first data, at RTT pace, and with events of paths at once', { timeout: 60_000 }, async () => {
    const views: { atMs: number; paths: number; suspect: boolean; queued: number }[] = []
    const scheduler: Scheduler = {
      name: 'watching',
      plan({ nowMs, paths, queuedBytes }) {
        views.push({ atMs: nowMs, paths: paths.length, suspect: paths.some((path) => path.suspect), queued: queuedBytes })
        return { order: paths.map(({ id }) => id), reason: 'as they come' }
      },
    }
    await connected(TWO, async (pair) => {
      expect(views).toMatchObject([{ queued: 0 }])
      await pair.near.paths.ready()
      await pair.world.sleep(200)
      const quiet = views.length
      await pair.world.sleep(500)
      expect(views.length, 'nothing to plan for').toBe(quiet)
      await transfer(pair.near, pair.far, 2 * MEGABYTE)
      const busy = views.slice(quiet)
      expect(busy.length).toBeGreaterThan(10)
      const gaps = views.slice(1).map(({ atMs }, index) => atMs - (views[index]?.atMs ?? 0))
      expect(Math.min(...gaps), '200 a second').toBeGreaterThanOrEqual(5)
      expect(busy.some(({ queued, paths }) => queued > 0 && paths === 2)).toBe(true)
      pair.links[1]?.cut()
      await transfer(pair.near, pair.far, MEGABYTE)
      expect(views.some(({ suspect }) => suspect)).toBe(true)
    }, {}, { scheduler })
  })

  it('a picker is asked for every burst, wins over the plan, and may wait or have copies', { timeout: 60_000 }, async () => {
    let picks = 0
    const inTurn: Scheduler = {
      name: 'in-turn',
      plan: () => ({ order: [0], reason: 'never mind' }),
      pick({ paths }) {
        picks += 1
        const path = paths.filter(({ roomBytes }) => roomBytes >= 1452)[0]
        return path === undefined || picks % 3 === 0 ? { waitMs: 1, reason: 'a breath' } : { path: picks % paths.length, duplicateOn: [], reason: `turn ${picks % paths.length}` }
      },
    }
    await connected(TWO, async (pair) => {
      const [first, second] = await carried(pair, () => transfer(pair.near, pair.far, MEGABYTE))
      expect(Math.min(first, second)).toBeGreaterThan(100_000)
      expect(picks).toBeGreaterThan(100)
      expect(String(pair.near.explain())).toMatch(/scheduler picker \((?:turn \d|a breath)\)/)
      expect(pair.near.explain().paths[0]?.reason).toContain('last data: turn 0')
    }, {}, { scheduler: inTurn })
    const twice: Scheduler = { name: 'twice', pick: ({ paths }) => ({ path: 0, duplicateOn: paths.map(({ id }) => id), reason: 'twice' }) }
    const [first, second] = await connected(TWO, (pair) => carried(pair, () => transfer(pair.near, pair.far, MEGABYTE)), {}, { scheduler: twice })
    expect(first).toBeGreaterThan(MEGABYTE)
    expect(second).toBeGreaterThan(MEGABYTE / 2)
  })

  it('a scheduler that throws costs one event a second, and min-rtt goes on', { timeout: 60_000 }, async () => {
    const cause = new Error('no idea')
    const lost = (): never => { throw cause }
    const events: ConnectionEvent[] = []
    const arrived = await connected(TWO, async (pair) => {
      pair.near.events$.subscribe((event) => void events.push(event))
      const bytes = await transfer(pair.near, pair.far, 4 * MEGABYTE)
      expect(String(pair.near.explain())).toContain('fallback: lost failed')
      return bytes
    }, {}, { scheduler: { name: 'lost', plan: lost, pick: lost } })
    expect(arrived).toBe(4 * MEGABYTE)
    const failed = events.filter(({ type }) => type === 'callback-failed')
    expect(failed.length).toBeGreaterThan(0)
    expect(failed.length).toBeLessThan(8)
    expect(failed[0]).toMatchObject({ callback: 'scheduler', error: { code: 'QB_SCHEDULER_FAILED', cause } })
  })

  it('the same seed gives the same datagrams with a scheduler of the user\'s', { timeout: 60_000 }, async () => {
    const run = (): Promise<string> => connected(TWO, async (pair) => {
      await transfer(pair.near, pair.far, MEGABYTE)
      return pair.world.traceHash()
    }, { seed: 9 }, { scheduler: { name: 'slow-first', plan: ({ paths }) => ({ order: [...paths].sort((a, b) => b.smoothedRttMs - a.smoothedRttMs).map(({ id }) => id), reinjectAfterMs: 100, reason: 'slow first' }) } })
    expect(await run()).toBe(await run())
  })

  it('no plan and no pick breaks a transfer', { timeout: 240_000 }, async () => {
    const ids = fc.array(fc.constantFrom(0, 1, 2, 7), { maxLength: 4 })
    const plan: fc.Arbitrary<unknown> = fc.oneof({ weight: 6, arbitrary: fc.record({
      order: ids, weights: fc.dictionary(fc.constantFrom('0', '1', '7'), fc.oneof(fc.double({ min: 0.001, max: 1000, noNaN: true }), fc.constantFrom(NaN, -1, 0))), duplicateOn: ids,
      pins: fc.array(fc.record({ stream: fc.constantFrom(2n, 6n, 3n, 400n), path: fc.constantFrom(0, 1, 7) }), { maxLength: 3 }), reinjectAfterMs: fc.constantFrom(0, 1, 30, 300, -5, NaN), reason: fc.string({ maxLength: 20 }),
    }, { requiredKeys: ['order', 'reason'] }) }, { weight: 1, arbitrary: fc.anything() })
    const pick: fc.Arbitrary<unknown> = fc.oneof(
      { weight: 6, arbitrary: fc.record({ path: fc.constantFrom(0, 1, 7), duplicateOn: ids, reason: fc.string({ maxLength: 20 }) }, { requiredKeys: ['path', 'reason'] }) },
      { weight: 2, arbitrary: fc.record({ waitMs: fc.constantFrom(0, 1, 5, NaN, -1), reason: fc.constant('wait') }) }, { weight: 1, arbitrary: fc.anything() },
    )
    const answers = fc.record({ plans: fc.array(plan, { minLength: 1, maxLength: 6 }), picks: fc.option(fc.array(pick, { minLength: 1, maxLength: 6 })), cut: fc.boolean(), seed: fc.nat(1000) })
    await fc.assert(fc.asyncProperty(answers, async ({ plans, picks, cut, seed }) => {
      let [planned, picked] = [0, 0]
      const scheduler: Scheduler = {
        name: 'wild',
        plan: () => plans[(planned += 1) % plans.length] as SchedulerPlan,
        // Every other one makes sense: one that never picks a path that works sends nothing, by its own will.
        ...(picks === null ? {} : { pick: ({ paths }) => ((picked += 1) % 2 === 0 ? { path: paths.find(({ suspect, roomBytes }) => !suspect && roomBytes >= 1452)?.id ?? 0, reason: 'sane' } : picks[picked % picks.length]) as SchedulerPick }),
      }
      const bytes = await connected(TWO, async (pair) => {
        await pair.near.paths.ready()
        if (cut) pair.world.at(pair.world.nowMs + 60, () => pair.links[1]?.cut())
        return transfer(pair.near, pair.far, 300_000)
      }, { seed, limitMs: 120_000 }, { scheduler })
      expect(bytes).toBe(300_000)
    }), { numRuns: 60 })
  })
})
