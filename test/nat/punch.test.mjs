// Two of our endpoints behind NATs of the kernel, connected over a relay: who gets a direct path is what the simulator's reference table says
// (traversal V10; the table: native/qsim/tests/traversal/main.rs). `quicbraid nat matrix --real` runs all 64 pairs.

import assert from 'node:assert/strict'
import { after, before, it } from 'node:test'
import { isReached, laboratory, LINK_MS, PairLab, startExample } from './setup.mjs'

const CELLS = [
  ['none', 'none'], ['none', 'symmetric'], ['full-cone', 'full-cone'], ['addr-restricted', 'adm-apdf'], ['symmetric', 'addr-restricted'],
  ['port-restricted', 'port-restricted'], ['port-restricted', 'full-cone'], ['linux', 'none'], ['port-restricted', 'linux'], ['linux', 'port-restricted'],
  ['linux', 'linux'], ['port-restricted', 'apdm-apdf-sequential'], ['apdm-apdf-sequential', 'port-restricted'],
  ['symmetric', 'symmetric'], ['port-restricted', 'symmetric'], ['linux', 'adm-apdf'],
]

/** Laboratories side by side: a pair that finds no hole waits most of the time. */
const LABS = 4
/** Where packets are under way for no time, whoever is first is so by chance, and both being Linux that decides. */
const isByChance = (a, b) => LINK_MS === 0 && a === 'linux' && b === 'linux'

laboratory('holes between NATs of the kernel', () => {
  let labs = []
  const results = new Map()

  before(async () => {
    labs = await Promise.all(Array.from({ length: LABS }, () => PairLab.open({ delayMs: LINK_MS })))
    const left = [...CELLS]
    const work = async (lab) => {
      for (let cell = left.pop(); cell !== undefined; cell = left.pop()) results.set(`${cell}`, await lab.runPair(...cell).catch((error) => error))
    }
    await Promise.all(labs.map(work))
  })
  after(() => Promise.all(labs.map((lab) => lab.close())))

  for (const [a, b] of CELLS) {
    it(`${a} x ${b}: ${isReached(a, b) ? 'a direct path' : 'stays on the relay, unbroken'}`, { skip: isByChance(a, b) && 'links have no delay here: netem and QUICBRAID_LAB_WIRE are missing' }, () => {
      const result = results.get(`${[a, b]}`)
      if (result instanceof Error) throw result
      assert.equal(result.direct, isReached(a, b), JSON.stringify(result))
      assert.ok(result.probes <= 160, `${result.probes} probes`)
    })
  }

  it('the example runs on three hosts', async () => {
    const [{ lab }] = labs
    lab.become('a', 'port-restricted')
    lab.become('b', 'linux')
    const roles = []
    const start = (host, ...words) => {
      roles.push(startExample(lab, host, words))
      return roles.at(-1)
    }
    try {
      const [, relay, relayPin] = (await start('hub', 'relay', ...lab.hub).said()).split(' ')
      const [, bob, bobPin] = (await start('b', 'bob', relay, relayPin).said()).split(' ')
      const alice = start('a', 'alice', bob, bobPin, relay, relayPin)
      assert.deepEqual([await alice.said(), await alice.said(), await alice.ended], ['relayed true', 'direct true open', 0])
    } finally {
      for (const role of roles) role.stop()
    }
  })
})
