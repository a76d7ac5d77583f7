import { describe, expect, it } from 'vitest'
import { World } from '../../src/sim/index.ts'
import { MODULE_BUILT } from '../native/built.ts'
import { connected, transfer, withPair } from './programs.ts'

describe.skipIf(!MODULE_BUILT)('a simulated world', () => {
  it('moves a stream over a link in the time that its delay and rate take', async () => {
    const [bytes, ms] = await connected([{ delayMs: 10, rateBitsPerSec: 20e6 }], async ({ world, near, far }) => {
      const before = world.nowMs
      return [await transfer(near, far, 1_000_000), world.nowMs - before]
    })
    expect(bytes).toBe(1_000_000)
    // 400 ms of the rate, headers, slow start.
    expect(ms).toBeGreaterThan(400)
    expect(ms).toBeLessThan(700)
  })

  it('completes a handshake after one round trip at the client and one and a half at the server, to the nanosecond', async () => {
    const opened = await connected([{ delayMs: 25 }], async ({ near, world }) => [(await near.opened).ms, world.nowMs] as const)
    expect(opened).toEqual([50, 75])
  })

  it('stands still while the program works and jumps while it sleeps', async () => {
    const world = new World()
    const seen: number[] = []
    await world.run(async () => {
      for (let turn = 0; turn < 20; turn++) await new Promise((resolve) => setImmediate(resolve))
      seen.push(world.nowMs)
      await world.sleep(3_600)
      seen.push(world.nowMs)
      await Promise.all([world.sleep(5), world.sleep(1)])
      seen.push(world.nowMs)
    })
    expect(seen).toEqual([0, 3_600, 3_605])
  })

  it('goes on over the other path when the one in use is cut', async () => {
    const pair = World.pair([{ delayMs: 10, rateBitsPerSec: 20e6 }, { delayMs: 20, rateBitsPerSec: 20e6 }], { seed: 7 })
    pair.world.at(500, () => pair.links[0]?.cut())
    const [bytes, stall] = await withPair(pair, async ({ near, far }) => [await transfer(near, far, 4_000_000), far.statistics().maxStallMs] as const)
    expect(bytes).toBe(4_000_000)
    expect(stall).toBeLessThanOrEqual(300)
    expect(pair.links[0]?.up).toBe(false)
    expect(pair.links[0]?.statistics().dropped.cut).toBeGreaterThan(0)
  })

  it('finds hosts by their names', async () => {
    const { world, client, server, tls } = World.pair([{ delayMs: 1 }])
    const remote = await world.run(async () => {
      await server.bind({ server: { ...tls, alpn: 'x' } })
      const connection = await (await client.bind()).connect('server:4433', { alpn: 'x', ca: tls.ca })
      return connection.remote
    })
    expect(remote).toBe('10.0.1.2:4433')
    const lost = world.run(async () => (await client.bind()).connect('nobody:4433', { alpn: 'x', ca: tls.ca }))
    await expect(lost).rejects.toMatchObject({ code: 'QB_RESOLVE_FAILED' })
  })

  it('says what everybody waits for when nothing can happen any more', async () => {
    const world = new World()
    await expect(world.run(() => new Promise(() => {}))).rejects.toMatchObject({ code: 'QB_SIM_STUCK', message: expect.stringContaining('there is no connection') })
  })

  it('ends at its limit of virtual time', async () => {
    const world = new World({ limitMs: 1000 })
    await expect(world.run(() => world.sleep(1001))).rejects.toMatchObject({ code: 'QB_SIM_TIME_LIMIT' })
    expect(world.nowMs).toBe(1000)
  })

  it('fails with what the program or a scripted event throws', async () => {
    const world = new World()
    world.at(5, () => { throw new Error('scripted') })
    await expect(world.run(() => world.sleep(10))).rejects.toThrow('scripted')
    await expect(world.run(async () => { throw new Error('main') })).rejects.toThrow('main')
    await expect(world.run(() => world.sleep(1).then(() => world.nowMs))).resolves.toBe(6)
  })

  it('holds still for real work', async () => {
    const world = new World()
    const ms = await world.run(async () => {
      void world.sleep(1000)
      const release = world.hold()
      await new Promise((resolve) => setTimeout(resolve, 20))
      release()
      return world.nowMs
    })
    expect(ms).toBe(0)
  })
})
