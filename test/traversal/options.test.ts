/** The option `traversal` and what comes out of it for the engine (api 2.8). */
import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { TraversalOptions } from '../../src/nat/index.ts'
import { connectedPair, watchContract } from '../fake/pair.ts'

watchContract()

const FEATURES = ['nat', 'traversal']

async function connectWith(traversal: unknown): Promise<object | undefined> {
  const pair = await connectedPair({ features: FEATURES, connect: { traversal: traversal as TraversalOptions } })
  const { transport } = pair.network.endpoints[1]?.connects[0] ?? {}
  await pair.done()
  return transport?.traversal
}

describe('the option traversal', () => {
  it('is off unless it is asked for, and absent from what the engine gets', async () => {
    const pair = await connectedPair({ features: FEATURES })
    expect(pair.network.endpoints[1]?.connects[0]?.transport).not.toHaveProperty('traversal')
    expect([pair.near.traversal.state, pair.near.traversal.profile, pair.far.traversal.state]).toEqual(['off', null, 'off'])
    await expect(pair.near.traversal.direct()).resolves.toMatchObject({ relayed: false })
    expect(() => pair.near.traversal.addresses.announce('192.0.2.1:1')).toThrow(expect.objectContaining({ code: 'QB_TRAVERSAL_OFF' }))
    await expect(pair.near.traversal.puncher.punch({ seq: 0 } as never)).rejects.toMatchObject({ code: 'QB_TRAVERSAL_OFF' })
    await pair.done()
  })

  it('reaches the engine with the defaults of the contract', async () => {
    const plain = { profile: 'braid', auto: true, portSearch: false, privateTargets: 'same-site', stun: [], stunForm: 'rfc5780', ownStrategy: false, networks: expect.any(Array) as unknown }
    expect(await connectWith({})).toEqual(plain)
    expect(await connectWith({ profile: 'dquic', auto: false, portSearch: true, privateTargets: 'never', stun: ['192.0.2.1:3478'], sources: ['host'], strategy: () => [], budget: { probesPer60s: 1000, roundsPer60s: 1 } }))
      .toEqual({ profile: 'dquic', auto: false, portSearch: true, privateTargets: 'never', stun: ['192.0.2.1:3478'], stunForm: 'rfc5780', ownStrategy: true, probesPer60s: 1000, roundsPer60s: 1, networks: expect.any(Array) as unknown })
  })

  /** traversal T-97, attacks L22. */
  it('takes bounds that are lower, never higher ones', async () => {
    expect(await connectWith({ budget: { probesPer60s: 80, roundsPer60s: 5 } })).toMatchObject({ probesPer60s: 80, roundsPer60s: 5 })
    for (const [budget, field] of [[{ probesPer60s: 81 }, 'probesPer60s'], [{ roundsPer60s: 6 }, 'roundsPer60s'], [{ probesPer60s: 0 }, 'probesPer60s'], [{ probesPer60s: 1.5 }, 'probesPer60s']] as const) {
      await expect(connectWith({ budget })).rejects.toMatchObject({ code: 'QB_OPTION_INVALID', field: `traversal.budget.${field}` })
    }
    await expect(connectWith({ portSearch: true, budget: { probesPer60s: 1001 } })).rejects.toMatchObject({ code: 'QB_OPTION_INVALID' })
  })

  it('is checked field by field, and names what is wrong', async () => {
    const wrong: readonly [unknown, string, string][] = [
      [{ profile: 'other' }, 'traversal.profile', 'QB_OPTION_INVALID'], [{ relays: ['host'] }, 'traversal.relays[0]', 'QB_OPTION_INVALID'], [{ relays: Array.from({ length: 9 }, () => 'a:1') }, 'traversal.relays', 'QB_OPTION_INVALID'],
      [{ relayToken: new Uint8Array(1025) }, 'traversal.relayToken', 'QB_OPTION_INVALID'], [{ relayTls: { ca: 7 } }, 'traversal.relayTls.ca', 'QB_OPTION_INVALID'], [{ sources: ['host', 'host'] }, 'traversal.sources', 'QB_OPTION_INVALID'],
      [{ strategy: 'fast' }, 'traversal.strategy', 'QB_OPTION_INVALID'], [{ privateTargets: 'some' }, 'traversal.privateTargets', 'QB_OPTION_INVALID'], [{ relay: [] }, 'traversal.relay', 'QB_OPTION_UNKNOWN'],
      [{ budget: { probes: 1 } }, 'traversal.budget.probes', 'QB_OPTION_UNKNOWN'], [true, 'traversal', 'QB_OPTION_INVALID'],
    ]
    for (const [value, field, code] of wrong) await expect(connectWith(value), field).rejects.toMatchObject({ code, field })
  })

  it('may be anything, and is an OptionError or a connection', async () => {
    const some = fc.oneof(fc.anything(), fc.record({ profile: fc.anything(), relays: fc.anything(), budget: fc.anything(), sources: fc.anything(), auto: fc.anything() }, { requiredKeys: [] }))
    await fc.assert(fc.asyncProperty(some, async (value) => {
      await connectWith(value).then(() => {}, (error: { code?: string }) => expect(error.code).toMatch(/^QB_OPTION_(INVALID|UNKNOWN)$/))
    }), { numRuns: 60 })
  })

  it('needs a build that has it', async () => {
    await expect(connectedPair({ connect: { traversal: {} } })).rejects.toMatchObject({ code: 'QB_OPTION_INVALID', field: 'traversal' })
  })
})
