// 05-punch.mjs: two peers behind NATs start on a relay and move to a direct path; no byte is lost
import { World } from 'quicbraid/sim'
import { Relay, registerRelay } from 'quicbraid/traversal'
const world = new World({ seed: 3 }), net = world.router('internet'), relayHost = world.host('relay')
world.link(relayHost, net, { delayMs: 15 })
const [alice, bob] = ['alice', 'bob'].map((name) => {
  const host = world.host(name), nat = world.nat(`${name}-nat`, { mapping: 'endpoint-independent', filtering: 'address-port' })
  world.link(host, nat.inside)
  world.link(nat.outside, net, { delayMs: 20 })
  return host
})
const id = world.identity('bob'), tls = world.identity('relay', ...relayHost.addresses)
await world.run(async () => {
  const relay = await Relay.listen({ tls, authorize() {} }, await relayHost.bind())
  const traversal = { relays: [relay.address], relayTls: { ca: tls.ca } }
  const server = await bob.bind({ server: { ...id, alpn: 'chat', traversal } })
  const { address } = await registerRelay(server, relay.address, { tls: traversal.relayTls })
  const connection = await (await alice.bind()).connect(address, { alpn: 'chat', ca: id.ca, serverName: 'bob', traversal })
  console.log('relayed', [...connection.paths][0].relayed)
  const path = await connection.traversal.direct()
  console.log('direct', !path.relayed, path.facts.state)
})
