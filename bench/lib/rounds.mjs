// Interleaved rounds: every side of a case once, then all again, so that a noisy minute hits all alike.

import { runPair } from './pair.mjs'

/**
 * Runs every case.
 *
 * @param cases `{ name, sides, metrics }`: `sides` maps a side to `{ server, client }` command lines; where it differs from the
 *   others, `rounds`, and `patience`, how many seconds a round may take. `ways`: which sides are ours.
 * @returns per case and side the values of each metric, one a round: `values[name][side][metric]`. A peer that fails is told
 *   on stderr and has no values; ours that fails ends the run.
 */
export async function runRounds(cases, effort, progress) {
  const values = {}
  for (const { name, sides, metrics, ways, rounds = effort.rounds, patience = effort.seconds } of cases) {
    const running = Object.fromEntries(Object.keys(sides).map((side) => [side, Object.fromEntries(Object.keys(metrics).map((metric) => [metric, []]))]))
    values[name] = running
    for (let round = 0; round < rounds; round += 1) {
      for (const [side, commands] of turned(Object.entries(sides), round)) {
        if (!(side in running)) continue
        progress(`${name}: ${side}, round ${round + 1} of ${rounds}`)
        try {
          const reports = await runPair(commands, patience * 1000)
          for (const [metric, { of }] of Object.entries(metrics)) running[side][metric].push(of(reports))
        } catch (error) {
          if (ways === undefined || side in ways) throw error
          process.stderr.write(`${name} without ${side}: ${error.message.split('\n', 1)[0]}\n`)
          delete running[side]
        }
      }
    }
  }
  return values
}

/** Another side is first in every round: who follows whom is no advantage. */
export function turned(list, by) {
  const at = by % list.length
  return [...list.slice(at), ...list.slice(0, at)]
}

/** The metrics of transfers. */
export const BULK = {
  throughput: { unit: 'Gbit/s', of: ({ client }) => (client.bytes * 8) / client.seconds / 1e9 },
  cpuPerGB: { unit: 's', of: ({ client, server }) => ((client.cpu + server.cpu) * 1e9) / client.bytes },
}

/** The metrics of operations. */
export const OPERATIONS = {
  rate: { unit: '1/s', of: ({ client }) => client.operations / client.seconds },
  cpuPerOp: { unit: 'µs', of: ({ client, server }) => ((client.cpu + server.cpu) * 1e6) / client.operations },
}
