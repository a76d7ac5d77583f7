/**
 * One run over time: the same run again (the same seed makes the same datagrams), with everything recorded. Rates are of the links, RTT and
 * window of the paths of the end that sent most, out of its qlog. Runs in the thread that asks.
 */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { ServiceError } from '../errors/index.ts'
import { World } from '../sim/index.ts'
import type { SimEvent } from '../sim/index.ts'
import type { Cell } from './experiment.ts'
import { loadExperiment } from './load.ts'

/** Points in order of time: [virtual ms, value]. */
export type Points = readonly (readonly [ms: number, value: number])[]

export interface TimelineSeries {
  name: string
  points: Points
}

/** What one run looked like. */
export interface Timeline {
  cell: Cell
  seed: number
  traceHash: string
  endMs: number
  /** Mbit/s that arrived, of each link in the direction that carried more. */
  rates: readonly TimelineSeries[]
  /** Smoothed, ms, of each path. */
  rtts: readonly TimelineSeries[]
  /** Congestion windows, KiB, of each path. */
  windows: readonly TimelineSeries[]
}

export interface TimelineOptions {
  /** As of `SweepOptions`. */
  module: string
  cell: Cell
  /** @default 1 */
  seed?: number
}

/** Intervals over which rates are means. */
const BINS = 160
const SHORTEST_BIN_MS = 5
/** Time of day at which worlds begin; none lasts to the next day (`limitMs`). */
const BEGIN_MS = 1000

/** A run that fails has a time line, too, as far as it came. @throws QB_LAB_MODULE QB_NATIVE_MISSING */
export async function timeline({ module, cell, seed = 1 }: TimelineOptions): Promise<Timeline> {
  const experiment = await loadExperiment(module)
  const world = new World({ seed, record: true })
  const events: SimEvent[] = []
  const watching = world.events$.subscribe((event) => void events.push(event))
  await experiment.run({ ...cell }, world).catch(() => undefined)
  const [endMs, traceHash] = [world.nowMs, world.traceHash()]
  watching.unsubscribe()
  const logs = await logsOf(world)
  await world.close().catch(() => undefined)
  const paths = busiest(logs.map(pathsOf))
  return { cell, seed, traceHash, endMs, rates: ratesOf(events, endMs), rtts: named(paths, 'rtts'), windows: named(paths, 'windows') }
}

async function logsOf(world: World): Promise<string[]> {
  const folder = mkdtempSync(join(tmpdir(), 'quicbraid-timeline-'))
  try {
    return (await world.exportQlog(folder)).map((file) => readFileSync(file, 'utf8'))
  } catch (error) {
    throw new ServiceError('QB_INTERNAL', `the logs of a run cannot be read: ${error instanceof Error ? error.message : String(error)}`, { cause: error })
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

/** Mean rates over equal intervals. Links that carried nothing are left out. */
function ratesOf(events: readonly SimEvent[], endMs: number): TimelineSeries[] {
  const binMs = Math.max(SHORTEST_BIN_MS, endMs / BINS)
  const links = new Map<string, Map<string, { total: number; bins: number[] }>>()
  for (const { link, from, deliverAtMs, bytes } of events) {
    if (deliverAtMs === null) continue
    let ways = links.get(link)
    if (ways === undefined) links.set(link, (ways = new Map()))
    let way = ways.get(from)
    if (way === undefined) ways.set(from, (way = { total: 0, bins: Array.from({ length: Math.ceil(endMs / binMs) + 1 }, () => 0) }))
    const bin = Math.min(way.bins.length - 1, Math.floor(deliverAtMs / binMs))
    way.bins[bin] = (way.bins[bin] ?? 0) + bytes
    way.total += bytes
  }
  return [...links].map(([name, ways]) => {
    const bins = [...ways.values()].reduce((most, way) => (way.total > most.total ? way : most)).bins
    return { name, points: bins.map((bytes, index) => [(index + 0.5) * binMs, (bytes * 8) / binMs / 1000] as const) }
  })
}

interface PathPoints {
  rtts: [number, number][]
  windows: [number, number][]
}

interface LogPaths {
  paths: Map<number, PathPoints>
  /** Most bytes in flight on any path. */
  most: number
}

interface LogRecord {
  time?: number
  name?: string
  path_id?: number
  data?: { smoothed_rtt?: number; congestion_window?: number; bytes_in_flight?: number }
  trace?: { common_fields?: { reference_time?: { wall_clock_time?: string } } }
}

function pathsOf(log: string): LogPaths {
  const paths = new Map<number, PathPoints>()
  let most = 0
  let began = 0
  for (const line of log.split('\n')) {
    const start = line.indexOf('{')
    if (start < 0) continue
    const { time = 0, name, path_id: id = 0, data = {}, trace } = JSON.parse(line.slice(start)) as LogRecord
    const wall = trace?.common_fields?.reference_time?.wall_clock_time
    if (wall !== undefined) began = timeOfDay(wall) - BEGIN_MS
    if (name !== 'quic:recovery_metrics_updated') continue
    let path = paths.get(id)
    if (path === undefined) paths.set(id, (path = { rtts: [], windows: [] }))
    if (data.smoothed_rtt !== undefined) path.rtts.push([began + time, data.smoothed_rtt])
    if (data.congestion_window !== undefined) path.windows.push([began + time, data.congestion_window / 1024])
    most = Math.max(most, data.bytes_in_flight ?? 0)
  }
  return { paths, most }
}

/** ms after midnight. */
function timeOfDay(wall: string): number {
  const [, hours = 0, minutes = 0, seconds = 0] = /T(\d+):(\d+):([\d.]+)Z/.exec(wall) ?? []
  return (Number(hours) * 3600 + Number(minutes) * 60 + Number(seconds)) * 1000
}

function busiest(logs: readonly LogPaths[]): LogPaths {
  return logs.reduce((most, log) => (log.most > most.most ? log : most), { paths: new Map<number, PathPoints>(), most: -1 })
}

function named({ paths }: LogPaths, of: 'rtts' | 'windows'): TimelineSeries[] {
  return [...paths].sort(([one], [other]) => one - other).map(([id, points]) => ({ name: `path ${id}`, points: points[of] })).filter(({ points }) => points.length > 0)
}
