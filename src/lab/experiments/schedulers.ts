/** `lab schedulers`: every scheduler of this build in the home of each (multipath.md S), and over the networks of a fixed list. The client sends. */
import type { Connection, ConnectionOptions, ServerOptions } from '../../index.ts'
import { loadNative } from '../../binding/index.ts'
import type { LinkShape, World } from '../../sim/index.ts'
import { defineExperiment } from '../experiment.ts'
import type { Experiment } from '../experiment.ts'
import { GRID_CLASSES, gridNetwork, randomOf } from './grid.ts'
import type { GridClass } from './grid.ts'
import { quantile } from '../summarize.ts'
import { connect, drain, pairIn, transfer } from './network.ts'
import type { Pair } from './network.ts'

type Name = NonNullable<ConnectionOptions['scheduler']> & string

export type SchedulersCell = { scenario: string; scheduler: Name }
export type SchedulersValues = { costMs: number; firstShare: number; extra: number }

/** One network and what is sent over it. `cost` answers ms, the less the better. */
interface Scenario {
  shapes(world: World): readonly LinkShape[]
  server?: Partial<ServerOptions>
  /** Weights for `weighted`. */
  advise?(paths: Pair['paths'], scheduler: Name): Pair['paths']
  /** What happens to the links meanwhile. */
  script?(world: World, pair: Pair): void
  bytes: number
  cost(world: World, near: Connection, far: Connection, bytes: number): Promise<number>
}

const MBIT = 1e6
const WINDOW = 64 * 1024

const SCENARIOS: Readonly<Record<string, Scenario>> = {
  /** Home of round-robin: 64 short streams over two equal paths, P99 of their completion. */
  equal: { shapes: () => [link(20, 10), link(20, 10)], bytes: 64 * 16_384, cost: (world, near, far, bytes) => messages(world, near, far, { bytes: bytes / 64, count: 64, everyMs: 0 }) },
  /** Home of weighted: 4:1, as the rates are. */
  uneven: {
    shapes: () => [link(20, 10), link(5, 10)], bytes: 4_000_000, cost: completion,
    advise: (paths, scheduler) => (scheduler === 'weighted' ? paths.map((path, index) => ({ ...path, weight: index === 0 ? 4 : 1 })) : paths),
  },
  /** Home of backup: nothing on the second path while the first lives (`firstShare`). */
  spare: { shapes: () => [link(20, 10), link(20, 30)], bytes: 5_000_000, cost: completion },
  /** Home of redundant: 16 KiB every 50 ms, 5 % loss on both, P99 of a message. */
  lossy: { shapes: () => [link(20, 20, { loss: 0.05 }), link(20, 20, { loss: 0.05 })], bytes: 100 * 16_384, cost: (world, near, far, bytes) => messages(world, near, far, { bytes: bytes / 100, count: 100, everyMs: 50 }) },
  /** Home of blest and ecf: a slow second path and a window of 64 KiB. */
  slow: {
    shapes: () => [link(20, 10), link(5, 150)], bytes: 2_000_000, cost: completion,
    server: { limits: { streamWindowBytes: WINDOW, maxStreamWindowBytes: WINDOW, connectionWindowBytes: WINDOW, maxConnectionWindowBytes: WINDOW } },
  },
  /** Home of deadline: each path is dark for 300 ms now and then, P99 of 1 MB chunks. */
  outages: { shapes: () => [link(20, 15), link(20, 25)], bytes: 10_000_000, cost: (world, near, far, bytes) => messages(world, near, far, { bytes: bytes / 10, count: 10, everyMs: 500 }), script: outages },
  ...Object.fromEntries(GRID_CLASSES.flatMap((name) => [gridScenario(name, '', 20_000_000), gridScenario(name, '-short', 256 * 1024)])),
}

const HOMES = ['equal', 'uneven', 'spare', 'lossy', 'slow', 'outages']

/** A file over network n of a class, n the seed. */
function gridScenario(name: GridClass, length: '' | '-short', bytes: number): [string, Scenario] {
  return [`grid-${name}${length}`, { shapes: ({ seed }) => gridNetwork(name, seed), bytes, cost: completion }]
}

export function schedulersExperiment(): Experiment<SchedulersCell, SchedulersValues> {
  return defineExperiment<SchedulersCell, SchedulersValues>({
    name: 'schedulers',
    axes: { scheduler: ['min-rtt', 'round-robin', ...available('scheduler.', ['weighted', 'backup', 'redundant', 'blest', 'ecf', 'deadline'] as const)], scenario: Object.keys(SCENARIOS) },
    quick: { axes: { scenario: [...HOMES, 'grid-low', 'grid-high-loss-short'] }, seeds: 3 },
    columns: { costMs: 'ms', firstShare: 'share', extra: 'share' },
    run: (cell, world) => world.run(() => measure(cell, world)),
  })
}

/** Which of the names this build has. */
export function available<N extends string>(prefix: string, names: readonly N[]): N[] {
  const features = new Set(loadNative().features())
  return names.filter((name) => features.has(`${prefix}${name}`))
}

async function measure({ scenario: name, scheduler }: SchedulersCell, world: World): Promise<SchedulersValues> {
  const scenario = SCENARIOS[name]
  if (scenario === undefined) throw new RangeError(`there is no scenario ${name}`)
  const made = pairIn(world, scenario.shapes(world))
  const pair = { ...made, paths: scenario.advise?.(made.paths, scheduler) ?? made.paths }
  const { near, far, atClient, atServer } = await connect(pair, { scheduler }, scenario.server)
  await near.paths.ready()
  scenario.script?.(world, pair)
  const before = near.statistics().bytesSent
  const costMs = await scenario.cost(world, near, far, scenario.bytes)
  const [first, sent] = [near.paths.get(0)?.statistics().bytesSent ?? 0, near.statistics().bytesSent]
  const values = { costMs, firstShare: first / sent, extra: (sent - before) / scenario.bytes - 1 }
  near.destroy()
  atClient.destroy()
  atServer.destroy()
  return values
}

function link(mbit: number, delayMs: number, more: LinkShape = {}): LinkShape {
  return { rateBitsPerSec: mbit * MBIT, delayMs, ...more }
}

/** ms until all bytes of one stream are there. */
async function completion(world: World, near: Connection, far: Connection, bytes: number): Promise<number> {
  const start = world.nowMs
  await transfer(near, far, bytes)
  return world.nowMs - start
}

/** ms until all bytes of a stream are acknowledged. */
async function message(world: World, near: Connection, bytes: number): Promise<number> {
  const start = world.nowMs
  const stream = await near.openUnidirectional()
  for (let left = bytes; left > 0;) {
    left -= stream.write(new Uint8Array(left))
    if (left > 0) await stream.ready()
  }
  stream.end()
  await stream.finished
  return world.nowMs - start
}

interface Messages {
  bytes: number
  count: number
  /** One begins every so often; 0: all at once. */
  everyMs: number
}

/** P99 of messages that the far end reads as they come. */
async function messages(world: World, near: Connection, far: Connection, { bytes, count, everyMs }: Messages): Promise<number> {
  drainAll(far).catch(() => undefined) // until the connection is destroyed
  const all: Promise<number>[] = []
  for (let index = 0; index < count; index++) {
    all.push(message(world, near, bytes))
    if (everyMs > 0) await world.sleep(everyMs)
  }
  const sorted = (await Promise.all(all)).sort((one, other) => one - other)
  return quantile(sorted, 0.99)
}

async function drainAll(far: Connection): Promise<void> {
  for await (const stream of far.incomingUnidirectional()) drain(stream).catch(() => undefined)
}

/** Path after path is dark for 300 ms, at instants that the seed moves. */
function outages(world: World, { links }: Pair): void {
  const random = randomOf(world.seed)
  for (let turn = 0; turn < 10; turn++) {
    const dark = links[turn % links.length]
    const at = world.nowMs + 200 + turn * 900 + random() * 300
    world.at(at, () => dark?.cut())
    world.at(at + 300, () => dark?.restore())
  }
}
