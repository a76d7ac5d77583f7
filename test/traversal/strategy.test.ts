/** Strategies as code (api 2.8): what the engine gets of them. */
import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { StrategyRun } from '../../src/nat/strategy.ts'
import type { PunchContext, PunchStep, PunchStrategy } from '../../src/nat/index.ts'

const address = { kind: 'mapped', address: '198.51.100.7:5000', relay: null, tier: 0, nat: 'restricted-port', seq: 0 } as const
const CONTEXT: PunchContext = { role: 'client', local: address, remote: address, report: null, relayRttMs: 40, round: 1, random: () => 0.5 }

async function all(strategy: PunchStrategy): Promise<unknown[]> {
  const run = new StrategyRun(strategy, CONTEXT)
  const steps: unknown[] = []
  for (;;) {
    const batch = await run.next()
    steps.push(...batch.steps)
    if (!batch.more) return steps
  }
}

describe('a strategy of the user\'s', () => {
  it('becomes steps of the engine', async () => {
    const steps = await all(function* ({ round }) {
      yield { do: 'tell-peer' }
      yield { do: 'wait', for: 'tell', ms: 100 * round, orFail: true }
      yield { do: 'hello', to: 'peer', count: 3, everyMs: 20, ttl: 5 }
      yield { do: 'hello', to: '6000' }
      yield { do: 'hello', to: '198.51.100.7:6001' }
      yield { do: 'predict', ports: [5001, 5002] }
      yield { do: 'new-socket', step: 1 }
      yield { do: 'new-socket' }
      yield { do: 'collision' }
      yield { do: 'port-search' }
    })
    const hello = { do: 'hello', count: 1, everyMs: 0, doubling: false, ttl: 64 }
    expect(steps).toEqual([
      { do: 'tell-peer' }, { do: 'wait', for: 'tell', ms: 100, orFail: true }, { ...hello, to: 'peer', count: 3, everyMs: 20, ttl: 5 }, { ...hello, to: 6000 }, { ...hello, to: '198.51.100.7:6001' },
      { ...hello, to: 5001 }, { ...hello, to: 5002 }, { do: 'new-socket', step: 1 }, { do: 'new-socket', step: null }, { do: 'collision' }, { do: 'port-search' },
    ])
  })

  it('may be a list, or wait for what it likes: then its steps go one by one', async () => {
    expect(await all(() => [{ do: 'tell-peer' }])).toEqual([{ do: 'tell-peer' }])
    const run = new StrategyRun(async function* () {
      yield { do: 'tell-peer' } as const
      yield { do: 'collision' } as const
    }, CONTEXT)
    expect([await run.next(), await run.next(), await run.next()]).toEqual([{ steps: [{ do: 'tell-peer' }], more: true }, { steps: [{ do: 'collision' }], more: true }, { steps: [], more: false }])
  })

  it('that goes on for ever is bounded', async () => {
    await expect(all(function* () { for (;;) yield { do: 'tell-peer' } })).rejects.toMatchObject({ code: 'QB_OPTION_INVALID' })
  })

  it('is told when the round ends', async () => {
    let tidied = false
    const run = new StrategyRun(function* () {
      try { for (;;) yield { do: 'tell-peer' } } finally { tidied = true }
    }, CONTEXT)
    await run.next()
    await run.stop()
    expect([tidied, await run.next()]).toEqual([true, { steps: [], more: false }])
  })

  it('that answers nonsense fails the round, whatever it is', async () => {
    for (const bad of [undefined, null, 7, {}]) expect(() => new StrategyRun((() => bad) as never, CONTEXT)).toThrow(expect.objectContaining({ code: 'QB_OPTION_INVALID' }))
    const steps: unknown[] = [
      { do: 'fly' }, { do: 'hello' }, { do: 'hello', to: 'there' }, { do: 'hello', to: '0' }, { do: 'hello', to: 'peer', count: 65 }, { do: 'hello', to: 'peer', ttl: 0 }, { do: 'hello', to: 'peer', ttl: 256 },
      { do: 'wait', for: 'love', ms: 1 }, { do: 'wait', for: 'any', ms: -1 }, { do: 'predict', ports: [] }, { do: 'predict', ports: [0] }, { do: 'tell-peer', more: 1 }, null, 'tell-peer',
    ]
    for (const step of steps) await expect(all(() => [step as PunchStep]), JSON.stringify(step)).rejects.toMatchObject({ code: expect.stringMatching(/^QB_OPTION_(INVALID|UNKNOWN)$/) as unknown })
    await fc.assert(fc.asyncProperty(fc.anything(), async (step) => {
      await all(() => [step as PunchStep]).then(() => {}, (error: { code?: string }) => expect(error.code).toMatch(/^QB_OPTION_/))
    }))
  })
})
