/** Rules of docs/spec/reverse.md §6 about pools and requests, in virtual time, with private ends that say what the test says. */
import { describe, expect, it } from 'vitest'
import type { Connection } from '../../src/index.ts'
import { World } from '../../src/sim/index.ts'
import type { BidirectionalStream } from '../../src/stream/index.ts'
import { codeOf } from '../fake/pair.ts'
import { MODULE_BUILT } from '../native/built.ts'
import { ask, echo, inReverseWorld } from './world.ts'

/** Requests that stay open, and where they went. */
async function open(pool: { request(key?: string): Promise<BidirectionalStream> }, count: number): Promise<Connection[]> {
  return (await Promise.all(Array.from({ length: count }, () => pool.request('web')))).map(({ connection }) => connection)
}

const countOf = (list: readonly Connection[], one: Connection): number => list.filter((other) => other.remote === one.local).length

describe.skipIf(!MODULE_BUILT)('a pool', { timeout: 60_000 }, () => {
  /** reverse V41, V42 */
  it('takes the connection with the fewest open streams, and many at once', async () => {
    await inReverseWorld(async ({ listener, join, world }) => {
      const ends = [await join('web'), await join('web'), await join('web')]
      const pool = listener.pool('web')
      expect(pool.size).toBe(3)
      const requests = await Promise.all(Array.from({ length: 42 }, () => pool.request()))
      const counts = new Map<Connection, number>()
      for (const { connection } of requests) counts.set(connection, (counts.get(connection) ?? 0) + 1)
      expect([...counts.values()]).toEqual([14, 14, 14])
      // One that has ended its requests is the best.
      const [first] = requests
      const mine = requests.filter(({ connection }) => connection === first?.connection)
      for (const request of mine) expect(await ask(request, 'x')).toBe('x')
      await world.sleep(100)
      expect((await pool.request()).connection).toBe(first?.connection)
      expect(listener.statistics()).toMatchObject({ connections: 3, requests: 43, streamsOpen: 29, unserved: 0 })
      expect(ends.map(({ requests: served }) => served.length).reduce((sum, count) => sum + count, 0)).toBeGreaterThanOrEqual(14)
    })
  })

  /** reverse V41, V46 */
  it('takes the lowest round-trip time of those, and none whose path is broken while another is there', async () => {
    const pair = World.pair([{ delayMs: 40 }, { delayMs: 5 }])
    await inReverseWorld(async ({ listener, join, world, links, paths }) => {
      const [slow, fast] = [await join('web', { connection: { paths: paths.slice(0, 1) } }), await join('web', { connection: { paths: paths.slice(1) } })]
      const pool = listener.pool()
      for (let turn = 0; turn < 3; turn += 1) {
        const request = await pool.request('web')
        expect([turn, request.connection.remote]).toEqual([turn, fast.connection.local])
        expect(await ask(request, 'x')).toBe('x')
        await world.sleep(100)
      }
      // A request that has no answer finds out that the path is broken; it goes on when that is mended.
      links[1]?.cut()
      const stuck = await pool.request('web')
      expect(countOf([stuck.connection], fast.connection)).toBe(1)
      const answer = ask(stuck, 'stuck')
      await world.sleep(1000)
      expect(new Set(await open(pool, 5))).toEqual(new Set([(await pool.request('web')).connection]))
      expect((await pool.request('web')).connection.remote).toBe(slow.connection.local)
      links[1]?.restore()
      expect(await answer).toBe('stuck')
      await world.sleep(2000)
      expect((await pool.request('web')).connection.remote).toBe(fast.connection.local)
      // Without another it is better than none.
      await slow.connection.close()
      await world.sleep(100)
      links[1]?.cut()
      const last = await pool.request('web')
      last.write(Buffer.from('x'))
      await world.sleep(1000)
      expect((await pool.request('web')).connection).toBe(last.connection)
      links[1]?.restore()
    }, { pair })
  })

  /** reverse V41 */
  it('counts stream credit: none is left, one comes back, one more is granted', async () => {
    await inReverseWorld(async ({ listener, join, world }) => {
      const { connection } = await join('web', { streams: 2 })
      const pool = listener.pool('web')
      const [first, second] = [await pool.request(), await pool.request()]
      await expect(pool.request()).rejects.toMatchObject({ code: 'QB_REVERSE_NO_CONNECTION', message: expect.stringContaining('no room for another stream') })
      const third = pool.request(undefined, { waitForMs: 5000 })
      const fourth = pool.request('web', { waitForMs: 5000 })
      expect(listener.statistics().waiting).toBe(2)
      expect(await ask(first, 'a')).toBe('a')
      expect(await ask(await third, 'c')).toBe('c')
      expect(await ask(await fourth, 'd')).toBe('d')
      expect(await ask(second, 'b')).toBe('b')
      await world.sleep(100)
      expect(listener.statistics()).toMatchObject({ waiting: 0, streamsOpen: 0, requests: 4, unserved: 1 })
      await connection.close()
    })
  })

  /** reverse V41 */
  it('lets a request wait for a connection, for its time and no longer', async () => {
    await inReverseWorld(async ({ listener, join, world }) => {
      const pool = listener.pool()
      const abort = new AbortController()
      const [short, long, any, aborted] = [pool.request('web', { waitForMs: 100 }), pool.request('web', { waitForMs: 5000 }), pool.request(undefined, { waitForMs: 5000 }), pool.request('web', { waitForMs: 5000, signal: abort.signal })]
      expect(await codeOf(pool.request('web', { waitForMs: 5000 }))).toBe('QB_REVERSE_NO_CONNECTION')
      const since = world.nowMs
      expect(await codeOf(short)).toBe('QB_REVERSE_NO_CONNECTION')
      expect(world.nowMs - since).toBe(100)
      abort.abort(new Error('gone'))
      await expect(aborted).rejects.toThrow('gone')
      expect(listener.statistics().waiting).toBe(2)
      await join('other')
      expect((await any).connection.state).toBe('open')
      await join('web')
      expect(await ask(await long, 'x')).toBe('x')
      expect(listener.statistics()).toMatchObject({ waiting: 0, unserved: 2, requests: 2 })
    }, { listen: { limits: { maxWaiting: 4 } } })
  })

  /** reverse V41 */
  it('finds a key by the name that was asked for', async () => {
    await inReverseWorld(async ({ listener, join }) => {
      await join('web')
      const pool = listener.pool()
      expect([listener.keyOf('www.example'), listener.keyOf('else'), listener.keyOf('bad')]).toEqual(['web', undefined, undefined])
      expect(await ask(await pool.request(undefined, { serverName: 'www.example' }), 'x')).toBe('x')
      expect(await codeOf(pool.request(undefined, { serverName: 'else' }))).toBe('QB_REVERSE_NO_CONNECTION')
      expect(await codeOf(listener.pool('web').request('api'))).toBe('QB_REVERSE_NO_CONNECTION')
      expect(await codeOf(listener.pool('web').request('web'))).toBe('resolved')
    }, { listen: { keyFromSni: (name) => { if (name === 'bad') throw new Error('bad'); return name === 'www.example' ? 'web' : undefined } } })
    await inReverseWorld(async ({ listener }) => expect(listener.keyOf('web')).toBe('web'))
  })

  it('checks what it is asked', async () => {
    await inReverseWorld(async ({ listener }) => {
      const pool = listener.pool()
      for (const options of [{ waitForMs: -1 }, { head: 'x' }, { head: new Uint8Array() }, { head: new Uint8Array(65_537) }, { retryUnsent: 1 }, { serverName: 1 }, { signal: 1 }]) expect(await codeOf(pool.request('web', options as never)), JSON.stringify(options)).toBe('QB_OPTION_INVALID')
      expect([await codeOf(pool.request('web', { wait: 1 } as never)), await codeOf(pool.request(1 as never))]).toEqual(['QB_OPTION_UNKNOWN', 'QB_OPTION_INVALID'])
      expect(() => listener.pool(1 as never)).toThrow(expect.objectContaining({ code: 'QB_OPTION_INVALID' }))
      expect(() => listener.close({ drainMs: -1 })).toThrow(expect.objectContaining({ code: 'QB_OPTION_INVALID' }))
    })
  })

  /** reverse V44 */
  it('that is empty is a state: told, counted, and the answer about its health', async () => {
    await inReverseWorld(async ({ listener, join, world }) => {
      const [web, all]: [boolean[], boolean[]] = [[], []]
      const sizes: number[] = []
      listener.pool('web').empty$.subscribe((empty) => web.push(empty))
      listener.pool().empty$.subscribe((empty) => all.push(empty))
      listener.connections$.subscribe((list) => sizes.push(list.length))
      const health = (): boolean => listener.health().ok
      expect(health()).toBe(false)
      const other = await join('other')
      const first = await join('web')
      await join('web')
      expect([health(), listener.pool('web').size, listener.pool().size]).toEqual([true, 2, 3])
      await first.connection.close()
      await other.connection.close()
      await world.sleep(100)
      listener.pool('web').empty$.subscribe((empty) => web.push(empty)).unsubscribe()
      await listener.close()
      expect([web, all, sizes]).toEqual([[true, false, false, true], [true, false, true], [0, 1, 2, 3, 2, 1, 0]])
      const late: boolean[] = []
      let completed = false
      listener.pool().empty$.subscribe({ next: (empty) => late.push(empty), complete: () => { completed = true } })
      expect([late, completed, health()]).toEqual([[true], true, false])
    })
  })

  it('tells its numbers as Prometheus text', async () => {
    await inReverseWorld(async ({ listener, join, call }) => {
      await join('web')
      const nameless = await call({ names: null })
      await nameless.say({ type: 'hello', version: 1, service: 'web', pool: 1 })
      await nameless.connection.closed
      await listener.pool().request('web')
      const text = listener.prometheus()
      for (const line of ['quicbraid_reverse_connections 1', 'quicbraid_reverse_accepted_total 1', 'quicbraid_reverse_refused_total{reason="auth"} 1', 'quicbraid_reverse_requests_total 1', 'quicbraid_reverse_streams_open 1', 'quicbraid_reverse_pool_connections{key="web"} 1']) expect(text).toContain(`${line}\n`)
      const samples: number[] = []
      listener.metrics$.subscribe(({ requests }) => samples.push(requests)).unsubscribe()
      expect(samples).toEqual([1])
    })
  })

  /** reverse V48 */
  it('that drains takes nothing new, ends what is under way, and closes with 0', async () => {
    await inReverseWorld(async ({ listener, join, call, world, events }) => {
      let go: () => void = () => {}
      const waits = new Promise<void>((resolve) => { go = resolve })
      const [web, other] = [await join('web', { serve: async (stream) => { await waits; await echo(stream) } }), await join('other')]
      const pool = listener.pool('web')
      const request = await pool.request()
      const answer = ask(request, 'slow')
      const waiting = listener.pool().request('web', { waitForMs: 5000 })
      void waiting
      const parting = web.hear()
      const drained = pool.drain()
      expect(await parting).toEqual({ type: 'goaway', code: 0n, text: '', streams: 2 })
      expect([pool.size, await codeOf(pool.request()), await codeOf(listener.pool().request('web', { waitForMs: 1000 })), listener.statistics().draining]).toEqual([0, 'QB_REVERSE_DRAINING', 'QB_REVERSE_DRAINING', 1])
      expect((await listener.pool().request()).connection.remote).toBe(other.connection.local)
      const late = await call()
      await late.say({ type: 'hello', version: 1, service: 'web', pool: 1 })
      expect(await late.hear()).toMatchObject({ type: 'refuse', code: 7n })
      await world.sleep(3000)
      expect(web.connection.state).toBe('open')
      ;(await waiting).destroy()
      go()
      expect(await answer).toBe('slow')
      await drained
      expect((await web.connection.closed).errorCode).toBe(0n)
      expect(events.filter(({ key }) => key === 'web').map(({ type, reason }) => [type, reason])).toEqual([['accepted', null], ['draining', 'none'], ['closed', 'none']])
      pool.resume()
      await join('web')
      expect(await codeOf(pool.request())).toBe('resolved')
    })
  })

  /** reverse V48 */
  it('sends nothing more over a connection whose private end goes, and says how many requests there were', async () => {
    await inReverseWorld(async ({ listener, join, world }) => {
      const going = await join('web')
      const pool = listener.pool('web')
      const request = await pool.request()
      await going.say({ type: 'goaway', code: 7n, text: 'bye', streams: null })
      expect(await going.hear()).toEqual({ type: 'goaway', code: 0n, text: '', streams: 1 })
      expect([pool.size, await codeOf(pool.request()), listener.statistics().draining]).toEqual([0, 'QB_REVERSE_NO_CONNECTION', 1])
      expect(await ask(request, 'x')).toBe('x')
      expect((await going.connection.closed).errorCode).toBe(0n)
      const silent = await join('web')
      silent.control.stream.end()
      expect((await silent.connection.closed).errorCode).toBe(0n)
      await world.sleep(0)
      expect(listener.statistics()).toMatchObject({ draining: 0, connections: 0, closed: 2 })
    })
  })

  /** reverse V48, V43 */
  it('takes another connection in the place of one that drains', async () => {
    await inReverseWorld(async ({ listener, join }) => {
      const first = await join('web')
      await listener.pool('web').request()
      await first.say({ type: 'goaway', code: 0n, text: '', streams: null })
      await first.hear()
      await join('web')
      expect(listener.statistics()).toMatchObject({ connections: 1, draining: 1, refused: {} })
    }, { listen: { limits: { maxPerKey: 1 } } })
  })
})
