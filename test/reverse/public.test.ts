/** Rules of docs/spec/reverse.md at the public end, in virtual time, with private ends that say what the test says. */
import { describe, expect, it } from 'vitest'
import { codeOf } from '../fake/pair.ts'
import { MODULE_BUILT } from '../native/built.ts'
import { ask, hello, inReverseWorld } from './world.ts'

describe.skipIf(!MODULE_BUILT)('a public end', { timeout: 60_000 }, () => {
  /** reverse V1, V4 */
  it('sends requests to who has dialled it', async () => {
    await inReverseWorld(async ({ listener, join, events }) => {
      const { accepted, requests } = await join('web')
      expect(accepted).toEqual({ type: 'accept', key: 'web', pingMs: 15_000, maxPerKey: 256 })
      const stream = await listener.pool().request('web', { waitForMs: 1000 })
      expect([stream.id, stream.initiated]).toEqual([1n, 'local'])
      expect(await ask(stream, 'hello')).toBe('hello')
      expect(requests.map(({ id, initiated }) => [id, initiated])).toEqual([[1n, 'peer']])
      expect(events.map(({ type, key, size }) => [type, key, size])).toEqual([['accepted', 'web', 1]])
    })
  })

  it('has no connection for what nobody serves', async () => {
    await inReverseWorld(async ({ listener, call }) => {
      expect(await codeOf(listener.pool().request('web'))).toBe('QB_REVERSE_NO_CONNECTION')
      const caller = await call()
      await caller.say(hello('other'))
      expect(await caller.hear()).toMatchObject({ type: 'refuse', code: 3n })
    })
  })
})
