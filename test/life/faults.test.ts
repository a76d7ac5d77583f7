/**
 * Faults of every kind in random order while programs work (attacks K8): links that fail, change and lie, addresses that go away, streams and
 * paths that are given up, connections that come and go. Every byte is right, every promise settles. In simulated worlds, so a seed repeats a
 * run; the long form, with its memory watched, is `npm run torture -- faults`.
 */
import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { isQuicbraidError } from '../../src/index.ts'
import type { Connection, Endpoint } from '../../src/index.ts'
import { World } from '../../src/sim/index.ts'
import type { Link, LinkShape, WorldPair } from '../../src/sim/index.ts'
import { MODULE_BUILT } from '../native/built.ts'
import { collect } from './collect.ts'
import { pattern } from './model.ts'
import { progress, RUNS } from './torture.ts'

const ALPN = 'faults'
/** Virtual. */
const STEPS = 30
const MIB = 1_048_576

interface Scene extends WorldPair {
  atClient: Endpoint
  remote: string
  near: Connection
  /** What is wrong at the end of the run. */
  wrong: string[]
  /** Echoes that came back whole, and such that were cut with an error of ours. */
  whole: number
  cut: number
}

type Fault = (scene: Scene, pick: number) => unknown

const SHAPES: LinkShape[] = [
  { delayMs: 5 }, { delayMs: 150, jitterMs: 50 }, { delayMs: 10, loss: 0.1 }, { delayMs: 10, duplicate: 0.3 }, { delayMs: 10, corrupt: 0.1 },
  { delayMs: 10, reorder: { probability: 0.3, byMs: 40 } }, { delayMs: 20, rateBitsPerSec: 1e6 }, { delayMs: 20, rateBitsPerSec: 5e6, queue: { kind: 'taildrop', bytes: 6000 } },
  { delayMs: 10, mtuBytes: 1300 }, { delayMs: 10, ecnMark: true, rateBitsPerSec: 3e6 },
  { delayMs: 10, loss: { kind: 'gilbert-elliott', goodToBad: 0.05, badToGood: 0.3 } },
]

const FAULTS: Record<string, Fault> = {
  shape: ({ links }, pick) => linkOf(links, pick).set(SHAPES[pick % SHAPES.length] ?? {}, (['both', 'a-to-b', 'b-to-a'] as const)[pick % 3]),
  cut: (scene, pick) => {
    const link = linkOf(scene.links, pick)
    link.cut(pick % 4 === 0 ? 'a-to-b' : 'both')
    scene.world.at(500 + (pick % 7) * 700, () => link.restore())
  },
  down: (scene, pick) => {
    const { a } = linkOf(scene.links, pick)
    a.setUp(false)
    scene.world.at(200 + (pick % 5) * 500, () => a.setUp(true))
  },
  transfer: (scene, pick) => void echo(scene, scene.near, 1 + (pick * 7919) % 300_000),
  many: (scene, pick) => { for (let count = 0; count < 20; count++) void echo(scene, scene.near, (pick * count) % 3000) },
  reset: (scene, pick) => void given(scene, async () => {
    const stream = await scene.near.openBidirectional()
    stream.write(pattern(stream.id, 0, 50_000))
    await scene.world.sleep(pick % 50)
    if (pick % 2 === 0) stream.reset(pick)
    else stream.destroy()
  }),
  datagrams: (scene, pick) => void given(scene, async () => void scene.near.datagrams.sendBatch(Array.from({ length: 1 + (pick % 40) }, () => new Uint8Array(pick % 1000)))),
  keys: (scene) => void given(scene, async () => void scene.near.updateKey()),
  ping: (scene) => void given(scene, () => scene.near.ping()),
  abandon: (scene, pick) => void given(scene, async () => {
    const [path] = [...scene.near.paths].slice(pick % 2)
    await path?.abandon()
  }),
  open: (scene, pick) => void given(scene, () => scene.near.paths.open({ ...scene.paths[pick % 2] })),
  thrower: (scene) => void scene.near.events$.subscribe({ next: () => {}, complete: () => {} }).unsubscribe(),
  again: async (scene, pick) => {
    const old = scene.near
    if (pick % 3 === 0) old.destroy()
    else void old.close({ drainMs: pick % 300 })
    await connect(scene)
  },
}

function linkOf(links: readonly Link[], pick: number): Link {
  return links[pick % links.length] as Link
}

/** What may fail, with an error of ours. */
async function given(scene: Scene, act: () => Promise<unknown>): Promise<void> {
  try {
    await act()
  } catch (error) {
    if (!isQuicbraidError(error)) scene.wrong.push(String(error))
  }
}

async function echo(scene: Scene, connection: Connection, length: number): Promise<void> {
  await given(scene, async () => {
    scene.cut += 1
    const stream = await connection.openBidirectional()
    const sent = pattern(stream.id, 0, length)
    const reading = stream.bytes()
    reading.catch(() => {})
    for (let at = 0; at < length; await stream.ready()) at += stream.write(sent.subarray(at, at + 65_536))
    stream.end()
    if (Buffer.compare(await reading, sent) !== 0) scene.wrong.push(`stream ${stream.id} came back otherwise`)
    scene.whole += 1
    scene.cut -= 1
  })
}

/** Until there is one: the network may be down. */
async function connect(scene: Scene): Promise<void> {
  for (let tries = 0; tries < 50; tries++) {
    try {
      scene.near = await scene.atClient.connect(scene.remote, { alpn: ALPN, ca: scene.tls.ca, serverName: 'server', paths: scene.paths })
      return
    } catch (error) {
      if (!isQuicbraidError(error)) throw error
      await scene.world.sleep(100)
    }
  }
  throw new Error('no connection in fifty tries')
}

async function serve(far: Connection): Promise<void> {
  for await (const stream of far.incomingBidirectional()) {
    void stream.readable.pipeTo(stream.writable as never).catch(() => {})
  }
}

async function live(seed: number, steps: readonly (readonly [string, number, number])[]): Promise<Scene> {
  const pair = World.pair([{ delayMs: 10 }, { delayMs: 25 }], { seed, limitMs: 3_600_000 })
  const { world, client, server, tls } = pair
  const scene = await world.run(async () => {
    const atServer = await server.bind({ server: { ...tls, alpn: ALPN } })
    void (async () => { for await (const connection of atServer.incoming()) void serve(connection) })()
    const atClient = await client.bind()
    const made = { ...pair, atClient, remote: atServer.local[0] ?? '', wrong: [], whole: 0, cut: 0 } as unknown as Scene
    await connect(made)
    for (const [name, pick, waitMs] of steps) {
      void echo(made, made.near, 20_000)
      await FAULTS[name]?.(made, pick)
      await world.sleep(waitMs)
    }
    for (const link of pair.links) {
      link.restore()
      link.a.setUp(true)
      link.set({ delayMs: 10 })
    }
    // When all is well again, all is.
    await world.sleep(40_000)
    if (made.near.state !== 'open') await connect(made)
    const before = made.whole
    await echo(made, made.near, 100_000)
    if (made.whole !== before + 1) made.wrong.push('nothing works after the faults')
    await made.near.close()
    await Promise.all([atClient.close(), atServer.close()])
    await world.sleep(1000)
    return made
  })
  await world.close()
  return scene
}

const step = fc.tuple(fc.constantFrom(...Object.keys(FAULTS)), fc.nat({ max: 10_000 }), fc.integer({ min: 1000, max: 5000 }))
const steps = fc.array(step, { minLength: STEPS / 2, maxLength: STEPS, size: 'max' })

describe.skipIf(!MODULE_BUILT)('faults in random order', () => {
  it('attack K8: no byte is wrong, no promise is left, and afterwards everything works', async () => {
    const runs = RUNS ?? 6
    const told = progress('worlds full of faults', runs)
    let [whole, cut, done] = [0, 0, 0]
    const rss: number[] = []
    await fc.assert(fc.asyncProperty(fc.nat({ max: 1_000_000 }), steps, async (seed, faults) => {
      const scene = await live(seed, faults)
      expect(scene.wrong).toEqual([])
      whole += scene.whole
      cut += scene.cut
      told()
      done += 1
      if (RUNS === null || done % Math.ceil(runs / 20) !== 0) return
      await collect(2)
      rss.push(process.memoryUsage().rss)
    }), { numRuns: runs, endOnFailure: RUNS !== null })
    expect(whole).toBeGreaterThan(runs * 5)
    if (RUNS === null) return
    process.stderr.write(`${whole} echoes whole, ${cut} cut by an end; resident MiB: ${rss.map((bytes) => (bytes / MIB).toFixed(0)).join(' ')}\n`)
    const [early = 0, late = 0] = [rss[Math.floor(rss.length / 3)], rss.at(-1)]
    expect(late - early).toBeLessThan(64 * MIB)
  }, 86_400_000)
})
