// What our endpoint says of a NAT of the kernel is what the oracle says, whoever's servers answer (traversal V10).

import assert from 'node:assert/strict'
import { after, before, it } from 'node:test'
import { laboratory, oracle, REAL_NATS, RealLab, runCommand, startPeer } from './setup.mjs'

/** The six types of traversal §4, derived from RFC 4787's words. */
function kindOf({ blocked, mapping, filtering, afterContact }) {
  if (blocked) return 'blocked'
  if (mapping !== 'endpoint-independent') return 'symmetric'
  if (afterContact === 'changes') return 'dynamic'
  return { 'endpoint-independent': 'full-cone', address: 'restricted-cone', 'address-port': 'restricted-port' }[filtering]
}

const KINDS = Object.keys(REAL_NATS)

laboratory('NATs of the kernel as our endpoint sees them', () => {
  let lab, servers, wanted, reports

  /** One client with an uplink of every kind: all are asked about at once, since silence takes its time. */
  before(async () => {
    lab = await RealLab.open({ clients: { a: KINDS } })
    const hub = { oracle: oracle(lab, 'hub'), relay: startPeer(lab, 'hub') }
    const ours = startPeer(lab, 'a')
    const other = oracle(lab, 'a')
    const [first, second] = lab.hub
    await hub.oracle.ask({ do: 'serve', first: `${first}:3478`, second: `${second}:3479` })
    const { address } = await hub.relay.ask({ do: 'relay', ips: lab.hub })
    servers = { oracle: `${first}:3478`, relay: address }
    wanted = await Promise.all(KINDS.map((_, uplink) => other.ask({ do: 'classify', local: lab.address('a', uplink), server: servers.oracle })))
    const classify = (server, uplink) => ours.ask({ do: 'classify', local: lab.address('a', uplink), servers: [server] }).catch((error) => error)
    const of = async (name) => [name, await Promise.all(KINDS.map((_, uplink) => classify(servers[name], uplink)))]
    // Not both at once: how a NAT gives ports is told from those that it gives one after another.
    reports = Object.fromEntries([await of('oracle'), await of('relay')])
  })
  after(() => lab?.close())

  for (const [uplink, kind] of KINDS.entries()) {
    for (const server of ['oracle', 'relay']) {
      it(`${kind}, asked of ${server === 'oracle' ? "the oracle's server" : 'our relay'}`, () => {
        if (kind === 'blocked') return assert.match(reports[server][uplink].message, /QB_NAT_NO_SERVER/)
        const { mapping, filtering, ports, afterContact, natted } = wanted[uplink]
        const { report } = reports[server][uplink]
        const found = { kind: report.kind, mapping: report.mapping, filtering: report.filtering, ports: report.ports.allocation, afterContact: report.afterContact, natted: report.natted }
        assert.deepEqual(found, { kind: kindOf(wanted[uplink]), mapping, filtering, ports, afterContact, natted })
        return assert.equal(report.mapped.split(':')[0], lab.outerAddress('a', uplink))
      })
    }
  }

  it('the command says the same', async () => {
    const { code, json } = await runCommand(lab, 'a', ['nat', 'classify', servers.oracle, '--local', `${lab.address('a', KINDS.indexOf('linux'))}:0`, '--json'])
    assert.equal(code, 0)
    assert.deepEqual([json.ok, json.kind, json.mapping, json.afterContact], [true, 'dynamic', 'endpoint-independent', 'changes'])
  })
})
