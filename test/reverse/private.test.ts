/** Rules of docs/spec/reverse.md about the private end: simulated worlds, where nothing waits for a real clock. */
import { describe, expect, it } from 'vitest'
import { MODULE_BUILT } from '../native/built.ts'
import { inPrivateWorld } from './private-world.ts'

describe.skipIf(!MODULE_BUILT)('a private end', { timeout: 60_000 }, () => {
  /** reverse V1, V4, V11, §2 */
  it('dials, says HELLO, is accepted, and serves requests of the public end', async () => {
    await inPrivateWorld(async ({ guests, until, states, steps, served, dialler }) => {
      expect([dialler.state, states.map(({ state }) => state)]).toEqual(['INIT', ['INIT']])
      await until(() => dialler.state === 'FULL')
      expect(guests[0]?.hello).toEqual({ type: 'hello', version: 1, service: 'web', pool: 1 })
      expect(await guests[0]?.ask('hello')).toBe('HELLO')
      await until(() => served.length === 2)
      expect(steps.map(({ state }) => state)).toEqual(['CONNECTING', 'HANDSHAKED', 'REVERSING', 'ACCEPTED', 'IDLE', 'BUSY', 'IDLE'])
      expect(served.map(({ type, stream, bytesIn, bytesOut }) => ({ type, stream, bytesIn, bytesOut }))).toEqual([
        { type: 'opened', stream: 1n, bytesIn: 5, bytesOut: 0 }, { type: 'closed', stream: 1n, bytesIn: 5, bytesOut: 5 },
      ])
      expect(dialler.statistics()).toMatchObject({ connections: 1, attempts: 1, accepted: 1, requests: 1, requestsOpen: 0, requestsFailed: 0, lost: 0 })
      await dialler.stop()
      expect(states.map(({ state }) => state)).toEqual(['INIT', 'FULL', 'STOP'])
    })
  })
})
