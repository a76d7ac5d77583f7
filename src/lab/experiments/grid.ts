/**
 * The networks of `lab schedulers`' grids: pairs of paths as in the evaluation of MPQUIC (De Coninck and Bonaventure, CoNEXT 2017, section
 * 4.1), spread evenly over the ranges there by the same design (WSP: Wootton, Sergent and Phan-Tan-Luu). A fixed list: network n is the same
 * in every version and on every machine, whatever else is drawn. Pure.
 *
 * | class | rate, Mbit/s | RTT, ms | longest queue, ms | loss, % |
 * |---|---|---|---|---|
 * | `low` (bandwidth-delay product) | 0.1 to 100 | 0 to 50 | 0 to 100 | 0 |
 * | `low-loss` | 0.1 to 100 | 0 to 50 | 0 to 100 | 0 to 2.5 |
 * | `high` | 0.1 to 100 | 0 to 400 | 0 to 2000 | 0 |
 * | `high-loss` | 0.1 to 100 | 0 to 400 | 0 to 2000 | 0 to 2.5 |
 */
import type { LinkShape } from '../../sim/index.ts'

export type GridClass = 'low' | 'low-loss' | 'high' | 'high-loss'

/** Networks of each class. */
export const NETWORKS = 253
/** Points among which the design chooses. */
const CANDIDATES = 2000
/** Tries to find the distance that leaves so many. */
const HALVINGS = 12
/** A queue has room for ten full datagrams at least: a burst is no loss. */
const SHORTEST_QUEUE = 15_000
const MBIT = 1e6

interface Ranges {
  rttMs: number
  queueMs: number
  loss: number
  /** Of the candidates; each class has other points. */
  seed: number
}

const CLASSES: Readonly<Record<GridClass, Ranges>> = {
  low: { rttMs: 50, queueMs: 100, loss: 0, seed: 2017_01 },
  'low-loss': { rttMs: 50, queueMs: 100, loss: 0.025, seed: 2017_02 },
  high: { rttMs: 400, queueMs: 2000, loss: 0, seed: 2017_03 },
  'high-loss': { rttMs: 400, queueMs: 2000, loss: 0.025, seed: 2017_04 },
}

export const GRID_CLASSES: readonly GridClass[] = Object.keys(CLASSES) as GridClass[]

const made = new Map<GridClass, readonly LinkShape[][]>()

/** Both links of network `number`, from 1; behind the last one the list begins again. */
export function gridNetwork(name: GridClass, number: number): readonly LinkShape[] {
  let list = made.get(name)
  if (list === undefined) {
    const { rttMs, queueMs, loss, seed } = CLASSES[name]
    const links = loss > 0 ? 4 : 3
    list = spread(randomOf(seed), 2 * links, NETWORKS).map((point) => [0, links].map((at) => {
      const [rate = 0, delay = 0, queue = 0, share = 0] = point.slice(at, at + links)
      const bits = (0.1 + 99.9 * rate) * MBIT
      return { rateBitsPerSec: Math.round(bits), delayMs: (delay * rttMs) / 2, queue: { kind: 'taildrop', bytes: Math.max(SHORTEST_QUEUE, Math.round((bits * queue * queueMs) / 8000)) }, ...(loss > 0 ? { loss: share * loss } : {}) }
    }))
    made.set(name, list)
  }
  return list[(number - 1) % NETWORKS] ?? []
}

/**
 * So many points of the unit cube that lie far from each other: of random candidates, each time the nearest to the last one that is at
 * least so far from all before. The distance is the largest (by halving) that leaves enough.
 */
export function spread(random: () => number, dimensions: number, count: number): number[][] {
  const candidates = Array.from({ length: CANDIDATES }, () => Array.from({ length: dimensions }, random))
  let [near, far] = [0, Math.sqrt(dimensions)]
  let best = candidates
  for (let turn = 0; turn < HALVINGS; turn++) {
    const distance = (near + far) / 2
    const chosen = apart(candidates, distance)
    if (chosen.length >= count) [near, best] = [distance, chosen]
    else far = distance
  }
  return best.slice(0, count)
}

function apart(candidates: readonly number[][], distance: number): number[][] {
  const chosen: number[][] = []
  let left = [...candidates]
  let last = left.shift()
  while (last !== undefined) {
    chosen.push(last)
    let nearest: { point: number[]; away: number } | null = null
    const kept: number[][] = []
    for (const point of left) {
      const away = between(point, last)
      if (away < distance) continue
      kept.push(point)
      if (nearest === null || away < nearest.away) nearest = { point, away }
    }
    last = nearest?.point
    left = kept.filter((point) => point !== last)
  }
  return chosen
}

function between(one: readonly number[], other: readonly number[]): number {
  let sum = 0
  for (let index = 0; index < one.length; index++) sum += ((one[index] ?? 0) - (other[index] ?? 0)) ** 2
  return Math.sqrt(sum)
}

/** 0 to 1, the same for the same seed on every machine (a multiplicative generator of 32 bits). */
export function randomOf(seed: number): () => number {
  let state = (seed * 2_654_435_761) >>> 0
  return () => {
    state = (state + 0x9e37_79b9) >>> 0
    let mixed = Math.imul(state ^ (state >>> 16), 0x21f0_aaad)
    mixed = Math.imul(mixed ^ (mixed >>> 15), 0x735a_2d97)
    return ((mixed ^ (mixed >>> 15)) >>> 0) / 2 ** 32
  }
}
