/** Feeds: what belongs to rxjs is made for the first who looks, and nobody can tell. */
import { describe, expect, it } from 'vitest'
import { hot, sampled, watched } from '../../src/config/observe.ts'
import type { Observable } from '../../src/config/observe.ts'
import { LazyDeferred } from '../../src/config/waiting.ts'

function seen(values$: Observable<unknown>): unknown[] {
  const got: unknown[] = []
  values$.subscribe({ next: (value) => got.push(value), complete: () => got.push('complete') })
  return got
}

/** Timers that run when they are told to. */
function clockwork(): { timing: Parameters<typeof sampled>[0]['timing']; tick(): void } {
  const running = new Set<() => void>()
  const every = (_: number, run: () => void): (() => void) => {
    running.add(run)
    return () => running.delete(run)
  }
  return { timing: { every } as never, tick: () => running.forEach((run) => run()) }
}

describe('a hot feed', () => {
  it('replays the last values, whether somebody looked before or not', () => {
    const feed = hot<number>(2)
    for (const value of [1, 2, 3]) feed.emit(value)
    const first = seen(feed.values$)
    feed.emit(4)
    feed.end()
    feed.emit(5)
    expect(first).toEqual([2, 3, 4, 'complete'])
    expect(seen(feed.values$)).toEqual([3, 4, 'complete'])
    expect(feed.values$).toBe(feed.values$)
  })

  it('replays to those who look first after its end', () => {
    const feed = hot<number>(1)
    feed.emit(1)
    feed.end()
    feed.emit(2)
    expect(seen(feed.values$)).toEqual([1, 'complete'])
  })
})

describe('a watched feed', () => {
  it('tells when somebody watches, and nothing after its end', () => {
    const told: boolean[] = []
    const feed = watched<number>((on) => told.push(on))
    feed.emit(1)
    const both = [feed.values$.subscribe(), feed.values$.subscribe()]
    for (const one of both) one.unsubscribe()
    expect(told).toEqual([true, false])
    feed.end()
    expect(seen(feed.values$)).toEqual(['complete'])
    expect(told).toEqual([true, false])
  })
})

describe('a sampled feed', () => {
  it('reads while somebody is subscribed, and once more at its end', () => {
    let value = 0
    const { timing, tick } = clockwork()
    const feed = sampled({ intervalMs: 10, timing }, () => (value += 1))
    tick()
    const got = seen(feed.values$)
    tick()
    feed.end()
    tick()
    expect(got).toEqual([1, 2, 3, 'complete'])
  })

  it('has its last value for those who look first after its end', () => {
    const feed = sampled({ intervalMs: 10, timing: clockwork().timing }, () => 7)
    feed.end()
    expect(seen(feed.values$)).toEqual([7, 'complete'])
    expect(seen(feed.values$)).toEqual([7, 'complete'])
  })
})

describe('a promise that is made when it is asked for', () => {
  it('ends as it was first told to, before or after', async () => {
    const [before, after, failed] = [new LazyDeferred<number>(), new LazyDeferred<number>(), new LazyDeferred<number>()]
    before.resolve(1)
    before.reject(new Error('too late'))
    const asked = after.promise
    after.resolve(2)
    failed.reject(new Error('refused'))
    expect(await before.promise).toBe(1)
    expect(await asked).toBe(2)
    expect(after.promise).toBe(asked)
    await expect(failed.promise).rejects.toThrow('refused')
  })
})
