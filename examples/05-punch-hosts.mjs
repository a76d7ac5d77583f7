// 05-punch-hosts.mjs: the same between hosts: `relay IP SECOND-IP`, then `bob RELAY PIN`, then `alice BOB PIN RELAY PIN` with what those print
import { Endpoint, createDevCertificate } from 'quicbraid'
import { Relay, registerRelay } from 'quicbraid/traversal'
const [role, ...words] = process.argv.slice(2), { cert, key, pin } = createDevCertificate()
const through = (relay, relayPin) => ({ relays: [relay], relayTls: { pins: [relayPin] } })
const roles = {
  async relay(ip, second) {
    const relay = await Relay.listen({ listen: `${ip}:4434`, alternate: `${second}:4435`, tls: { cert, key }, authorize() {} })
    console.log('relay', relay.address, pin)
  },
  async bob(relay, relayPin) {
    const endpoint = await Endpoint.bind({ local: '0.0.0.0:0', server: { cert, key, alpn: 'chat', traversal: through(relay, relayPin) } })
    const { address } = await registerRelay(endpoint, relay, { tls: { pins: [relayPin] } })
    console.log('bob', address, pin)
  },
  async alice(bob, bobPin, relay, relayPin) {
    const endpoint = await Endpoint.bind({ local: '0.0.0.0:0' })
    const connection = await endpoint.connect(bob, { alpn: 'chat', pins: [bobPin], traversal: through(relay, relayPin) })
    console.log('relayed', [...connection.paths][0].relayed)
    const path = await connection.traversal.direct()
    console.log('direct', !path.relayed, path.facts.state)
    await endpoint.close()
  },
}
await roles[role](...words)
