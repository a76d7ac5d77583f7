// Interleaved rounds: every side of a case once, then all again, so that a noisy minute hits all alike.

import { runPair } from './pair.mjs'

/**
 * Runs every case.
 *
 * @param cases `{ name, sides, metrics }`: `sides` maps a side to `{ server, client }` command lines.
 * @returns per case and side the values of each metric, one a round: `values[name][side][metric]`.
 */
export async function runRounds(cases, { rounds, seconds }, progress) {
  const values = {}
  for (const { name, sides, metrics } of cases) {
    values[name] = {}
    for (const side of Object.keys(sides)) {
      values[name][side] = Object.fromEntries(Object.keys(metrics).map((metric) => [metric, []]))
    }
    for (let round = 0; round < rounds; round += 1) {
      for (const [side, commands] of turned(Object.entries(sides), round)) {
        progress(`${name}: ${side}, round ${round + 1} of ${rounds}`)
        const reports = await runPair(commands, seconds * 1000)
        for (const [metric, { of }] of Object.entries(metrics)) values[name][side][metric].push(of(reports))
      }
    }
  }
  return values
}

/** Another side is first in every round: who follows whom is no advantage. */
function turned(list, by) {
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
