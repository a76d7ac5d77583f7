// A transfer goes on while the ways between two NATs of the kernel break: it falls back to the relay, finds a direct path anew, and every byte
// comes back as it was sent.

import assert from 'node:assert/strict'
import { after, before, beforeEach, afterEach, it } from 'node:test'
import { laboratory, LINK_MS, PairLab } from './setup.mjs'

const MIB = 1024 * 1024

laboratory('a transfer through NATs of the kernel', () => {
  let pairs, a

  before(async () => {
    pairs = await PairLab.open({ delayMs: LINK_MS })
    a = pairs.a
  })
  after(() => pairs?.close())
  beforeEach(() => pairs.connect('port-restricted', 'port-restricted'))
  afterEach(() => pairs.reset())

  const direct = async () => {
    const found = await a.ask({ do: 'direct', limitMs: 20_000 })
    assert.equal(found.direct, true, found.reason)
  }
  const end = async (bytes) => {
    const done = await a.ask({ do: 'end-transfer' })
    assert.equal(done.bytes, bytes)
    assert.equal(done.received, done.sent)
    await a.ask({ do: 'stop-beats' })
    return a.ask({ do: 'facts' })
  }

  it('falls back to the relay when the direct way breaks', async () => {
    await direct()
    await a.ask({ do: 'transfer', bytes: 2 * MIB })
    pairs.lab.separate('a', 'b')
    try {
      await a.ask({ do: 'transfer', bytes: 2 * MIB })
      const { events } = await end(4 * MIB)
      assert.deepEqual(events.map(({ type }) => type).filter((type) => type !== 'round').slice(0, 2), ['upgraded', 'fell-back'])
    } finally {
      pairs.lab.rejoin('a', 'b')
    }
  })

  for (const [who, what] of [['a', 'dialled'], ['b', 'was dialled']]) {
    it(`survives that the NAT of the end that ${what} forgets everything`, async () => {
      await direct()
      await a.ask({ do: 'transfer', bytes: 2 * MIB })
      pairs.lab.rebind(who)
      await a.ask({ do: 'transfer', bytes: 2 * MIB })
      await end(4 * MIB)
    })
  }
})
