/**
 * `nat`: two hosts behind NATs of every pair of kinds. They meet over a relay, move bytes, punch; a run ends with the direct path, or when nothing is left
 * to try. Behind `quicbraid nat matrix`; what a cell of the reference table says stands in `nat-kinds.ts`.
 */
import { defineExperiment } from '../experiment.ts'
import type { Experiment } from '../experiment.ts'
import { MATRIX_NATS } from './nat-kinds.ts'
import type { MatrixNat } from './nat-kinds.ts'
import { meet } from './nat-run.ts'
import type { NatValues } from './nat-run.ts'

/** `a` dials; `loss` in percent, each way; `strategy`: `matrix` or a file that exports `strategy`. */
export type NatCell = { a: MatrixNat; b: MatrixNat; loss: number; search: 'off' | 'on'; strategy: string }

/** What the experiment asks for beyond its name: `builtin:nat?loss=1,3&search=on&strategy=FILE`. */
export const NAT_PARAMETERS = ['loss', 'search', 'strategy'] as const

/** The plans of the library. */
export const MATRIX_STRATEGY = 'matrix'

export function natExperiment(parameters: URLSearchParams = new URLSearchParams()): Experiment<NatCell, NatValues> {
  const loss = parameters.get('loss')?.split(',').map(Number) ?? [0, 5, 20]
  const search = parameters.get('search')
  // Runs come from queues, too: a worker imports no file but the one it was started with.
  const file = parameters.get('strategy')
  return defineExperiment<NatCell, NatValues>({
    name: 'nat',
    axes: { a: [...MATRIX_NATS], b: [...MATRIX_NATS], loss, search: search === null ? ['off', 'on'] : [search === 'on' ? 'on' : 'off'], strategy: [file ?? MATRIX_STRATEGY] },
    quick: { axes: { a: ['none', 'port-restricted', 'symmetric', 'linux'], b: ['none', 'port-restricted', 'symmetric', 'linux'], loss: [loss[0] ?? 0], search: [search === 'on' ? 'on' : 'off'] }, seeds: 3 },
    columns: { direct: 'share', directMs: 'ms', firstByteMs: 'ms', pauseMs: 'ms', probes: 'probes', rounds: 'rounds', winner: '', relayRttMs: 'ms', directRttMs: 'ms', plainFirstByteMs: 'ms' },
    run: (cell, world) => {
      if (cell.strategy !== MATRIX_STRATEGY && cell.strategy !== file) throw new RangeError(`there is no strategy ${cell.strategy} here`)
      return meet({ ...cell, strategy: file }, world)
    },
  })
}
