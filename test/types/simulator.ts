/** Compiled, never run: the simulator's part of the public contract. A line that stops compiling is a broken promise. */
import { World } from '../../src/sim/index.ts'
import type { Attachable, Host, Link, LinkShape, LossModel, Nat, Port, SimEvent, WorldOptions } from '../../src/sim/index.ts'
import type { Clock, Endpoint, PathSpec } from '../../src/index.ts'

export async function pair(): Promise<string> {
  const { world, client, server, links, paths, tls } = World.pair([{ delayMs: 10, rateBitsPerSec: 20e6 }, { delayMs: 20 }], { seed: 7, limitMs: 1e5, record: true })
  const cut: readonly Link[] = links
  const specs: readonly PathSpec[] = paths
  world.at(500, () => cut[0]?.cut('a-to-b'))
  const received: number = await world.run(async (same) => {
    const far: Endpoint = await server.bind({ server: { ...tls, alpn: 'sink' } })
    const connection = await (await client.bind()).connect(far.local[0] ?? '', { alpn: 'sink', ca: tls.ca, serverName: 'server', paths: specs, handshake: 'race' })
    await same.sleep(5)
    const release: () => void = same.hold()
    release()
    return connection.paths.size
  })
  const clock: Clock = world.clock
  clock.clearTimeout(clock.setTimeout(() => received.toFixed(), world.nowMs + clock.now() + world.seed))
  world.events$.subscribe(({ atMs, link, from, to, bytes, fate, deliverAtMs }: SimEvent) => [atMs, link, from, to, bytes, fate, deliverAtMs])
  await world.exportPcap('run.pcapng')
  const files: string[] = await world.exportQlog('logs')
  await world.close()
  await using other = new World()
  return `${other.traceHash()} ${files.join()}`
}

export function topology(options: WorldOptions, shape: LinkShape, loss: LossModel): void {
  const world = new World(options)
  const host: Host & Attachable = world.host('a')
  const router: Attachable = world.router('internet')
  const nat: Nat = world.nat('nat', { mapping: 'address', filtering: 'address-port', ports: 'parity', hairpin: true, timeoutMs: 5, linux: true, blocked: false })
  const link: Link = world.link(host, nat.inside, { ...shape, loss, name: 'home', addressA: '10.0.0.1', addressB: '10.0.0.2' })
  world.link(nat.outside, router)
  const port: Port = link.a
  port.setUp(false)
  const address: string = port.renumber('10.0.0.3')
  link.set({ queue: { kind: 'codel' }, reorder: { probability: 0.1, byMs: 3 } }, 'b-to-a')
  link.restore()
  const { delivered, dropped, bytes } = link.statistics()
  nat.rebind()
  nat.set({})
  const { cert, key, ca } = world.identity('a', address)
  host.crash()
  void [link.up, link.name, port.node, port.address, delivered, dropped.loss + dropped.mtu, bytes, cert, key, ca, host.addresses[0], nat.mappings()[0]?.outside]
}
