// Plain opening between two NATs of the kernel, without our code: the reference table of hole punching holds in the laboratory. What orders
// and foretold ports add to it is our own business (punch.test.mjs).

import assert from 'node:assert/strict'
import { after, before, it } from 'node:test'
import { laboratory, oracle, REFERENCE_KINDS, RealLab } from './setup.mjs'

const OPEN = ['none', 'full-cone', 'addr-restricted']
const KEEPS = ['port-restricted', 'linux']
const ROUNDS = 3

/** Both send to where a server saw the other; 41 of 64 pairs. */
const isReached = (a, b) => OPEN.includes(a) || OPEN.includes(b) || (a === b && a === 'port-restricted') || (a === b && a === 'linux')
/** Who is first decides: the tracker of Linux maps anew what the peer's packet came before. */
const isOfOrder = (a, b) => KEEPS.includes(a) && KEEPS.includes(b) && (a === 'linux' || b === 'linux')

laboratory('plain opening between NATs of the kernel', () => {
  let lab, server, ends

  before(async () => {
    lab = await RealLab.open()
    const hub = oracle(lab, 'hub')
    ends = { a: oracle(lab, 'a'), b: oracle(lab, 'b') }
    server = `${lab.hub[0]}:3478`
    await hub.ask({ do: 'serve', first: server, second: `${lab.hub[1]}:3479` })
  })
  after(() => lab?.close())

  /** New sockets; `first` sends, then the other, three times; each also answers where it was heard from. Do both hear? */
  async function opens(first) {
    const second = first === 'a' ? 'b' : 'a'
    const name = 'punch'
    const targets = {}
    for (const [me, peer] of [['a', 'b'], ['b', 'a']]) {
      await ends[me].ask({ do: 'open', name, local: lab.address(me) })
      targets[peer] = [(await ends[me].ask({ do: 'ask', name, server })).mapped]
    }
    const heard = async (me) => (await ends[me].ask({ do: 'heard', name })).heard
    for (let round = 0; round < ROUNDS; round++) {
      for (const [me, peer] of [[first, second], [second, first]]) {
        const known = [...targets[me], ...(await heard(me)).map(({ from }) => from)]
        for (const to of new Set(known)) await ends[me].ask({ do: 'tell', name, to, words: 'hello' })
        // What was let in is there before this answer.
        await ends[peer].ask({ do: 'ask', name, server })
      }
    }
    const both = (await heard('a')).length > 0 && (await heard('b')).length > 0
    for (const me of ['a', 'b']) await ends[me].ask({ do: 'close', name })
    return both
  }

  it('reaches the pairs of the reference table and no others', async () => {
    const wrong = []
    for (const a of REFERENCE_KINDS) {
      lab.become('a', a)
      for (const b of REFERENCE_KINDS) {
        if (isOfOrder(a, b)) continue
        lab.become('b', b)
        if (await opens('a') !== isReached(a, b)) wrong.push(`${a} x ${b}`)
      }
    }
    assert.deepEqual(wrong, [])
    assert.equal(REFERENCE_KINDS.flatMap((a) => REFERENCE_KINDS.filter((b) => isReached(a, b))).length, 41)
  })

  it('meets the tracker of Linux only where that one sends first', async () => {
    lab.become('a', 'linux')
    lab.become('b', 'port-restricted')
    assert.deepEqual([await opens('a'), await opens('b')], [true, false])
    lab.become('b', 'linux')
    assert.deepEqual([await opens('a'), await opens('b')], [false, false])
  })
})
