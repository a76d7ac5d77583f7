/** Schedulers of the user's: what the engine gets of their answers, whatever those are. */
import { describe, expect, it } from 'vitest'
import * as fc from 'fast-check'
import type { NativePlan, NativeSchedulerView } from '../../src/binding/index.ts'
import { OptionError } from '../../src/errors/index.ts'
import type { Scheduler, SchedulerView } from '../../src/path/index.ts'
import { SchedulerRunner } from '../../src/path/scheduler/runner.ts'

const path = (id: number): NativeSchedulerView['paths'][number] => ({
  id, status: 'available', peerStatus: 'unknown', suspect: false, smoothedRttMs: 10, rttvarMs: 1, congestionWindowBytes: 12_000, bytesInFlight: 0, roomBytes: 12_000, deliveryRateBitsPerSec: 1e6, lossRate: 0, weight: 1,
})
const viewAt = (nowMs: number): NativeSchedulerView => ({ nowMs, paths: [path(0), path(3)], queuedBytes: 5, connectionCreditBytes: 6, retransmitBytes: 0 })

/** A runner, what it told the engine and what it told people. */
function bench(own: Partial<Scheduler>): { runner: SchedulerRunner; plans: (NativePlan | null)[]; errors: unknown[]; plan(nowMs?: number): void } {
  const plans: (NativePlan | null)[] = []
  const errors: unknown[] = []
  const runner = new SchedulerRunner({ name: 'mine', ...own }, { answer: (plan) => void plans.push(plan), nextTurn: (run) => run(), failed: (error) => void errors.push(error) })
  return { runner, plans, errors, plan: (nowMs = 0) => runner.onPlan({ type: 'plan', atMs: nowMs, view: viewAt(nowMs) }) }
}

describe('a plan', () => {
  it('crosses with the ids of paths in use, each once', () => {
    const { plans, errors, plan } = bench({ plan: () => ({ order: [3, 7, 3, 0], weights: { 3: 0.5, 7: 2 }, duplicateOn: [7], pins: [{ stream: 4n, path: 3 }], reinjectAfterMs: 2.5, reason: 'x'.repeat(300) }) })
    plan()
    expect(plans).toEqual([{ order: [3, 0], weights: [[3, 0.5]], duplicateOn: [], pins: [[4, 3]], reinjectAfterMs: 2.5, reason: 'x'.repeat(256) }])
    expect(errors).toEqual([])
  })

  it('is made of a view that nobody can change', () => {
    let seen: SchedulerView | undefined
    const { plan, errors } = bench({ plan: (view) => { seen = view; return { order: [0], reason: '' } } })
    plan(9)
    expect(seen).toEqual(viewAt(9))
    expect([seen, seen?.paths, seen?.paths[0]].every(Object.isFrozen)).toBe(true)
    expect(errors).toEqual([])
  })

  it('that makes no sense leaves the one before, and tells which field and what is allowed', () => {
    const cases: [unknown, string, string][] = [
      [undefined, 'plan()', 'an object'], [Promise.reject(new Error('late')), 'plan()', 'an object'], [[], 'plan()', 'an object'], [{ reason: '' }, 'plan().order', 'a list'],
      [{ order: [0, -1], reason: '' }, 'plan().order[1]', 'whole number'], [{ order: [5], reason: '' }, 'plan().order', 'paths in use: 0, 3'], [{ order: [], reason: '' }, 'plan().order', '0, 3'],
      [{ order: [0], weights: { 3: NaN }, reason: '' }, 'plan().weights.3', '0.001 to 1000'], [{ order: [0], weights: { x: 1 }, reason: '' }, 'plan().weights.x', 'path id'],
      [{ order: [0], duplicateOn: 3, reason: '' }, 'plan().duplicateOn', 'a list'], [{ order: [0], pins: [{ stream: 4, path: 0 }], reason: '' }, 'plan().pins[0].stream', 'bigint'],
      [{ order: [0], reinjectAfterMs: -1, reason: '' }, 'plan().reinjectAfterMs', 'milliseconds'], [{ order: [0], reinjectAfterMs: Infinity, reason: '' }, 'plan().reinjectAfterMs', 'milliseconds'], [{ order: [0] }, 'plan().reason', 'string'],
    ]
    for (const [answer, field, allowed] of cases) {
      const { plans, errors, plan } = bench({ plan: () => answer as never })
      plan()
      expect(plans, field).toEqual([null])
      expect(errors, field).toHaveLength(1)
      expect(errors[0]).toBeInstanceOf(OptionError)
      expect(errors[0]).toMatchObject({ code: 'QB_SCHEDULER_FAILED', field, message: expect.stringContaining('scheduler mine: ') })
      expect((errors[0] as Error).message).toContain(allowed)
    }
  })

  it('that throws is told once a second', () => {
    const cause = new Error('out of ideas')
    const { runner, plans, errors, plan } = bench({ plan: () => { throw cause } })
    for (const nowMs of [0, 5, 999, 1000, 1500, 2000]) plan(nowMs)
    expect(plans).toEqual(Array.from({ length: 6 }, () => null))
    expect(errors).toHaveLength(3)
    expect(errors[0]).toMatchObject({ code: 'QB_SCHEDULER_FAILED', field: 'plan()', cause, message: 'scheduler mine: plan() threw out of ideas' })
    expect(runner.line()).toBe('scheduler mine: 6 plans asked for, 6 answers of no use')
  })
})

describe('a pick', () => {
  const picked = (pick: unknown): { answer: unknown; errors: unknown[] } => {
    const { runner, errors } = bench({ pick: () => pick as never })
    return { answer: JSON.parse(runner.pick(JSON.stringify(viewAt(0)))), errors }
  }

  it('crosses', () => {
    expect(picked({ path: 3, duplicateOn: [0, 9], reason: 'why' })).toEqual({ answer: { path: 3, duplicateOn: [0], reason: 'why' }, errors: [] })
    expect(picked({ waitMs: 4, reason: 'not yet' })).toEqual({ answer: { waitMs: 4, reason: 'not yet' }, errors: [] })
  })

  it('that makes no sense leaves the burst to min-rtt', () => {
    for (const [pick, field] of [[undefined, 'pick()'], [{ path: 9, reason: '' }, 'pick().path'], [{ waitMs: NaN, reason: '' }, 'pick().waitMs'], [{ path: 0 }, 'pick().reason']] as const) {
      const { answer, errors } = picked(pick)
      expect(answer).toEqual({ fallback: 'mine failed' })
      expect(errors).toMatchObject([{ code: 'QB_SCHEDULER_FAILED', field }])
    }
  })
})

describe('whatever a scheduler answers', () => {
  it('the engine gets a plan within its bounds, or none', () => {
    const anything = fc.oneof(fc.anything({ withBigInt: true, withMap: true, withNullPrototype: true }), fc.record({
      order: fc.oneof(fc.array(fc.oneof(fc.nat(5), fc.double(), fc.anything())), fc.array(fc.nat(5))), weights: fc.dictionary(fc.oneof(fc.nat(5).map(String), fc.string()), fc.double()), duplicateOn: fc.array(fc.nat(5)),
      pins: fc.array(fc.record({ stream: fc.bigInt(), path: fc.integer() })), reinjectAfterMs: fc.double(), reason: fc.string(),
    }, { requiredKeys: [] }))
    fc.assert(fc.property(anything, (answer) => {
      const { runner, plans, plan } = bench({ plan: () => answer as never, pick: () => answer as never })
      plan()
      const crossed = plans[0] ?? null
      if (crossed !== null && !(crossed.order.every((id) => id === 0 || id === 3) && crossed.weights.every(([, weight]) => weight > 0) && crossed.pins.length <= 256 && (crossed.reinjectAfterMs ?? 0) >= 0)) throw new Error(JSON.stringify(crossed))
      JSON.parse(runner.pick(JSON.stringify(viewAt(0))))
    }), { numRuns: 2000 })
  })
})
