/** A relay and endpoints over the fake engine, whose STUN answers a test decides. */
import type { NativeOrder } from '../../src/binding/messages.ts'
import type { EndpointOptions } from '../../src/config/index.ts'
import { bindWith } from '../../src/endpoint/index.ts'
import type { Endpoint } from '../../src/endpoint/index.ts'
import { Relay } from '../../src/traversal/index.ts'
import type { RelayOptions } from '../../src/traversal/index.ts'
import { FakeClock } from '../fake/clock.ts'
import type { FakeEndpoint } from '../fake/endpoint.ts'
import type { FakeNetwork } from '../fake/network.ts'
import { newNetwork } from '../fake/pair.ts'

export const FEATURES = ['nat', 'traversal', 'maxConnections', 'clientAuth']
export const TLS = { cert: 'cert', key: 'key' }

export interface Bench {
  network: FakeNetwork
  clock: FakeClock
  /** An endpoint and the engine's side of it. */
  endpoint(options?: EndpointOptions): { endpoint: Endpoint; native: FakeEndpoint }
  relay(options?: Partial<RelayOptions>): Promise<{ relay: Relay; endpoint: Endpoint; native: FakeEndpoint }>
  done(): Promise<void>
}

export function bench(): Bench {
  const network = newNetwork(FEATURES)
  const clock = new FakeClock()
  const all: Endpoint[] = []
  const endpoint = (options: EndpointOptions = {}): { endpoint: Endpoint; native: FakeEndpoint } => {
    const made = bindWith(network.module, { local: '127.0.0.1:0', ...options }, { clock })
    all.push(made)
    return { endpoint: made, native: network.endpoints.at(-1) as FakeEndpoint }
  }
  return {
    network, clock, endpoint,
    relay: async (options = {}) => {
      const made = endpoint()
      made.native.onAsk = (_key, question) => (question.ask === 'nat-statistics' ? { stun: null, relay: { registrations: 1, forwardedDatagrams: 2, forwardedBytes: 3, drops: { not_registered: 1, silent: 2, own: 4, too_long: 5 } } } : null)
      const relay = await Relay.listen({ tls: TLS, authorize: () => {}, ...options }, made.endpoint)
      return { relay, ...made }
    },
    done: async () => {
      for (const one of all) one.destroy()
      await Promise.all(all.map(({ closed }) => closed))
    },
  }
}

/** STUN servers see every socket as `mapped`; silence where it is null. */
export function seenAs(native: FakeEndpoint, mapped: string | null): void {
  native.onOrder = (order) => {
    if (order.do !== 'nat-ask' && order.do !== 'nat-keep') return
    const { ticket, local, server } = order
    if (order.do === 'nat-keep') native.queue.event(0, { type: 'nat-mapping', atMs: 1, ticket, local, mapped })
    else if (mapped === null) native.queue.event(0, { type: 'nat-silence', atMs: 1, ticket, tries: 3 })
    else native.queue.event(0, { type: 'nat-answer', atMs: 1, ticket, local, mapped, from: server, rttMs: 1, tries: 1 })
  }
}

export function ordersOf<K extends NativeOrder['do']>(native: FakeEndpoint, what: K): Extract<NativeOrder, { do: K }>[] {
  return native.orders.filter((order) => order.do === what) as Extract<NativeOrder, { do: K }>[]
}
