import { expect, it } from 'vitest'
import { connectedPair, until, watchContract } from '../fake/pair.ts'

watchContract()

it('shows the spaces and refuses paths there are not', async () => {
  const { near, done } = await connectedPair()
  expect(near.spaces.application(0)).toMatchObject({ id: 'application', path: 0, state: 'open', largestSent: 7, largestAcknowledged: 6, largestReceived: 5, received: [[0, 5]] })
  expect(near.spaces.initial).toMatchObject({ id: 'initial', path: null })
  expect(() => near.spaces.application(9)).toThrow(expect.objectContaining({ code: 'QB_PATH_UNKNOWN', path: 9 }))
  const view = near.spaces.application()
  expect(view.largestSent).toBe(7)
  near.destroy()
  expect(view.largestSent).toBe(7)
  expect(near.spaces.handshake.state).toBe('discarded')
  await done()
})

it('gives each space its own acknowledgements', async () => {
  const { network, near, done } = await connectedPair()
  const seen: [string, unknown][] = []
  near.spaces.initial.acks$.subscribe((ack) => seen.push(['initial', ack]))
  near.spaces.application(0).acks$.subscribe((ack) => seen.push(['application', ack]))
  const facts = { atMs: 1, ranges: [[0, 3]], ackDelayMs: 2, via: 0, newlyAcknowledged: 4, lost: [], rttMs: 5, ecn: null }
  network.endpoints[1]?.acks(1, { space: 'application', path: 0, ...facts })
  network.endpoints[1]?.acks(1, { space: 'application', path: 1, ...facts })
  network.endpoints[1]?.acks(1, { space: 'initial', path: 0, ...facts })
  await until(() => seen.length === 2)
  expect(seen).toEqual([['application', facts], ['initial', facts]])
  await done()
})
