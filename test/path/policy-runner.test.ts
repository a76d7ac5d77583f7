/** When a policy is asked, what of its answers is done, and what comes of mistakes. */
import { describe, expect, it } from 'vitest'
import { InterfaceWatch } from '../../src/path/index.ts'
import type { InterfaceAddress, PathAction, PathPolicy, PathPolicyView } from '../../src/path/index.ts'
import { FakeClock } from '../fake/clock.ts'
import { device, PolicyBench } from './policy-bench.ts'

const policy = (decide: (view: PathPolicyView) => unknown): PathPolicy => ({ name: 'mine', decide: decide as PathPolicy['decide'] })
const quiet = policy(() => [])
const gaps = (bench: PolicyBench): number[] => bench.decisions.map(({ nowMs }, index) => nowMs - (bench.decisions[index - 1]?.nowMs ?? -Infinity)).slice(1)

describe('decisions', () => {
  it('come when the handshake is confirmed, when an interface or a path changes, and every 5 s', async () => {
    const bench = new PolicyBench(quiet, { interfaces: [device('a', '10.0.0.1')] })
    await bench.clock.advance(20_000)
    expect(bench.decisions).toHaveLength(0)
    await bench.start()
    expect(bench.decisions).toHaveLength(1)
    await bench.clock.advance(4000)
    expect(bench.decisions).toHaveLength(1)
    await bench.clock.advance(1000)
    expect(bench.decisions).toHaveLength(2)
    bench.interfaces = [device('a', '10.0.0.1'), device('b', '10.0.0.2')]
    await bench.clock.advance(1000)
    expect(bench.decisions.at(-1)?.interfaces.map(({ name }) => name)).toEqual(['a', 'b'])
    bench.suspect(0)
    await bench.clock.advance(100)
    expect(bench.decisions).toHaveLength(4)
  })

  it('see addresses, servers and paths, and cannot change them', async () => {
    const bench = await new PolicyBench(quiet, { interfaces: [device('a', '2001:DB8::0:1')], remotes: ['192.0.2.1:1', '192.0.2.2:1'] }).start()
    const [view] = bench.decisions
    expect(view).toMatchObject({ interfaces: [{ name: 'a', address: '2001:db8::1', up: true }], remotes: ['192.0.2.1:1', '192.0.2.2:1'], paths: [{ id: 0 }] })
    expect([view, view?.interfaces, view?.interfaces[0], view?.paths].every(Object.isFrozen)).toBe(true)
  })

  it('are at most 10 a second, whatever happens', async () => {
    const bench = await new PolicyBench(quiet).start()
    for (let index = 0; index < 300; index++) {
      bench.suspect(0, index % 2 === 0)
      await bench.clock.advance(7)
    }
    expect(Math.min(...gaps(bench))).toBeGreaterThanOrEqual(100)
    expect(bench.decisions.length).toBeGreaterThan(15)
  })

  it('come more often while a path is being opened', async () => {
    let asked = false
    const bench = new PolicyBench(policy(() => (asked ? [] : ((asked = true), [{ do: 'open', spec: { local: '10.0.0.2' } }]))))
    bench.answerMs = 3000
    await bench.start()
    await bench.clock.advance(2000)
    expect(Math.max(...gaps(bench))).toBeLessThanOrEqual(250)
  })

  it('notice that the only path has fallen silent', async () => {
    const bench = await new PolicyBench(quiet).start()
    const path = bench.paths.get(0)
    if (path !== undefined) path.ptoCount = 2
    await bench.clock.advance(500)
    expect(bench.decisions).toHaveLength(2)
  })

  it('end with the connection, and leave no timer', async () => {
    const bench = await new PolicyBench(quiet).start()
    bench.runner.stop()
    expect(bench.clock.size).toBe(0)
    bench.runner.changed('trouble')
    await bench.clock.advance(10_000)
    expect(bench.decisions).toHaveLength(1)
    expect(bench.runner.lines()).toEqual(['path policy mine: over'])
  })
})

describe('mistakes of a policy', () => {
  it.each<[string, () => unknown]>([
    ['a throw', () => { throw new Error('mine') }],
    ['no list', () => 'open everything'],
    ['a promise', () => Promise.reject(new Error('later'))],
    ['an unknown action', () => [{ do: 'open', spec: { local: '10.0.0.2' } }, { do: 'close' }]],
    ['a wrong status', () => [{ do: 'status', path: 0, status: 'best' }]],
    ['a path that is no number', () => [{ do: 'abandon', path: '0' }]],
    ['a spec of two families', () => [{ do: 'open', spec: { local: '::1' } }]],
    ['an unknown field', () => [{ do: 'open', spec: { address: '10.0.0.2' } }]],
    ['too many actions', () => Array.from({ length: 33 }, () => ({ do: 'abandon', path: 0 }))],
  ])('change nothing and are told at most once a second: %s', async (_name, decide) => {
    const bench = await new PolicyBench(policy(decide)).start()
    for (let index = 0; index < 20; index++) {
      bench.suspect(0, index % 2 === 0)
      await bench.clock.advance(100)
    }
    expect(bench.calls).toEqual([])
    expect(bench.failures.length).toBeGreaterThanOrEqual(2)
    expect(bench.failures.length).toBeLessThanOrEqual(3)
  })

  it('that the engine finds are told too', async () => {
    const bench = await new PolicyBench(policy(() => [{ do: 'open', spec: { interface: 'wrong' } }])).start()
    expect(bench.failures).toMatchObject([{ code: 'QB_OPTION_INVALID' }])
  })
})

describe('actions', () => {
  it('never abandon the last path that works, nor leave only suspect ones', async () => {
    const bench = await new PolicyBench(policy(({ paths }) => paths.map(({ id }) => ({ do: 'abandon', path: id })))).start()
    expect(bench.what()).toEqual([])
    const spare = await new PolicyBench(policy(({ paths }) => [{ do: 'open', spec: { local: '10.0.0.2' } }, ...(paths.length > 1 ? [{ do: 'abandon', path: 0 }] : [])])).start()
    expect(spare.locals()).toEqual(['10.0.0.2'])
    const poor = await new PolicyBench(policy(({ paths }) => (paths.length === 1 ? [{ do: 'open', spec: { local: '10.0.0.2' } }] : paths.some(({ facts }) => facts.suspect) ? [{ do: 'abandon', path: 0 }] : []))).start()
    poor.suspect(1)
    await poor.clock.advance(6000)
    expect(poor.locals()).toEqual(['10.0.0.1', '10.0.0.2'])
  })

  it('open nothing beyond maxPaths, nor a path that is there or on its way in other words', async () => {
    const specs = [{ local: '10.0.0.1' }, {}, { interface: 'a' }, { local: '10.0.0.2' }, { local: '10.0.0.2:0' }, { local: '10.0.0.3' }, { local: '10.0.0.4' }]
    const bench = new PolicyBench(policy(() => specs.map((spec): PathAction => ({ do: 'open', spec }))), { interfaces: [device('a', '10.0.0.1')], maxPaths: 3 })
    await bench.start()
    expect(bench.locals()).toEqual(['10.0.0.1', '10.0.0.2', '10.0.0.3'])
    expect(bench.failures).toEqual([])
  })

  it('are at most 32 a second, opens of ever new addresses too', async () => {
    let count = 0
    const bench = new PolicyBench(policy(() => Array.from({ length: 8 }, (): PathAction => ({ do: 'open', spec: { local: `10.1.${(count += 1) >> 8}.${count & 255}`, interface: 'gone' } }))))
    bench.unbindable.add('gone')
    await bench.start()
    for (let index = 0; index < 50; index++) {
      bench.suspect(0, index % 2 === 0)
      await bench.clock.advance(100)
    }
    expect(bench.calls.length).toBeGreaterThan(100)
    expect(Math.max(...bench.calls.map(({ atMs }) => bench.calls.filter((other) => other.atMs >= atMs && other.atMs < atMs + 1000).length))).toBeLessThanOrEqual(32)
  })

  it('try an address that fails again after 1, 2, 4 … seconds, and say so', async () => {
    const bench = new PolicyBench('all-interfaces', { interfaces: [device('a', '10.0.0.1'), device('b', '10.0.0.2')] })
    bench.dead.add('10.0.0.2')
    await bench.start()
    expect(bench.runner.lines()).toEqual([expect.stringContaining('decisions'), expect.stringMatching(/^path policy all-interfaces: 10\.0\.0\.2 to 192\.0\.2\.1:443 again in 0\.\d s \(QB_PATH_VALIDATION\)$/)])
    await bench.clock.advance(20_000)
    const times = bench.calls.map(({ atMs }) => atMs)
    expect(times.map((atMs, index) => Math.round((atMs - (times[index - 1] ?? atMs)) / 1000))).toEqual([0, 1, 2, 4, 8])
    expect(bench.notes[0]).toMatchObject({ policy: 'all-interfaces', error: { code: 'QB_PATH_VALIDATION' } })
    bench.dead.clear()
    await bench.clock.advance(60_000)
    expect(bench.locals()).toEqual(['10.0.0.1', '10.0.0.2'])
  })

  it('do not reopen a path in a storm that dies again and again, nor wait for one that had lived', async () => {
    const bench = await new PolicyBench('all-interfaces', { interfaces: [device('a', '10.0.0.1'), device('b', '10.0.0.2')] }).start()
    for (let index = 0; index < 100; index++) {
      for (const { id } of bench.paths.values()) if (id > 0) bench.end(id)
      await bench.clock.advance(200)
    }
    expect(bench.calls.length).toBeLessThanOrEqual(6)
    await bench.clock.advance(60_000)
    const known = bench.calls.length
    for (const { id } of bench.paths.values()) if (id > 0) bench.end(id)
    await bench.clock.advance(200)
    expect(bench.calls).toHaveLength(known + 1)
  })
})

describe('interfaces', () => {
  it('are read once a second while somebody listens, at once when there is trouble, and survive a source that throws', async () => {
    const clock = new FakeClock()
    let reads = 0
    let now: InterfaceAddress[] | null = [device('a', '10.0.0.1')]
    const watch = new InterfaceWatch(() => {
      reads += 1
      if (now === null) throw new Error('no permission')
      return now
    }, clock)
    await clock.advance(5000)
    expect(reads).toBe(0)
    let changes = 0
    const stop = watch.listen(() => (changes += 1))
    await clock.advance(3000)
    expect([reads, changes]).toEqual([4, 0])
    now = [device('a', '10.0.0.1', false)]
    watch.look()
    await clock.advance(500)
    expect([changes, watch.current[0]?.up]).toEqual([1, false])
    for (let index = 0; index < 50; index++) watch.look()
    await clock.advance(500)
    expect(reads).toBeLessThanOrEqual(8)
    now = null
    await clock.advance(2000)
    expect([changes, watch.current.length]).toEqual([1, 1])
    stop()
    expect(clock.size).toBe(0)
  })
})
