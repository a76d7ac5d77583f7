// The laboratory itself: each kind of NAT is what its name says, told by an oracle that shares no code with ours.

import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { after, before, it } from 'node:test'
import { laboratory, oracle, REAL_NATS, RealLab } from './setup.mjs'

/** What the rules of a kind promise, in the oracle's words. */
function promised(kind) {
  if (kind === 'blocked') return { mapping: 'unknown', filtering: 'unknown', ports: 'unknown', afterContact: 'unknown', natted: true, blocked: true }
  const traits = REAL_NATS[kind]
  if (traits === null) return { mapping: 'endpoint-independent', filtering: 'endpoint-independent', ports: 'preserving', afterContact: 'unknown', natted: false, blocked: false }
  const { mapping, filtering, ports, tracker } = traits
  const isTried = mapping === 'endpoint-independent' && filtering !== 'endpoint-independent'
  return { mapping, filtering, ports, afterContact: !isTried ? 'unknown' : tracker ? 'changes' : 'keeps', natted: true, blocked: false }
}

laboratory('the laboratory of network namespaces', () => {
  let lab, hub, a, server

  before(async () => {
    lab = await RealLab.open({ clients: { a: ['none', 'port-restricted'], b: ['none'] } })
    hub = oracle(lab, 'hub')
    a = oracle(lab, 'a')
    server = `${lab.hub[0]}:3478`
    await hub.ask({ do: 'serve', first: server, second: `${lab.hub[1]}:3479` })
  })
  after(() => lab?.close())

  for (const kind of Object.keys(REAL_NATS)) {
    it(`a NAT of kind ${kind} is one (traversal V10)`, async () => {
      lab.become('a', kind)
      const found = await a.ask({ do: 'classify', local: lab.address('a'), server })
      const wanted = promised(kind)
      assert.deepEqual(Object.fromEntries(Object.keys(wanted).map((name) => [name, found[name]])), wanted)
      if (kind !== 'blocked') assert.equal(found.mapped.split(':')[0], lab.outerAddress('a'))
    })
  }

  for (const kind of ['full-cone', 'port-restricted', 'symmetric', 'linux', 'adm-apdf', 'apdm-apdf-sequential']) {
    it(`a NAT of kind ${kind} that is rebound forgets its mappings and gives another one`, async () => {
      lab.become('a', kind)
      await a.ask({ do: 'open', name: `rebound ${kind}`, local: lab.address('a') })
      const ask = async () => (await a.ask({ do: 'ask', name: `rebound ${kind}`, server })).mapped
      const first = await ask()
      if (REAL_NATS[kind].mapping === 'endpoint-independent') assert.equal(await ask(), first)
      lab.rebind('a')
      const second = await ask()
      assert.notEqual(second, first)
      assert.equal(await ask(), second)
    })
  }

  it('what was let in by a mapping is not, once the NAT is rebound', async () => {
    lab.become('a', 'full-cone')
    await a.ask({ do: 'open', name: 'x', local: lab.address('a') })
    await hub.ask({ do: 'open', name: 'stranger', local: lab.hub[1] })
    const tell = async (to, words) => {
      await hub.ask({ do: 'tell', name: 'stranger', to, words })
      await a.ask({ do: 'ask', name: 'x', server })
      return (await a.ask({ do: 'heard', name: 'x' })).heard.map(({ words }) => words)
    }
    const { mapped } = await a.ask({ do: 'ask', name: 'x', server })
    assert.deepEqual(await tell(mapped, 'before'), ['before'])
    lab.rebind('a')
    assert.deepEqual(await tell(mapped, 'after'), ['before'])
  })

  it('an uplink that is cut carries nothing, and another one of the same client does; restored, it has its mappings still', async () => {
    lab.become('a', 'port-restricted')
    await a.ask({ do: 'open', name: 'first', local: lab.address('a', 0) })
    await a.ask({ do: 'open', name: 'second', local: lab.address('a', 1) })
    const ask = async (name) => (await a.ask({ do: 'ask', name, server })).mapped
    const mapped = [await ask('first'), await ask('second')]
    assert.deepEqual(mapped.map((address) => address.split(':')[0]), [lab.outerAddress('a', 0), lab.outerAddress('a', 1)])
    lab.cut('a', 0)
    assert.equal(await ask('first'), null)
    assert.equal(await ask('second'), mapped[1])
    lab.restore('a', 0)
    assert.equal(await ask('first'), mapped[0])
  })

  it('a mapping that nothing refreshes lets strangers in for its life and not afterwards', async () => {
    lab.become('a', 'full-cone', { timeoutS: 1 })
    await a.ask({ do: 'open', name: 'brief', local: lab.address('a') })
    await a.ask({ do: 'open', name: 'watch', local: lab.address('a') })
    let calls = 0
    // The call is heard or not before the answer to the watch's question is.
    const isHeard = async (mapped) => {
      const words = `call ${++calls}`
      await hub.ask({ do: 'open', name: words, local: lab.hub[1] })
      await hub.ask({ do: 'tell', name: words, to: mapped, words })
      await a.ask({ do: 'ask', name: 'watch', server })
      return (await a.ask({ do: 'heard', name: 'brief' })).heard.some((one) => one.words === words)
    }
    const map = async () => (await a.ask({ do: 'ask', name: 'brief', server })).mapped
    // The first call may come too late on a slow machine; what is heard of later ones refreshes nothing.
    let mapped = await map()
    while (!await isHeard(mapped)) mapped = await map()
    while (await isHeard(mapped)) continue
  })

  it('a laboratory whose process is gone is taken down by the next one', async () => {
    const script = `import { RealLab } from ${JSON.stringify(new URL('../../dist/nat-lab.mjs', import.meta.url).href)}; await RealLab.open(); console.log(process.pid); process.kill(process.pid, 'SIGKILL')`
    const { stdout } = spawnSync(process.execPath, ['--input-type=module', '-e', script], { encoding: 'utf8' })
    const names = () => spawnSync('ip', ['netns', 'list'], { encoding: 'utf8' }).stdout
    assert.match(names(), new RegExp(`qbn${stdout.trim()}-1-core`))
    const next = await RealLab.open({ clients: {} })
    assert.doesNotMatch(names(), new RegExp(`qbn${stdout.trim()}-`))
    await next.close()
    assert.match(names(), new RegExp(`qbn${process.pid}-1-core`))
  })
})
