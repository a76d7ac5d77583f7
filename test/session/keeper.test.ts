import { describe, expect, it } from 'vitest'
import type { SessionEntry, SessionStore } from '../../src/index.ts'
import { REAL_TIME } from '../../src/config/index.ts'
import { SessionKeeper, memoryStore } from '../../src/session/index.ts'

const realm = new Uint8Array(16).fill(9)
const bytes = (number: number): Uint8Array => Uint8Array.of(number)

function keep(store: SessionStore, at = { ms: 1000 }): { keeper: SessionKeeper; warnings: unknown[]; at: { ms: number } } {
  const warnings: unknown[] = []
  return { keeper: new SessionKeeper(store, realm, { warn: (...facts) => warnings.push(facts) }, { ...REAL_TIME, unixMs: () => at.ms }), warnings, at }
}

describe('session keeper', () => {
  it('hands each token and each ticket out once, the newest first', async () => {
    const { keeper } = keep(memoryStore())
    await keeper.putToken('a', bytes(1))
    await keeper.putToken('a', bytes(2))
    await keeper.putTickets('a', 1)
    expect(await keeper.take('a')).toEqual({ token: bytes(2), ticket: true })
    expect(await keeper.take('a')).toEqual({ token: bytes(1), ticket: false })
    expect(await keeper.take('a')).toEqual({ token: null, ticket: false })
    expect(await keeper.take('b')).toEqual({ token: null, ticket: false })
  })

  it('keeps four entries a name, some of each kind (attacks L18)', async () => {
    const store = memoryStore()
    const { keeper } = keep(store)
    for (let round = 0; round < 5; round++) {
      await keeper.putToken('a', bytes(round))
      await keeper.putTickets('a', 2)
    }
    const kinds = (await store.get('a')).map(({ kind }) => kind).toSorted()
    expect(kinds).toEqual(['ticket', 'ticket', 'token', 'token'])
  })

  it('of 257 names forgets the one touched longest ago (attacks L18)', async () => {
    const store = memoryStore()
    const { keeper } = keep(store)
    for (let name = 0; name < 256; name++) await keeper.putToken(String(name), bytes(1))
    await keeper.putToken('0', bytes(2))
    await keeper.putToken('256', bytes(1))
    expect([await store.get('0'), await store.get('1'), await store.get('2')].map((entries) => (entries as SessionEntry[]).length)).toEqual([2, 0, 1])
  })

  it('passes what is too old, foreign handles and nonsense by', async () => {
    const entries: unknown[] = [{ kind: 'ticket', bytes: new Uint8Array(20), portable: false, expiresUnixMs: Infinity }, null, 7, { kind: 'token' }]
    const { keeper, at } = keep({ get: () => entries as SessionEntry[], set: (_key, next) => void entries.splice(0, entries.length, ...next) })
    expect(await keeper.take('a')).toEqual({ token: null, ticket: false })
    await keeper.putToken('a', bytes(1))
    at.ms += 8 * 24 * 3_600_000
    expect(await keeper.take('a')).toEqual({ token: null, ticket: false })
  })

  it('loses nothing when much is put at once into a slow store', async () => {
    let held: SessionEntry[] = []
    const later = <T>(value: T): Promise<T> => new Promise((resolve) => setTimeout(() => resolve(value), 1))
    const { keeper } = keep({ get: () => later(held), set: async (_key, next) => { held = await later(next) } })
    await Promise.all([keeper.putToken('a', bytes(1)), keeper.putToken('a', bytes(2)), keeper.putTickets('a', 2)])
    expect(held.length).toBe(4)
  })

  it('goes on without a store that fails or does not answer, and warns', async () => {
    const { keeper, warnings } = keep({ get: () => { throw new Error('no disk') }, set: () => {} })
    expect(await keeper.take('a')).toEqual({ token: null, ticket: false })
    const silent = keep({ get: () => new Promise(() => {}), set: () => {} })
    const [first, second] = await Promise.all([silent.keeper.take('a'), silent.keeper.take('b')])
    expect([first, second]).toEqual([{ token: null, ticket: false }, { token: null, ticket: false }])
    expect([warnings.length, silent.warnings.length]).toEqual([1, 2])
  })
})
