import { expect, it } from 'vitest'
import { CONNECTION_NUMBERS } from '../../src/binding/numbers.ts'
import { codeOf, connectedPair, until, watchContract } from '../fake/pair.ts'

watchContract()

it('traces bursts only while somebody looks', async () => {
  const { network, near, done } = await connectedPair()
  const engine = network.endpoints[1]
  const seen: unknown[] = []
  const first = near.bursts.trace$.subscribe((record) => seen.push(record))
  const second = near.bursts.trace$.subscribe(() => {})
  const record = { kind: 'blocked', atMs: 1, path: 0, signals: ['CONGESTION'], wakeAtMs: 2, timer: 'pto' }
  engine?.trace(1, record)
  await until(() => seen.length === 1)
  first.unsubscribe()
  second.unsubscribe()
  expect(seen).toEqual([record])
  const acks = near.spaces.initial.acks$.subscribe(() => {})
  near.bursts.trace$.subscribe({ complete: () => seen.push('complete') })
  acks.unsubscribe()
  expect(engine?.connections.get(1)?.orders).toEqual([{ do: 'trace', mask: 1 }, { do: 'trace', mask: 0 }, { do: 'trace', mask: 2 }, { do: 'trace', mask: 3 }, { do: 'trace', mask: 1 }])
  near.destroy()
  expect(seen.at(-1)).toBe('complete')
  near.bursts.trace$.subscribe({ complete: () => seen.push('late') })
  expect(seen.at(-1)).toBe('late')
  await done()
})

it('counts by signal, and refuses plan() where the engine has none', async () => {
  const { near, done } = await connectedPair()
  expect(near.bursts.statistics()).toMatchObject({ bursts: 16, segments: 17, meanSegments: 17 / 16, coalesced: 21, cancelledSegments: 22, blocked: { CONGESTION: cell('CONGESTION'), PATH_VALIDATE: cell('PATH_VALIDATE') } })
  expect(await codeOf(near.bursts.plan(0))).toBe('QB_OPTION_INVALID')
  expect(await codeOf(near.bursts.plan(-1))).toBe('QB_OPTION_INVALID')
  await done()
})

it('can be traced from the first moment of a connection', async () => {
  const { network, server, client, done } = await connectedPair()
  client.connections$.subscribe(({ bursts }) => bursts.trace$.subscribe(() => {}))
  await client.connect(server.local[0] ?? '', { alpn: 'test', ca: 'ca' })
  expect(network.endpoints[1]?.connections.get(2)?.orders).toEqual([{ do: 'trace', mask: 1 }])
  await done()
})

/** The fake fills the page with the numbers of its cells, from 1. */
function cell(name: (typeof CONNECTION_NUMBERS)[number]): number {
  return CONNECTION_NUMBERS.indexOf(name) + 1
}
