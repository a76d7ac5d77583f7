/**
 * Random lives of connections and their streams (attacks I1; mux R44): in simulated worlds with loss, and over loopback. The long
 * form, 10,000 lives, is `npm run torture -- model`.
 */
import * as fc from 'fast-check'
import { afterEach, describe, it } from 'vitest'
import { World } from '../../src/sim/index.ts'
import { MODULE_BUILT } from '../native/built.ts'
import { closeAll, nativePair } from '../native/pair.ts'
import { withPair } from '../sim/programs.ts'
import { COMMANDS, ENDS, live } from './commands.ts'
import { Life } from './model.ts'
import { progress, RUNS } from './torture.ts'

afterEach(closeAll)

const LIMITS = { bidirectionalStreams: 3, unidirectionalStreams: 3 }
const scenario = fc.record({
  commands: fc.commands(COMMANDS, { maxCommands: 60, size: 'max' }),
  end: fc.constantFrom(...Object.keys(ENDS)),
  seed: fc.nat({ max: 1_000_000 }),
  delayMs: fc.integer({ min: 0, max: 60 }),
  loss: fc.constantFrom(0, 0, 0.02, 0.1),
})

describe.skipIf(!MODULE_BUILT)('every life of a connection', () => {
  it('ends with every promise settled and every byte in its place, in simulated worlds', async () => {
    const runs = RUNS ?? 150
    const told = progress('lives in simulated worlds', runs)
    await fc.assert(fc.asyncProperty(scenario, async ({ commands, end, seed, delayMs, loss }) => {
      const pair = World.pair([{ delayMs, loss }], { seed })
      await withPair(pair, async ({ world, near, far, atClient, atServer, server }) => {
        const stage = { near, far, nearEndpoint: atClient, farEndpoint: atServer, sleep: (ms: number) => world.sleep(ms), crash: () => server.crash() }
        await live(new Life(stage), commands, end)
      }, { limits: LIMITS }, { limits: LIMITS })
      await pair.world.close()
      told()
    }), { numRuns: runs, endOnFailure: RUNS !== null })
  }, 86_400_000)

  it('ends with every promise settled and every byte in its place, over loopback', async () => {
    const runs = Math.ceil((RUNS ?? 300) / 20)
    const told = progress('lives over loopback', runs)
    await fc.assert(fc.asyncProperty(scenario, async ({ commands, end }) => {
      const pair = await nativePair({ server: { limits: LIMITS } })
      const { near, far } = await pair.connect({ limits: LIMITS })
      const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, Math.min(ms / 10, 5)))
      await live(new Life({ near, far, nearEndpoint: pair.client, farEndpoint: pair.server, sleep, crash: null }), commands, end)
      await closeAll()
      told()
    }), { numRuns: runs, endOnFailure: RUNS !== null })
  }, 86_400_000)
})
