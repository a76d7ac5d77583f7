/**
 * The world of one run of `nat`: a relay with two addresses, two hosts, each behind its NAT. Delays come from the seed, so that the two ends are ready at
 * other instants in every run.
 *
 * ```text
 *   relay ══ internet ── NAT a ── host a        host a dials
 *                   └─── NAT b ── host b
 * ```
 */
import type { Attachable, Host, Identity, World } from '../../sim/index.ts'
import { randomOf } from './grid.ts'
import { natOptions } from './nat-kinds.ts'
import type { MatrixNat } from './nat-kinds.ts'

export interface NatNetwork {
  relay: Host
  a: Host
  b: Host
  /** Of the relay's name and addresses, and of the name `b`. */
  relayTls: Identity
  tls: Identity
  /** Round trips between the hosts, over the relay and without it, ms. */
  relayRttMs: number
  directRttMs: number
  /** Where b can be dialled without a relay; null: its NAT is in the way, or that is not asked for. */
  dialable: string | null
}

/** Of endpoints that name none. */
const PORT = 4433
/** One way, ms, from and to. */
const RELAY_MS = [5, 20] as const
const HOST_MS = [8, 30] as const

/** Addresses that count as global: those that worlds give by themselves are none outside of them, and are not punched towards. */
function globalAddresses(link: number): { addressA: string; addressB: string } {
  return { addressA: `11.0.${link}.1`, addressB: `11.0.${link}.2` }
}

/** `loss`: percent, over the whole way between two hosts. */
export function natNetwork(world: World, kinds: readonly [MatrixNat, MatrixNat], loss: number): NatNetwork {
  const random = randomOf(world.seed)
  const drawn = ([from, to]: readonly [number, number]): number => from + (to - from) * random()
  const internet = world.router('internet')
  const relay = world.host('relay')
  const delayMs = drawn(RELAY_MS)
  for (const index of [1, 2]) world.link(relay, internet, { name: `relay ${index}`, delayMs, ...globalAddresses(index) })
  const delays = [drawn(HOST_MS), drawn(HOST_MS)] as const
  const [a, b] = (['a', 'b'] as const).map((name, index) => {
    const host = world.host(name)
    const options = natOptions(kinds[index] as MatrixNat)
    let edge: Attachable = host
    if (options !== null) {
      const nat = world.nat(`nat ${name}`, options)
      world.link(host, nat.inside, { name: `${name} inside` })
      edge = nat.outside
    }
    world.link(edge, internet, { name, delayMs: delays[index] ?? 0, loss: 1 - Math.sqrt(1 - loss / 100), ...globalAddresses(3 + index) })
    return host
  }) as [Host, Host]
  const directRttMs = 2 * (delays[0] + delays[1])
  return {
    relay, a, b, relayTls: world.identity('relay', ...relay.addresses), tls: world.identity('b'), directRttMs, relayRttMs: directRttMs + 4 * delayMs,
    // One pair of kinds is enough to know what a relay adds.
    dialable: kinds[0] === 'none' && kinds[1] === 'none' ? `${b.addresses[0] ?? ''}:${PORT}` : null,
  }
}
