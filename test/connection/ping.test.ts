/** `ping` over the fake engine: who answers, and every way no answer comes. */
import { expect, it } from 'vitest'
import { codeOf, connectedPair, turns, watchContract } from '../fake/pair.ts'
import type { Pair } from '../fake/pair.ts'

watchContract()

/** A connection with these paths beside path 0. */
async function withPaths(...paths: number[]): Promise<Pair> {
  const pair = await connectedPair({ features: ['ping'] })
  const fake = pair.network.endpoints[1]?.connections.get(1)
  for (const path of paths) if (fake !== undefined) pair.network.path(fake, path, 'open', null, null)
  await turns(3)
  return pair
}

it('resolves with the round-trip time and the path that answered', async () => {
  const pair = await withPaths(1)
  expect(await Promise.all([pair.near.ping(), pair.near.ping({ path: 1 }), pair.far.ping()])).toEqual([{ rttMs: 20, path: 0 }, { rttMs: 30, path: 1 }, { rttMs: 20, path: 0 }])
  await pair.done()
})

it('rejects for paths that are none, go away, or are too many', async () => {
  const pair = await withPaths(7, 8)
  expect(await codeOf(pair.near.ping({ path: 3 }))).toBe('QB_PATH_UNKNOWN')
  expect(await codeOf(pair.near.ping({ path: 8 }))).toBe('QB_PATH_LIMIT')
  const waiting = codeOf(pair.near.ping({ path: 7 }))
  const fake = pair.network.endpoints[1]?.connections.get(1)
  await turns(3)
  if (fake !== undefined) pair.network.path(fake, 7, 'abandoned', null, { type: 'abandoned', by: 'peer' })
  expect(await waiting).toBe('QB_PATH_ABANDONED')
  await pair.done()
})

it('rejects when it is aborted and when the connection ends', async () => {
  const pair = await withPaths(7)
  const [abort, reason] = [new AbortController(), Object.assign(new Error('enough'), { code: 'MINE' })]
  const [aborted, ended] = [codeOf(pair.near.ping({ path: 7, signal: abort.signal })), codeOf(pair.near.ping({ path: 7 }))]
  abort.abort(reason)
  expect(await aborted).toBe('MINE')
  pair.near.destroy()
  expect(await ended).toBe('QB_CONNECTION_DESTROYED')
  expect(await codeOf(pair.near.ping())).toBe('QB_CONNECTION_DESTROYED')
  await pair.done()
})
