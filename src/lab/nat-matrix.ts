/**
 * Rows of the experiment `nat` to the numbers of `quicbraid nat matrix`: cells with their share of direct paths, and the measures over all of them.
 * What the reference table says stands in `experiments/nat-kinds.ts`. Pure.
 */
import { cellKey } from './experiment.ts'
import type { Cell, Row } from './experiment.ts'
import { CONES, isReached, MATRIX_NATS } from './experiments/nat-kinds.ts'
import type { MatrixNat } from './experiments/nat-kinds.ts'
import { quantile } from './summarize.ts'

export type Verdict = 'direct' | 'relayed' | 'mixed'

/** One pair of NATs under one loss. `a` dials. */
export interface MatrixCell {
  a: string
  b: string
  /** Percent, of each way. */
  loss: number
  /** Those that did not fail. */
  runs: number
  failed: number
  /** Share of the runs that got a direct path, 0 to 1. */
  direct: number
  /** From the call of `connect` to the direct path; null: none. */
  msP50: number | null
  msP95: number | null
  /** Sent by both ends, mean. */
  probes: number
  /** Who opened most of the direct paths, and how. */
  winner: string | null
  /** By the shares of `DIRECT` and `RELAYED`. */
  verdict: Verdict
  /** What the reference table says; null: it does not know these. */
  expected: 'direct' | 'relayed' | null
}

/** All cells, and what is measured over them. */
export interface NatMatrix {
  cells: readonly MatrixCell[]
  /** Cells that are direct, and those that the reference table has so. */
  reached: number
  expected: number
  runs: number
  failed: number
  /** Pairs of cones: P50 of the time to the direct path, against twice the round trip over the relay and 150 ms. null: there are none. */
  cones: { runs: number; msP50: number; limitMs: number } | null
  /** From `connect` to the first byte of an answer. `directMsP50`: without a relay, of servers that can be dialled. null: not measured. */
  firstByte: { relayedMsP50: number; relayRttMsP50: number; directMsP50: number | null; directRttMsP50: number | null } | null
  probes: { mean: number; max: number }
}

/** Cells with so many direct runs are direct, loss or chance aside. */
const DIRECT = 0.9
const RELAYED = 0.1
const CONE_EXTRA_MS = 150

/** Cells in the order of their first row. */
export function natMatrix(rows: Iterable<Row>): NatMatrix {
  const all = [...rows]
  const groups = new Map<string, Row[]>()
  for (const row of all) {
    const key = cellKey(row.cell)
    const group = groups.get(key)
    if (group === undefined) groups.set(key, [row])
    else group.push(row)
  }
  const cells = [...groups.values()].map(cellOf)
  const probes = numbers(all, 'probes')
  return {
    cells,
    reached: cells.filter(({ verdict }) => verdict === 'direct').length,
    expected: cells.filter(({ expected }) => expected === 'direct').length,
    runs: all.length,
    failed: all.filter(({ ok }) => !ok).length,
    cones: conesOf(all),
    firstByte: firstByteOf(all),
    probes: { mean: mean(probes), max: probes.at(-1) ?? 0 },
  }
}

function cellOf(rows: readonly Row[]): MatrixCell {
  const { a, b, loss, search } = (rows[0]?.cell ?? {}) as Cell
  const done = rows.filter(({ ok }) => ok)
  const direct = done.filter(({ values }) => values['direct'] === true)
  const share = done.length === 0 ? 0 : direct.length / done.length
  const times = numbers(direct, 'directMs')
  return {
    a: String(a), b: String(b), loss: Number(loss), runs: done.length, failed: rows.length - done.length, direct: share,
    msP50: times.length === 0 ? null : quantile(times, 0.5), msP95: times.length === 0 ? null : quantile(times, 0.95),
    probes: mean(numbers(done, 'probes')), winner: commonest(direct.map(({ values }) => values['winner'])),
    verdict: done.length > 0 && share >= DIRECT ? 'direct' : share <= RELAYED ? 'relayed' : 'mixed',
    expected: isKind(a) && isKind(b) ? (isReached(a, b, search === 'on' ? 'on' : 'off') ? 'direct' : 'relayed') : null,
  }
}

function conesOf(rows: readonly Row[]): NatMatrix['cones'] {
  const cones = rows.filter(({ cell, values }) => CONES.includes(cell['a'] as MatrixNat) && CONES.includes(cell['b'] as MatrixNat) && values['direct'] === true)
  const times = numbers(cones, 'directMs')
  const relay = numbers(cones, 'relayRttMs')
  if (times.length === 0 || relay.length === 0) return null
  return { runs: times.length, msP50: quantile(times, 0.5), limitMs: 2 * quantile(relay, 0.5) + CONE_EXTRA_MS }
}

function firstByteOf(rows: readonly Row[]): NatMatrix['firstByte'] {
  const plain = rows.filter(({ values }) => typeof values['plainFirstByteMs'] === 'number')
  // Compared are runs of the same worlds.
  const compared = plain.length > 0 ? plain : rows
  const relayed = numbers(compared, 'firstByteMs')
  const rtts = numbers(compared, 'relayRttMs')
  if (relayed.length === 0 || rtts.length === 0) return null
  const direct = numbers(plain, 'plainFirstByteMs')
  return {
    relayedMsP50: quantile(relayed, 0.5), relayRttMsP50: quantile(rtts, 0.5),
    directMsP50: direct.length === 0 ? null : quantile(direct, 0.5), directRttMsP50: direct.length === 0 ? null : quantile(numbers(plain, 'directRttMs'), 0.5),
  }
}

function isKind(name: unknown): name is MatrixNat {
  return MATRIX_NATS.includes(name as MatrixNat)
}

/** Rising. */
function numbers(rows: readonly Row[], column: string): number[] {
  return rows.map(({ values }) => values[column]).filter((value) => typeof value === 'number').sort((one, other) => one - other)
}

function mean(values: readonly number[]): number {
  return values.length === 0 ? 0 : values.reduce((sum, value) => sum + value, 0) / values.length
}

function commonest(words: readonly unknown[]): string | null {
  const counts = new Map<string, number>()
  for (const word of words) if (typeof word === 'string') counts.set(word, (counts.get(word) ?? 0) + 1)
  return [...counts].sort(([, one], [, other]) => other - one)[0]?.[0] ?? null
}
