/** Rules of docs/spec/reverse.md about the private end: simulated worlds, where nothing waits for a real clock. */
import { describe, expect, it } from 'vitest'
import type { Connection } from '../../src/index.ts'
import { ReverseCode } from '../../src/reverse/codes.ts'
import { World } from '../../src/sim/index.ts'
import { MODULE_BUILT } from '../native/built.ts'
import { inPrivateWorld, shout } from './private-world.ts'
import type { PrivateWorld } from './private-world.ts'

const statesOf = ({ states }: PrivateWorld): string[] => states.map(({ state }) => state)

describe.skipIf(!MODULE_BUILT)('a private end', { timeout: 60_000 }, () => {
  /** reverse V1, V4, V11, §2 */
  it('dials, says HELLO, is accepted, and serves requests of the public end', async () => {
    await inPrivateWorld(async (world) => {
      const { guests, until, steps, served, dialler } = world
      expect([dialler.state, statesOf(world)]).toEqual(['INIT', ['INIT']])
      await until(() => dialler.state === 'FULL')
      expect(guests[0]?.hello).toEqual({ type: 'hello', version: 1, service: 'web', pool: 1 })
      expect(guests[0]?.control.stream.id).toBe(0n)
      expect(await guests[0]?.ask('hello')).toBe('HELLO')
      await until(() => served.length === 2)
      expect(steps.map(({ state }) => state)).toEqual(['CONNECTING', 'HANDSHAKED', 'REVERSING', 'ACCEPTED', 'IDLE', 'BUSY', 'IDLE'])
      expect(served.map(({ type, stream, bytesIn, bytesOut }) => ({ type, stream, bytesIn, bytesOut }))).toEqual([
        { type: 'opened', stream: 1n, bytesIn: 5, bytesOut: 0 }, { type: 'closed', stream: 1n, bytesIn: 5, bytesOut: 5 },
      ])
      expect(dialler.statistics()).toMatchObject({ connections: 1, attempts: 1, accepted: 1, requests: 1, requestsOpen: 0, requestsFailed: 0, lost: 0 })
      await dialler.stop()
      expect(statesOf(world)).toEqual(['INIT', 'FULL', 'STOP'])
    })
  })

  /** reverse V1, V2 */
  it('is not the requester once it is accepted, and the public end is', async () => {
    await inPrivateWorld(async ({ guests, until, dialler, near }) => {
      await until(() => dialler.state === 'FULL')
      const [connection] = near.connections
      expect([connection?.requester, guests[0]?.connection.requester]).toEqual(['peer', 'local'])
      await expect(connection?.openBidirectional()).rejects.toMatchObject({ code: 'QB_STREAM_WRONG_WAY' })
    })
  })

  /** reverse V4: HAProxy's way of writing, names, and both families */
  it.each([
    ['rev@server:4433', {}], ['server:4433', {}], ['rev@10.0.1.2:4433', {}],
    ['rev@[fd00::2]:4433', { addressA: 'fd00::1', addressB: 'fd00::2' }], ['[fd00::2]:4433', { addressA: 'fd00::1', addressB: 'fd00::2' }],
  ])('dials %s', async (to, addresses) => {
    const world = new World()
    const [client, server] = [world.host('client'), world.host('server')]
    const link = world.link(client, server, { delayMs: 10, ...addresses })
    await inPrivateWorld(async ({ dial, until }) => {
      const dialler = dial({ to, connection: { paths: [{ local: link.a.address }] } })
      await until(() => dialler.state === 'FULL')
    }, { manual: true, pair: { world, client, server, links: [link], paths: [], tls: world.identity('server') } })
  })

  /** reverse V10 */
  it('makes its pool one connection after another, each in the turn in which the one before was accepted', async () => {
    await inPrivateWorld(async ({ dial, until, steps, guests, world }) => {
      const dialler = dial({ pool: 4 })
      let most = 0
      let under = 0
      dialler.events$.subscribe(({ state }) => {
        under += state === 'CONNECTING' ? 1 : state === 'ACCEPTED' ? -1 : 0
        most = Math.max(most, under)
      })
      await until(() => dialler.state === 'FULL')
      expect([most, guests.length, guests.map(({ hello: { pool } }) => pool)]).toEqual([1, 4, [4, 4, 4, 4]])
      const at = (wanted: string): number[] => steps.filter(({ state }) => state === wanted).map(({ atMs }) => atMs)
      expect(at('CONNECTING').slice(1)).toEqual(at('ACCEPTED').slice(0, -1))
      expect(dialler.statistics()).toMatchObject({ connections: 4, attempts: 4 })
      await world.sleep(100)
      expect(await Promise.all(guests.map(({ ask }, index) => ask(`r${index}`)))).toEqual(['R0', 'R1', 'R2', 'R3'])
    }, { manual: true })
  })

  /** reverse V4: limits of ACCEPT */
  it('is content with as many connections as the public end takes', async () => {
    await inPrivateWorld(async ({ dial, until, dials, world }) => {
      const dialler = dial({ pool: 8 })
      await until(() => dialler.state === 'FULL')
      await world.sleep(5000)
      expect(dials.length).toBe(2)
    }, { manual: true, script: ({ accept }) => accept({ maxPerKey: 2 }) })
  })

  /** reverse V12: the limit is from dial to ACCEPT, and always there */
  it('gives an attempt no more than connectTimeoutMs', async () => {
    await inPrivateWorld(async ({ dial, until, states, guests }) => {
      const dialler = dial({ connectTimeoutMs: 300 })
      await until(() => dialler.state === 'ERR')
      expect(states[1]).toMatchObject({ atMs: states[0]?.atMs as number + 300, error: { code: 'QB_REVERSE_TIMEOUT' } })
      await until(() => guests[0]?.connection.state === 'closed')
      expect(await guests[0]?.connection.closed).toMatchObject({ by: 'peer', errorCode: ReverseCode.TIMEOUT })
    }, { manual: true, script: () => {} })
  })

  /** reverse V14 */
  it('replaces a connection at once that lived for a second, and else after its pause', async () => {
    await inPrivateWorld(async ({ world, until, guests, dialler, steps, states }) => {
      await until(() => dialler.state === 'FULL')
      await world.sleep(2000)
      guests[0]?.connection.destroy()
      await until(() => guests.length === 2)
      const at = (wanted: string, which: number): number => steps.filter(({ state }) => state === wanted)[which]?.atMs ?? NaN
      expect(at('CONNECTING', 1)).toBe(at('CLOSED', 0))
      await until(() => dialler.state === 'FULL')
      guests[1]?.connection.destroy()
      await until(() => guests.length === 3)
      expect(at('CONNECTING', 2) - at('CLOSED', 1)).toBeCloseTo(1000, 0)
      await until(() => dialler.state === 'FULL')
      expect(states.map(({ state }) => state)).toEqual(['INIT', 'FULL', 'INIT', 'FULL', 'INIT', 'FULL'])
      expect(dialler.statistics()).toMatchObject({ lost: 2, accepted: 3 })
    }, { dial: { retry: { jitter: 0 } } })
  })

  /** reverse V14: measured on HAProxy: 393 dials */
  it('dials a public end that reverses and closes at once at most 4 times in 4 s', async () => {
    for (const retry of ['fixed', {}] as const) {
      await inPrivateWorld(async ({ world, dials, dialler }) => {
        await world.sleep(4000)
        expect(dials.length).toBeGreaterThan(1)
        expect(dials.length).toBeLessThanOrEqual(4)
        expect(dialler.statistics()).toMatchObject({ failed: {}, accepted: dials.length, lost: dials.length })
      }, { dial: { retry }, script: async ({ accept, connection }) => {
        await accept()
        await connection.close()
      } })
    }
  })

  /** reverse V15 */
  it('stops at every time of an attempt: then nothing happens any more', async () => {
    for (const afterMs of [null, 0, 1, 9, 10, 11, 19, 20, 21, 29, 30, 31, 39, 40, 41, 49, 50, 51, 59, 60, 61, 70, 80, 100, 500]) {
      await inPrivateWorld(async ({ world, dial, near, dials, steps, states }) => {
        const dialler = dial({ pool: 2 })
        if (afterMs !== null) await world.sleep(afterMs)
        const stopping = dialler.stop({ drainMs: 0 })
        expect(states.at(-1)).toMatchObject({ state: 'STOP', reason: 'stopped', error: null })
        await stopping
        const told = [steps.length, states.length]
        expect([near.connections.size, dialler.state, dialler.statistics().connections], String(afterMs)).toEqual([0, 'STOP', 0])
        await world.sleep(100)
        const seen = dials.length
        await world.sleep(20_000)
        expect([steps.length, states.length, dials.length], String(afterMs)).toEqual([...told, seen])
        expect(dialler.statistics().failed).toEqual({})
      }, { manual: true })
    }
  })

  /** reverse V15 */
  it('stops in a pause, and can be enabled again', async () => {
    await inPrivateWorld(async (world) => {
      const { until, dialler, dials } = world
      await until(() => dialler.state === 'ERR')
      await Promise.all([dialler.stop(), dialler.stop()])
      const before = dials.length
      await world.world.sleep(60_000)
      expect([dials.length, dialler.state]).toEqual([before, 'STOP'])
      dialler.enable()
      dialler.enable()
      await until(() => dials.length === before + 1)
      await until(() => dialler.state === 'ERR')
      expect(statesOf(world)).toEqual(['INIT', 'ERR', 'STOP', 'INIT', 'ERR'])
      await dialler[Symbol.asyncDispose]()
      expect(() => dialler.enable()).toThrow(/call reverseConnect again/)
    }, { script: ({ refuse }) => refuse(ReverseCode.NAME) })
  })

  /** reverse V15, V16, V27 */
  it('that is stopped lets what is under way end, and tells the public end first', async () => {
    let go = (): void => {}
    const gone = new Promise<void>((resolve) => void (go = resolve))
    await inPrivateWorld(async ({ guests, until, dialler, near, steps }) => {
      await until(() => dialler.state === 'FULL')
      const [guest] = guests
      const asking = guest?.ask('slow')
      await until(() => dialler.statistics().requestsOpen === 1)
      const told = guest?.control.next()
      const stopping = dialler.stop({ drainMs: 5000 })
      expect(await told).toMatchObject({ type: 'goaway', code: ReverseCode.SHUTDOWN, streams: null })
      await guest?.goAway(ReverseCode.NONE, 1)
      go()
      expect(await asking).toBe('SLOW')
      void guest?.connection.close()
      await stopping
      expect([near.connections.size, await guest?.connection.closed]).toEqual([0, expect.objectContaining({ by: 'local', errorCode: 0n })])
      expect(steps.map(({ state }) => state)).toEqual(['CONNECTING', 'HANDSHAKED', 'REVERSING', 'ACCEPTED', 'IDLE', 'BUSY', 'DRAINING', 'CLOSED'])
    }, { handler: async (stream, connection) => {
      await gone
      await shout(stream, connection)
    } })
  })

  /** reverse V15, V16 */
  it('that is stopped ends what is not over in time', async () => {
    await inPrivateWorld(async ({ guests, until, dialler, world }) => {
      await until(() => dialler.state === 'FULL')
      const asking = guests[0]?.ask('never').catch((error: unknown) => error)
      await world.sleep(100)
      const since = world.nowMs
      await dialler.stop({ drainMs: 700 })
      expect(world.nowMs - since).toBeGreaterThanOrEqual(700)
      expect(world.nowMs - since).toBeLessThan(1400)
      expect(await asking).toBeInstanceOf(Error)
      expect(await guests[0]?.connection.closed).toMatchObject({ by: 'peer', errorCode: ReverseCode.SHUTDOWN })
    }, { handler: () => new Promise(() => {}) })
  })

  /** reverse V17 */
  it('keeps one connection over several paths, and is not lost when one of them is', async () => {
    await inPrivateWorld(async ({ world, dial, until, guests, links, paths, dials, states }) => {
      const dialler = dial({ pingMs: 2000, connection: { paths, maxPaths: 2 } })
      await until(() => dialler.state === 'FULL')
      await world.sleep(1000)
      expect(guests[0]?.connection.paths.size).toBe(2)
      links[0]?.cut()
      const answers = guests[0]?.ask('after the first path')
      expect(await answers).toBe('AFTER THE FIRST PATH')
      await world.sleep(30_000)
      expect(await guests[0]?.ask('still')).toBe('STILL')
      expect([dials.length, states.map(({ state }) => state)]).toEqual([1, ['INIT', 'FULL']])
    }, { manual: true, links: [{ delayMs: 10 }, { delayMs: 20 }] })
  })

  /** reverse V20, V22 */
  it('allows the public end no stream before its ACCEPT, and as many as it is to serve at once afterwards', async () => {
    const early: string[] = []
    let running = 0
    let most = 0
    await inPrivateWorld(async ({ guests, until, dialler }) => {
      await until(() => dialler.state === 'FULL')
      expect(early).toEqual(['nothing'])
      const answers = await Promise.all(Array.from({ length: 50 }, (_, index) => guests[0]?.ask(`r${index}`)))
      expect(answers).toEqual(Array.from({ length: 50 }, (_, index) => `R${index}`))
      expect(most).toBe(5)
    }, {
      plain: true,
      dial: { connection: { limits: { bidirectionalStreams: 5 } } },
      script: async ({ connection, accept }) => {
        const patience = new AbortController()
        const opening = connection.openBidirectional({ signal: patience.signal }).then(() => early.push('a stream'), () => early.push('nothing'))
        await new Promise((resolve) => void setImmediate(resolve))
        patience.abort()
        await opening
        await accept()
      },
      handler: async (stream, connection) => {
        running += 1
        most = Math.max(most, running)
        await shout(stream, connection)
        await stream.closed
        running -= 1
      },
    })
  })

  /** reverse V24 */
  it('hears of the end of a connection whose gate is shut within a round trip', async () => {
    let closedAtMs = 0
    await inPrivateWorld(async ({ world, until, states }) => {
      await until(() => states.length === 2)
      expect(states[1]).toMatchObject({ state: 'ERR', error: { code: 'QB_REVERSE_BUSY' } })
      expect((states[1]?.atMs ?? 0) - closedAtMs).toBeLessThanOrEqual(100)
      expect(world.nowMs).toBeGreaterThan(3000)
    }, { links: [{ delayMs: 50 }], script: async ({ connection }) => {
      const clock = connection.endpoint
      await new Promise<void>((resolve) => void (world3s(connection, resolve)))
      closedAtMs = clock.now()
      connection.destroy(undefined, { code: ReverseCode.BUSY })
    } })
  })
})

/** Resolves after 3 s of the world: nothing comes, nothing is lost. */
function world3s(connection: Connection, resolve: () => void): void {
  const since = connection.endpoint.now()
  const look = (): void => {
    if (connection.endpoint.now() - since >= 3000) return resolve()
    void connection.ping().then(look, resolve)
  }
  look()
}
