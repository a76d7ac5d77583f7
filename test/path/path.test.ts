import { describe, expect, it } from 'vitest'
import { codeOf, connectedPair, turns, until, watchContract } from '../fake/pair.ts'

watchContract()

const code = (thrown: string): unknown => expect.objectContaining({ code: thrown })

describe('the set', () => {
  it('knows the first path and replays membership to late subscribers', async () => {
    const { near, done } = await connectedPair()
    await near.paths.ready({ count: 1 })
    expect(near.paths.size).toBe(1)
    expect([...near.paths].map((path) => path.id)).toEqual([0])
    const sizes: number[] = []
    const events: string[] = []
    near.paths.all$.subscribe((all) => sizes.push(all.length))
    near.paths.events$.subscribe((event) => events.push(`${event.path} ${event.type}`))
    expect([sizes, events]).toEqual([[1], ['0 validated']])
    const path = await near.paths.open({ local: '127.0.0.2' })
    expect(path).toMatchObject({ id: 1, local: '127.0.0.2:4000', relayed: false, facts: { state: 'open' } })
    expect(near.paths.get(1)).toBe(path)
    await path.abandon()
    expect([sizes, events]).toEqual([[1, 2, 1], ['0 validated', '1 opening', '1 validated', '1 abandoned']])
    expect(near.paths.get(1)).toBeUndefined()
    expect(near.paths.explain().lines.length).toBe(1)
    await done()
  })

  it('opens only from the client, with one family, and says why not', async () => {
    const { near, far, done } = await connectedPair()
    expect(await codeOf(far.paths.open({ local: '127.0.0.2' }))).toBe('QB_PATH_ROLE')
    expect(await codeOf(near.paths.open({ local: '::1' }))).toBe('QB_OPTION_INVALID')
    expect(await codeOf(near.paths.open({ local: '127.0.0.2', remote: '127.0.0.1' }))).toBe('QB_OPTION_INVALID')
    expect(await codeOf(near.paths.open({ loc: '127.0.0.2' } as never))).toBe('QB_OPTION_UNKNOWN')
    expect(await codeOf(near.paths.open({ interface: 'eth0' }))).toBe('QB_OPTION_INVALID')
    expect(await codeOf(near.paths.open({ local: '127.0.0.2', remote: '127.0.0.1:1' }))).toBe('QB_PATH_VALIDATION')
    await done()
  })

  it('names what it waited for when time runs out, and cancels', async () => {
    const { network, near, done } = await connectedPair()
    const opening = near.paths.open({ local: '127.0.0.9' }, { timeoutMs: 50 })
    await expect(opening).rejects.toMatchObject({ code: 'QB_PATH_TIMEOUT', name: 'PathError', message: expect.stringContaining('peer-cids') })
    expect(network.endpoints[1]?.connections.get(1)?.orders.at(-1)).toEqual({ do: 'cancel-path', ticket: 1 })
    const ready = near.paths.ready({ count: 3, timeoutMs: 20 })
    await expect(ready).rejects.toMatchObject({ code: 'QB_PATH_TIMEOUT', message: expect.stringMatching(/1 of 3 .* path 0 127\.0\.0\.1:4000 .* open/) })
    await done()
  })

  it('rejects what waits with the reason of a signal, or when the connection ends', async () => {
    const { near, done } = await connectedPair()
    const abort = new AbortController()
    const gone = codeOf(near.paths.open({ local: '127.0.0.9' }, { signal: abort.signal }))
    const [opening, ready] = [codeOf(near.paths.open({ local: '127.0.0.9' })), codeOf(near.paths.ready({ count: 2 }))]
    abort.abort(Object.assign(new Error('x'), { code: 'MINE' }))
    expect(await gone).toBe('MINE')
    near.destroy()
    expect([await opening, await ready]).toEqual(['QB_CONNECTION_DESTROYED', 'QB_CONNECTION_DESTROYED'])
    expect(await codeOf(near.paths.open({ local: '127.0.0.2' }))).toBe('QB_CONNECTION_DESTROYED')
    await done()
  })
})

describe('a path', () => {
  it('tells its state hot with replay until it is abandoned', async () => {
    const { network, near, done } = await connectedPair()
    const path = await near.paths.open({ local: '127.0.0.2' })
    const states: string[] = []
    let completed = false
    path.state$.subscribe({ next: (facts) => states.push(`${facts.state} ${facts.status}`), complete: () => (completed = true) })
    path.setStatus('backup')
    await until(() => path.facts.status === 'backup')
    const side = network.endpoints[1]?.connections.get(1)
    if (side !== undefined) network.path(side, 1, 'abandoned', null, { type: 'abandoned', by: 'peer' })
    await until(() => completed)
    expect(states).toEqual(['open available', 'open backup', 'abandoned available'])
    expect(() => path.setStatus('available')).toThrow(code('QB_PATH_ABANDONED'))
    await path.abandon()
    await done()
  })

  it('moves to another address when the server has answered there', async () => {
    const { near, done } = await connectedPair({ features: ['migrate'] })
    await turns(5)
    const [path] = near.paths
    if (path === undefined) throw new Error('no path')
    const events: string[] = []
    near.paths.events$.subscribe((event) => { if (event.type === 'migrated') events.push(`${event.by} ${event.local}`) })
    await path.migrate({ local: '127.0.0.7' })
    expect([path.id, path.local, near.local, events]).toEqual([0, '127.0.0.7:0', '127.0.0.7:0', ['local 127.0.0.7:0']])
    await path.migrate()
    expect(path.local).toBe('127.0.0.8:4000')
    await expect(path.migrate({ local: '127.0.0.9' })).rejects.toMatchObject({ code: 'QB_PATH_VALIDATION', path: 0, message: expect.stringContaining('stays where it is') })
    expect(path.local).toBe('127.0.0.8:4000')
    await done()
  })

  it('does not move for a server, to another family, or with what is no address, and says so', async () => {
    const { near, far, done } = await connectedPair({ features: ['migrate'] })
    await turns(5)
    const [[mine], [theirs]] = [[...near.paths], [...far.paths]]
    const moved = (spec: object): Promise<unknown> => codeOf(mine?.migrate(spec as never) ?? Promise.resolve())
    expect(await codeOf(theirs?.migrate() ?? Promise.resolve())).toBe('QB_PATH_ROLE')
    expect(await moved({ local: '::1' })).toBe('QB_OPTION_INVALID')
    expect(await moved({ status: 'backup' })).toBe('QB_OPTION_INVALID')
    expect(await moved({ weight: 2 })).toBe('QB_OPTION_INVALID')
    expect(await moved({ from: '127.0.0.7' })).toBe('QB_OPTION_UNKNOWN')
    await done()
  })

  it('stays where it is when nobody waits for its move any more', async () => {
    const { network, near, done } = await connectedPair({ features: ['migrate'] })
    await turns(5)
    const [path] = near.paths
    const abort = new AbortController()
    const gone = codeOf(path?.migrate({ local: '127.0.0.10' }, { signal: abort.signal }) ?? Promise.resolve())
    await turns(5)
    abort.abort(Object.assign(new Error('x'), { code: 'MINE' }))
    expect(await gone).toBe('MINE')
    expect(network.endpoints[1]?.connections.get(1)?.orders.at(-1)).toEqual({ do: 'cancel-migration', path: 0 })
    const cut = codeOf(path?.migrate({ local: '127.0.0.10' }) ?? Promise.resolve())
    await turns(5)
    near.destroy()
    expect(await cut).toBe('QB_CONNECTION_DESTROYED')
    await done()
  })

  it('cannot be the last one abandoned, and has numbers before and after', async () => {
    const { near, done } = await connectedPair()
    await turns(5)
    const [path] = near.paths
    expect(await codeOf(path?.abandon() ?? Promise.resolve())).toBe('QB_PATH_LAST')
    expect(path?.statistics()).toMatchObject({ latestRttMs: 1, smoothedRttMs: 2, ecn: 'capable', sendErrors: 23 })
    expect(() => path?.setWeight(2)).toThrow(code('QB_OPTION_INVALID'))
    expect(() => path?.setStatus('best' as never)).toThrow(code('QB_OPTION_INVALID'))
    const metrics: number[] = []
    path?.metrics$.subscribe((now) => metrics.push(now.latestRttMs))
    near.destroy()
    expect(metrics).toEqual([1, 1])
    expect(path?.statistics().latestRttMs).toBe(1)
    expect(() => path?.setStatus('backup')).toThrow(code('QB_CONNECTION_DESTROYED'))
    await done()
  })
})
