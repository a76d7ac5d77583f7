/** When a private end dials (docs/spec/reverse.md §2, §3, §5), as tables: time and chance are arguments, nothing is dialled. */
import { describe, expect, it } from 'vitest'
import { Preconnector } from '../../src/reverse/preconnector.ts'
import type { Member, Outlook } from '../../src/reverse/preconnector.ts'
import type { PreconnectChange, PreconnectState } from '../../src/reverse/types.ts'
import { seeded } from './seeded.ts'

const DEFAULT = { minMs: 1000, maxMs: 30_000, factor: 2, jitter: 0.2 }
const FIXED = { minMs: 1000, maxMs: 1000, factor: 1, jitter: 0 }
const WITHOUT_CHANCE = { ...DEFAULT, jitter: 0 }

interface Bench {
  machine: Preconnector
  changes: PreconnectChange[]
  states: () => PreconnectState[]
  /** Begins the attempt that is due at `atMs`, which the public end accepts. */
  accept: (atMs: number) => Member
  /** As `accept`, and it fails. */
  fail: (atMs: number, outlook?: Outlook) => void
}

function bench(options: { pool?: number; retry?: typeof DEFAULT; random?: () => number } = {}): Bench {
  const { pool = 1, retry = WITHOUT_CHANCE, random = () => 0.5 } = options
  const changes: PreconnectChange[] = []
  const machine = new Preconnector({ pool, retry, random, onChange: (change) => changes.push(change) })
  const dial = (atMs: number): void => expect(machine.poll(atMs), `a dial at ${atMs}`).toBe('dial')
  return {
    machine, changes,
    states: () => changes.map(({ state }) => state),
    accept: (atMs) => {
      dial(atMs)
      return machine.onAccepted(atMs)
    },
    fail: (atMs, outlook = 'again') => {
      dial(atMs)
      machine.onFailed(new Error('no'), outlook, atMs)
    },
  }
}

/** A machine in each of its states, at time 0. */
const IN: Record<PreconnectState, () => Bench & { member: Member | null }> = {
  STOP: () => ({ ...bench({ pool: 2 }), member: null }),
  INIT: () => {
    const made = bench({ pool: 2 })
    made.machine.enable(0)
    return { ...made, member: made.accept(0) }
  },
  FULL: () => {
    const made = bench({ pool: 2 })
    made.machine.enable(0)
    made.accept(0)
    return { ...made, member: made.accept(0) }
  },
  ERR: () => {
    const made = bench({ pool: 2 })
    made.machine.enable(0)
    const member = made.accept(0)
    made.fail(0)
    return { ...made, member }
  },
}

type Input = 'enable' | 'stop' | 'accepted' | 'failed' | 'withdrawn' | 'lost' | 'network'

function put(input: Input, { machine, member }: { machine: Preconnector; member: Member | null }, atMs: number): void {
  if (input === 'enable') machine.enable(atMs)
  else if (input === 'stop') machine.stop('stopped', atMs)
  else if (input === 'network') machine.onNetwork(atMs)
  else if (input === 'withdrawn') machine.onWithdrawn(atMs)
  else if (input === 'lost') machine.onLost(member ?? { acceptedAtMs: 0 }, 'gone', null, atMs)
  else {
    machine.poll(atMs)
    if (input === 'accepted') machine.onAccepted(atMs)
    else machine.onFailed(new Error('no'), 'again', atMs)
  }
}

describe('a preconnector', () => {
  /** reverse §2 */
  it.each<[PreconnectState, Input, PreconnectState]>([
    ['STOP', 'enable', 'INIT'], ['STOP', 'stop', 'STOP'], ['STOP', 'accepted', 'STOP'], ['STOP', 'failed', 'STOP'], ['STOP', 'withdrawn', 'STOP'], ['STOP', 'lost', 'STOP'], ['STOP', 'network', 'STOP'],
    ['INIT', 'enable', 'INIT'], ['INIT', 'stop', 'STOP'], ['INIT', 'accepted', 'FULL'], ['INIT', 'failed', 'ERR'], ['INIT', 'withdrawn', 'INIT'], ['INIT', 'lost', 'INIT'], ['INIT', 'network', 'INIT'],
    ['FULL', 'enable', 'FULL'], ['FULL', 'stop', 'STOP'], ['FULL', 'lost', 'INIT'], ['FULL', 'network', 'FULL'],
    ['ERR', 'enable', 'ERR'], ['ERR', 'stop', 'STOP'], ['ERR', 'accepted', 'FULL'], ['ERR', 'failed', 'ERR'], ['ERR', 'withdrawn', 'ERR'], ['ERR', 'lost', 'ERR'], ['ERR', 'network', 'ERR'],
  ])('in %s, told %s, is in %s, and says so only if that is a change', (before, input, after) => {
    const made = IN[before]()
    const told = made.changes.length
    put(input, made, 5000)
    expect(made.machine.state).toBe(after)
    expect(made.states().slice(told)).toEqual(before === after ? [] : [after])
  })

  /** reverse §2: ERR is left for INIT where more than one is missing */
  it('that has been accepted again after a failure is below its pool until the last is there', () => {
    const { machine, accept, fail, states } = bench({ pool: 2 })
    machine.enable(0)
    fail(0)
    accept(1000)
    accept(1000)
    expect(states()).toEqual(['INIT', 'ERR', 'INIT', 'FULL'])
  })

  /** reverse V10 */
  it('makes connections one after another: the next begins in the turn in which one was accepted, none beside it', () => {
    const { machine, accept } = bench({ pool: 3 })
    machine.enable(0)
    for (const atMs of [10, 20, 30]) {
      accept(atMs)
      expect(machine.live).toBe(atMs / 10)
    }
    expect([machine.state, machine.poll(1e9)]).toEqual(['FULL', null])
    const alone = bench({ pool: 3 })
    alone.machine.enable(0)
    expect([alone.machine.poll(0), alone.machine.poll(0), alone.machine.poll(1e9)]).toEqual(['dial', null, null])
  })

  /** reverse V11 */
  it('dials at once when it is enabled, and not before', () => {
    const { machine } = bench()
    expect(machine.poll(0)).toBe(null)
    machine.enable(7)
    expect(machine.poll(7)).toBe('dial')
  })

  /** reverse V31, V32: pauses after failures in a row */
  it.each<[string, typeof DEFAULT, number, Outlook, number[]]>([
    ['the default', DEFAULT, 0.5, 'again', [1000, 2000, 4000, 8000, 16_000, 30_000, 30_000]],
    ['the default, chance at its least', DEFAULT, 0, 'again', [800, 1600, 3200, 6400, 12_800, 24_000, 24_000]],
    ['the default, chance at its most', DEFAULT, 1, 'again', [1200, 2400, 4800, 9600, 19_200, 36_000, 36_000]],
    ['fixed', FIXED, 1, 'again', [1000, 1000, 1000, 1000, 1000, 1000, 1000]],
    ['the default where a person is needed', DEFAULT, 0.5, 'person', [30_000, 30_000, 30_000, 30_000, 30_000, 30_000, 30_000]],
    ['fixed where a person is needed', FIXED, 0.5, 'person', [1000, 1000, 1000, 1000, 1000, 1000, 1000]],
  ])('waits after each failure: %s', (_name, retry, chance, outlook, pauses) => {
    const { machine, fail } = bench({ retry, random: () => chance })
    machine.enable(0)
    let nowMs = 0
    for (const pause of pauses) {
      fail(nowMs, outlook)
      const due = machine.poll(nowMs)
      expect(due).toBeCloseTo(nowMs + pause, 6)
      expect(machine.poll(Number(due) - 1)).toBe(due)
      nowMs = Number(due)
    }
  })

  /** reverse V14, V32 */
  it.each([
    [0, 1000], [999, 1000], [1000, 0], [9999, 0], [60_000, 0],
  ])('replaces a connection that lived %d ms after %d ms', (livedMs, pauseMs) => {
    const { machine, accept } = bench()
    machine.enable(0)
    const member = accept(0)
    machine.onLost(member, 'gone', null, livedMs)
    expect(machine.poll(livedMs)).toBe(pauseMs === 0 ? 'dial' : livedMs + pauseMs)
  })

  /** reverse V14 */
  it.each([['fixed', FIXED], ['default', DEFAULT]])('dials at most 4 times in 4 s a public end that accepts and closes at once: %s', (_name, retry) => {
    for (let seed = 1; seed <= 50; seed += 1) {
      const { machine } = bench({ retry, random: seeded(seed) })
      machine.enable(0)
      let dials = 0
      for (let nowMs = 0; nowMs < 4000; nowMs += 1) {
        if (machine.poll(nowMs) !== 'dial') continue
        dials += 1
        machine.onLost(machine.onAccepted(nowMs), 'closed', null, nowMs)
      }
      expect(dials).toBeLessThanOrEqual(4)
    }
  })

  /** reverse V14: told twice (DRAINING, then CLOSED) it counts once */
  it('counts a connection that is lost once', () => {
    const { machine, accept, states } = bench({ pool: 2 })
    machine.enable(0)
    const member = accept(0)
    accept(0)
    machine.onLost(member, 'draining', null, 5000)
    accept(5000)
    machine.onLost(member, 'closed', null, 6000)
    expect([machine.live, machine.poll(6000), states()]).toEqual([2, null, ['INIT', 'FULL', 'INIT', 'FULL']])
  })

  /** reverse V32 */
  it('forgets failures when a connection has lived for 10 s, whether it was lost or not', () => {
    const pauseAfter = (livedMs: number, lose: boolean): number => {
      const { machine, accept, fail } = bench({ pool: 2 })
      machine.enable(0)
      fail(0)
      fail(1000)
      fail(3000)
      const member = accept(7000)
      expect(machine.poll(7000)).toBe('dial')
      const nowMs = 7000 + livedMs
      if (lose) machine.onLost(member, 'gone', null, nowMs)
      machine.onFailed(new Error('no'), 'again', nowMs)
      return Number(machine.poll(nowMs)) - nowMs
    }
    expect([pauseAfter(9999, false), pauseAfter(9999, true), pauseAfter(10_000, false), pauseAfter(10_000, true)]).toEqual([8000, 8000, 1000, 1000])
  })

  /** reverse V32 */
  it('forgets failures once for each connection that was steady: a second one that is always refused gets rare', () => {
    const { machine, accept, fail } = bench({ pool: 2 })
    machine.enable(0)
    accept(0)
    let nowMs = 0
    const pauses: number[] = []
    for (let count = 0; count < 8; count += 1) {
      fail(nowMs)
      const due = Number(machine.poll(nowMs))
      pauses.push(due - nowMs)
      nowMs = due
    }
    // Steady in the pause after the fourth failure.
    expect(pauses).toEqual([1000, 2000, 4000, 8000, 1000, 2000, 4000, 8000])
  })

  /** reverse V32 */
  it('dials now when the network has changed, in a pause or when the attempt that was under way has failed', () => {
    const { machine, fail } = bench()
    machine.enable(0)
    fail(0, 'person')
    machine.onNetwork(12_000)
    fail(12_000, 'person')
    expect(machine.poll(12_000)).toBe(42_000)
    machine.onNetwork(20_000)
    expect(machine.poll(20_000)).toBe('dial')
    machine.onNetwork(22_000)
    machine.onFailed(new Error('timeout'), 'again', 25_000)
    expect(machine.poll(25_000)).toBe('dial')
    machine.onFailed(new Error('timeout'), 'person', 25_000)
    expect(machine.poll(25_000)).toBe(55_000)
  })

  /** reverse V32 */
  it('begins an attempt anew that was given up, not within a second of it, and counts no failure', () => {
    const { machine, fail, states } = bench()
    machine.enable(0)
    expect(machine.poll(0)).toBe('dial')
    machine.onNetwork(300)
    machine.onWithdrawn(300)
    expect([machine.poll(300), machine.poll(1000)]).toEqual([1000, 'dial'])
    machine.onWithdrawn(4000)
    fail(4000)
    expect([machine.poll(4000), states()]).toEqual([5000, ['INIT', 'ERR']])
  })

  /** reverse V14, V32; attacks H8 */
  it('attack H8: never dials twice within a second without a pause between, however often the network changes and connections are lost', () => {
    const { machine, fail } = bench({ pool: 2 })
    machine.enable(0)
    fail(0)
    machine.onNetwork(10)
    expect(machine.poll(10)).toBe(1000)
    const more = bench({ pool: 3 })
    more.machine.enable(0)
    const members = [more.accept(0), more.accept(0), more.accept(0)]
    const dials: number[] = []
    for (let nowMs = 5000; nowMs < 65_000; nowMs += 100) {
      const member = members.pop()
      if (member !== undefined) more.machine.onLost(member, 'gone', null, nowMs)
      more.machine.onNetwork(nowMs)
      if (more.machine.poll(nowMs) !== 'dial') continue
      dials.push(nowMs)
      more.machine.onFailed(new Error('refused'), 'again', nowMs)
    }
    expect(dials.slice(1).map((at, index) => at - (dials[index] ?? 0)).every((gap) => gap >= 1000)).toBe(true)
  })

  /** reverse V15 */
  it.each<PreconnectState>(['STOP', 'INIT', 'FULL', 'ERR'])('is quiet after a stop in %s, whatever comes late', (before) => {
    const made = IN[before]()
    made.machine.poll(5000)
    made.machine.stop('stopped', 6000)
    const told = made.changes.length
    for (const input of ['accepted', 'failed', 'withdrawn', 'lost', 'network', 'stop'] as const) put(input, made, 7000)
    expect([made.machine.state, made.machine.poll(1e9), made.machine.live, made.changes.length]).toEqual(['STOP', null, 0, told])
    made.machine.enable(8000)
    expect([made.machine.state, made.machine.poll(8000)]).toEqual(['INIT', 'dial'])
  })

  /** reverse §2: a public end that is away for a day gives one line */
  it('says again that attempts fail when they fail for another reason', () => {
    const { machine, changes } = bench()
    machine.enable(0)
    let nowMs = 0
    for (const code of ['QB_CONNECT_REFUSED', 'QB_CONNECT_REFUSED', 'QB_TLS_CERTIFICATE', 'QB_TLS_CERTIFICATE', 'QB_CONNECT_REFUSED']) {
      for (let due = machine.poll(nowMs); due !== 'dial'; due = machine.poll(nowMs)) nowMs = Number(due)
      machine.onFailed(Object.assign(new Error(`${code} at ${nowMs}`), { code }), 'again', nowMs)
    }
    expect(changes.slice(1).map(({ state, error }) => [state, (error as { code?: string } | null)?.code])).toEqual([['ERR', 'QB_CONNECT_REFUSED'], ['ERR', 'QB_TLS_CERTIFICATE'], ['ERR', 'QB_CONNECT_REFUSED']])
  })

  it('says once that the public end is away, for a day', () => {
    const { machine, states } = bench({ retry: DEFAULT, random: seeded(3) })
    machine.enable(0)
    let dials = 0
    for (let nowMs = 0; nowMs < 86_400_000;) {
      const due = machine.poll(nowMs)
      if (due !== 'dial') nowMs = Number(due)
      else {
        dials += 1
        machine.onFailed(new Error('away'), 'again', nowMs)
      }
    }
    expect(states()).toEqual(['INIT', 'ERR'])
    expect(dials).toBeGreaterThan(2000)
    expect(dials).toBeLessThan(3500)
  })
})

describe('a thousand private ends whose public end restarts', () => {
  /** reverse V33; attacks H8 */
  it.each([300, 1500, 5000, 30_000])('attack H8: a thousand private ends come back spread over a second at least after an outage of %d ms', (outageMs) => {
    const backAtMs = Array.from({ length: 1000 }, (_, index) => {
      const { machine, accept } = bench({ retry: DEFAULT, random: seeded(1000 + index) })
      machine.enable(-60_000)
      machine.onLost(accept(-60_000), 'closed', null, 0)
      const dials: number[] = []
      for (let nowMs = 0; ;) {
        const due = machine.poll(nowMs)
        if (due === null) return nowMs
        if (due !== 'dial') nowMs = due
        else if (nowMs >= outageMs) machine.onAccepted(nowMs)
        else {
          // After five failures at most one dial a second.
          const before = dials.at(-1)
          if (dials.length >= 5 && before !== undefined) expect(nowMs - before).toBeGreaterThanOrEqual(1000)
          dials.push(nowMs)
          machine.onFailed(new Error('refused'), 'again', nowMs)
        }
      }
    }).sort((a, b) => a - b)
    expect((backAtMs.at(-1) ?? 0) - (backAtMs[0] ?? 0)).toBeGreaterThanOrEqual(1000)
    // Nor do most of them come in one part of it: of any 100 ms no more than a fifth of all.
    const most = Math.max(...backAtMs.map((at) => backAtMs.filter((other) => other >= at && other < at + 100).length))
    expect(most).toBeLessThanOrEqual(200)
  })
})
