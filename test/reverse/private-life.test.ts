/** What a private end does with accepted connections (docs/spec/reverse.md §2, §3, §4, §6): requests, keep-alive, drain, loss. Simulated worlds. */
import { describe, expect, it } from 'vitest'
import type { Logger } from '../../src/index.ts'
import { ReverseCode } from '../../src/reverse/codes.ts'
import type { ReverseHandler } from '../../src/reverse/index.ts'
import { World } from '../../src/sim/index.ts'
import type { WorldPair } from '../../src/sim/index.ts'
import { MODULE_BUILT } from '../native/built.ts'
import { inPrivateWorld, shout } from './private-world.ts'

describe.skipIf(!MODULE_BUILT)('an accepted connection', { timeout: 60_000 }, () => {
  /** reverse §8: a throw resets that stream with the cancel code */
  it.each<[string, ReverseHandler]>([
    ['throws', () => { throw new Error('no') }],
    ['rejects', () => Promise.reject(new Error('no'))],
    ['rejects late', async (stream) => {
      await stream.bytes()
      throw new Error('no')
    }],
    ['throws what is no error', () => { throw 'no' }],
  ])('resets the stream whose handler %s, and nothing else', async (_how, broken) => {
    const warned: object[] = []
    const logger: Logger = { warn: (_message, facts) => void warned.push(facts) }
    let count = 0
    await inPrivateWorld(async ({ guests, until, dialler, served }) => {
      await until(() => dialler.state === 'FULL')
      const failed = await guests[0]?.ask('first').catch((error: unknown) => error)
      expect(failed).toMatchObject({ code: expect.stringMatching(/^QB_STREAM_(?:RESET|STOPPED)$/) as string, errorCode: 0x10cn })
      expect(await guests[0]?.ask('second')).toBe('SECOND')
      await until(() => served.length === 4)
      expect(served.filter(({ stream }) => stream === 1n).map(({ type }) => type)).toEqual(['opened', 'failed'])
      expect([dialler.state, dialler.statistics()]).toEqual(['FULL', expect.objectContaining({ requests: 2, requestsFailed: 1, requestsOpen: 0, lost: 0 })])
      expect(warned).toEqual([expect.objectContaining({ service: 'web' })])
    }, { logger, handler: (stream, connection) => (count++ === 0 ? broken(stream, connection) : shout(stream, connection)) })
  })

  /** reverse V26: at this end what is called while a connection is accepted may end it */
  it('that its user closes in the turn of its acceptance is lost once, and replaced after its pause', async () => {
    let closed = 0
    await inPrivateWorld(async ({ world, dial, until, steps, near }) => {
      const dialler = dial({ retry: 'fixed' })
      dialler.connections$.subscribe((connections) => {
        for (const connection of connections) if (closed++ < 2) connection.destroy()
      })
      await until(() => closed === 3)
      await world.sleep(100)
      expect(dialler.statistics()).toMatchObject({ attempts: 3, accepted: 3, lost: 2, connections: 1 })
      expect([near.connections.size, dialler.state]).toEqual([1, 'FULL'])
      expect(steps.filter(({ state }) => state === 'CLOSED').length).toBe(2)
    }, { manual: true })
  })

  /** reverse V26 */
  it('may be closed by the handler of its first request', async () => {
    await inPrivateWorld(async ({ guests, until, dialler, steps }) => {
      await until(() => dialler.state === 'FULL')
      const failed = await guests[0]?.ask('x').catch((error: unknown) => error)
      expect(failed).toBeInstanceOf(Error)
      await until(() => guests.length === 2)
      expect(steps.filter(({ state }) => state === 'CLOSED').length).toBe(1)
      expect(dialler.statistics()).toMatchObject({ lost: 1, requests: 1, requestsFailed: 1, requestsOpen: 0 })
    }, { handler: (_stream, connection) => {
      connection.destroy()
      throw new Error('no')
    } })
  })

  /** reverse V14, V48 */
  it('that the public end drains is replaced at once, and serves to its end what is under way', async () => {
    let go = (): void => {}
    const gone = new Promise<void>((resolve) => void (go = resolve))
    await inPrivateWorld(async ({ world, guests, until, dialler, steps, states }) => {
      await until(() => dialler.state === 'FULL')
      const asking = guests[0]?.ask('slow')
      await world.sleep(1500)
      await guests[0]?.goAway(ReverseCode.NONE, 1)
      await until(() => guests.length === 2 && dialler.state === 'FULL')
      const at = (wanted: string, which = 0): number => steps.filter(({ state }) => state === wanted)[which]?.atMs ?? NaN
      expect(at('CONNECTING', 1)).toBe(at('DRAINING'))
      expect(dialler.statistics()).toMatchObject({ connections: 1, draining: 1 })
      go()
      expect(await asking).toBe('SLOW')
      await guests[0]?.connection.close()
      await until(() => dialler.statistics().draining === 0)
      expect(dialler.statistics()).toMatchObject({ lost: 1, accepted: 2, failed: {} })
      expect(states.map(({ state }) => state)).toEqual(['INIT', 'FULL', 'INIT', 'FULL'])
    }, { handler: async (stream, connection) => {
      await gone
      await shout(stream, connection)
    } })
  })

  /** reverse V27, V48: before the first stream */
  it('may be told GOAWAY before there was a stream, or lose its control stream, which says as much', async () => {
    for (const leave of ['goaway', 'fin'] as const) {
      await inPrivateWorld(async ({ world, guests, until, dialler }) => {
        await until(() => dialler.state === 'FULL')
        await world.sleep(1500)
        if (leave === 'goaway') await guests[0]?.goAway()
        else guests[0]?.control.stream.end()
        await until(() => guests.length === 2)
        // The public end does not close what it has left: this end does, some time later.
        await until(() => guests[0]?.connection.state === 'closed', 15_000)
        expect(await guests[0]?.connection.closed).toMatchObject({ by: 'peer', errorCode: 0n })
      })
    }
  })

  /** reverse V48: a public end that leaves everything open does not fill this one */
  it('is cut when too many others are only draining, the oldest first', async () => {
    await inPrivateWorld(async ({ world, guests, until, dialler, near }) => {
      for (let count = 1; count <= 66; count += 1) {
        await until(() => guests.length === count && dialler.state === 'FULL')
        void guests[count - 1]?.ask('never').catch(() => {})
        await world.sleep(1100)
        await guests[count - 1]?.goAway(ReverseCode.NONE, 1)
      }
      await until(() => guests.length === 67 && dialler.state === 'FULL')
      await until(() => guests[1]?.connection.state === 'closed')
      expect(dialler.statistics()).toMatchObject({ draining: 64, connections: 1 })
      expect(near.connections.size).toBe(65)
      expect(await guests[0]?.connection.closed).toMatchObject({ by: 'peer', errorCode: ReverseCode.SHUTDOWN })
    }, { handler: () => new Promise(() => {}) })
  })

  /** reverse V4 */
  it('is closed with PROTOCOL when the public end says what it may not', async () => {
    await inPrivateWorld(async ({ guests, until, dialler }) => {
      await until(() => dialler.state === 'FULL')
      await guests[0]?.refuse(ReverseCode.AUTH)
      await until(() => guests[0]?.connection.state === 'closed')
      expect(await guests[0]?.connection.closed).toMatchObject({ by: 'peer', errorCode: ReverseCode.PROTOCOL })
      await until(() => guests.length === 2 && dialler.state === 'FULL')
      guests[1]?.control.stream.write(Uint8Array.of(255, 255, 1))
      await until(() => guests[1]?.connection.state === 'closed')
      expect(await guests[1]?.connection.closed).toMatchObject({ by: 'peer', errorCode: ReverseCode.PROTOCOL })
    })
  })

  /** reverse V45 */
  it('outlives the NAT of the private end, whose mappings end after 30 s of silence', async () => {
    await inPrivateWorld(async ({ world, guests, until, dialler, dials }) => {
      await until(() => dialler.state === 'FULL')
      await world.sleep(300_000)
      expect(await guests[0]?.ask('after five minutes')).toBe('AFTER FIVE MINUTES')
      expect([dials.length, dialler.statistics().lost]).toEqual([1, 0])
    }, { pair: behindNat(30_000), dial: { connection: { paths: [{}] } } })
  })

  /** reverse V45 */
  it('has as many PINGs as the public end asks for', async () => {
    const pings = async (ownMs: number, askedMs: number): Promise<number> => {
      let count = 0
      await inPrivateWorld(async ({ world, until, dialler, links }) => {
        await until(() => dialler.state === 'FULL')
        await world.sleep(1000)
        const before = links[0]?.statistics().delivered ?? 0
        await world.sleep(60_000)
        count = (links[0]?.statistics().delivered ?? 0) - before
      }, { dial: { pingMs: ownMs }, script: ({ accept }) => accept({ pingMs: askedMs }) })
      return count
    }
    const counts = [await pings(15_000, 0), await pings(15_000, 60_000), await pings(15_000, 2000), await pings(2000, 15_000)]
    expect(counts.map((count) => Math.round(count / 4) * 4)).toEqual([8, 8, 60, 60])
  })

  /** reverse V45, V14; attacks H8: the peer is gone while the connection is parked */
  it('attack H8: a connection whose public end vanishes while it is parked is noticed after three PINGs and dialled again', async () => {
    await inPrivateWorld(async ({ world, until, dialler, links, steps, dials, states }) => {
      await until(() => dialler.state === 'FULL')
      await world.sleep(30_000)
      const since = world.nowMs
      links[0]?.cut()
      await until(() => dialler.state === 'ERR', 120_000)
      const closed = steps.find(({ state }) => state === 'CLOSED')
      expect((closed?.atMs ?? 0) - since).toBeLessThanOrEqual(61_000)
      links[0]?.restore()
      await until(() => dialler.state === 'FULL', 60_000)
      expect(dials.length).toBe(2)
      expect(states.map(({ state }) => state)).toEqual(['INIT', 'FULL', 'INIT', 'ERR', 'FULL'])
    })
  })

  /** reverse V32 */
  it('is dialled again as soon as the network has changed', async () => {
    await inPrivateWorld(async ({ world, until, dialler, links, steps }) => {
      links[0]?.a.setUp(false)
      await until(() => dialler.statistics().attempts >= 6, 120_000)
      const failedAtMs = world.nowMs
      await world.sleep(3000)
      const before = dialler.statistics().attempts
      links[0]?.a.setUp(true)
      const since = world.nowMs
      await until(() => dialler.state === 'FULL', 3000)
      expect(dialler.statistics().attempts).toBeLessThanOrEqual(before + 1)
      // Interfaces are looked at once a second.
      expect(world.nowMs - since).toBeLessThanOrEqual(1200)
      expect(failedAtMs).toBeGreaterThan(20_000)
      expect(steps.at(-1)?.state).toBe('IDLE')
    }, { dial: { connection: { paths: [{}] } } })
  })

  /** reverse §2: a public end that is away for a day gives one line */
  it('gives one line of log a change, also when the public end is away for long', async () => {
    const lines: string[] = []
    const logger: Logger = {
      info: (message, facts) => void lines.push(`info ${message} ${(facts as { state?: string }).state ?? ''}`),
      warn: (message, facts) => void lines.push(`warn ${message} ${(facts as { state?: string }).state ?? ''}`),
    }
    await inPrivateWorld(async ({ world, dials, dialler, far, until, serverOptions }) => {
      await until(() => dialler.state === 'FULL')
      far.unlisten()
      for (const connection of far.connections) connection.destroy(undefined, { code: ReverseCode.SHUTDOWN })
      await world.sleep(500_000)
      far.listen(serverOptions)
      await until(() => dialler.state === 'FULL')
      expect([dials.length, dialler.statistics().attempts > 15]).toEqual([2, true])
    }, { logger })
    expect(lines).toEqual([
      'info the private end of reverse connections has changed its state INIT', 'info the private end of reverse connections has changed its state FULL', 'info the private end of reverse connections has changed its state INIT',
      'warn a reverse connection could not be made ERR', 'info the private end of reverse connections has changed its state FULL', 'info the private end of reverse connections has changed its state STOP',
    ])
  })

  it('is told of: connections, metrics, Prometheus', async () => {
    await inPrivateWorld(async ({ world, dial, guests, until }) => {
      const dialler = dial({ pool: 2 })
      const lists: number[] = []
      const samples: number[] = []
      let over = 0
      dialler.connections$.subscribe({ next: (connections) => lists.push(connections.length), complete: () => void (over += 1) })
      dialler.metrics$.subscribe({ next: ({ accepted }) => samples.push(accepted), complete: () => void (over += 1) })
      await until(() => dialler.state === 'FULL')
      await guests[1]?.ask('x')
      await world.sleep(2000)
      expect(lists).toEqual([0, 1, 2])
      expect([samples[0], samples.at(-1)]).toEqual([0, 2])
      const text = dialler.prometheus()
      for (const row of ['connections{service="web"} 2', 'state{service="web",state="FULL"} 1', 'state{service="web",state="ERR"} 0', 'requests_total{service="web"} 1', 'attempts_total{service="web"} 2']) {
        expect(text).toContain(`\nquicbraid_reverse_dial_${row}\n`)
      }
      await dialler[Symbol.asyncDispose]()
      expect([lists.at(-1), over]).toEqual([0, 2])
    }, { manual: true })
  })

  /** reverse V15: a private end on an endpoint of the user's ends with it */
  it('ends with its endpoint', async () => {
    await inPrivateWorld(async ({ dialler, until, near, states, guests }) => {
      await until(() => dialler.state === 'FULL')
      await near.close()
      await until(() => dialler.state === 'STOP')
      expect(states.at(-1)).toMatchObject({ reason: 'the endpoint has been closed' })
      await until(() => guests[0]?.connection.state === 'closed')
      await dialler.stop()
    })
  })
})

describe.skipIf(!MODULE_BUILT)('private ends of one public end that restarts', { timeout: 60_000 }, () => {
  /** attacks H8; reverse V33 (a thousand are in preconnector.test.ts, on the state machine alone) */
  it('attack H8: private ends come back one after another, over a second at least', async () => {
    const ENDS = 40
    await inPrivateWorld(async ({ world, dial, until, dials, far, near, serverOptions }) => {
      const diallers = Array.from({ length: ENDS }, (_, index) => dial({ service: `web${index}`, pool: 1 }))
      await until(() => diallers.every(({ state }) => state === 'FULL'))
      await world.sleep(20_000)
      far.unlisten()
      for (const connection of far.connections) connection.destroy(undefined, { code: ReverseCode.SHUTDOWN })
      await world.sleep(6000)
      const before = dials.length
      far.listen(serverOptions)
      await until(() => diallers.every(({ state }) => state === 'FULL'), 60_000)
      const back = dials.slice(before)
      expect([back.length, near.connections.size]).toEqual([ENDS, ENDS])
      expect(Math.max(...back) - Math.min(...back)).toBeGreaterThanOrEqual(1000)
      expect(diallers.every((dialler) => dialler.statistics().attempts <= 6)).toBe(true)
    }, { manual: true, seed: 7 })
  })
})

/** The private end behind a translator that forgets after `timeoutMs`. */
function behindNat(timeoutMs: number): WorldPair {
  const world = new World()
  const [client, server] = [world.host('client'), world.host('server')]
  const nat = world.nat('nat', { timeoutMs })
  const links = [world.link(client, nat.inside, { delayMs: 5 }), world.link(nat.outside, server, { delayMs: 10 })]
  return { world, client, server, links, paths: [], tls: world.identity('server') }
}
