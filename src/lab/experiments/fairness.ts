/** `lab fairness`: a connection with several paths and a connection with one share a bottleneck; who gets what (attacks F22). */
import type { Connection, ConnectionOptions, Endpoint } from '../../index.ts'
import type { Host, Identity, World } from '../../sim/index.ts'
import { defineExperiment } from '../experiment.ts'
import type { Experiment } from '../experiment.ts'
import { firstStream, PORT, taken } from './network.ts'
import { available } from './schedulers.ts'

type Congestion = NonNullable<ConnectionOptions['congestion']>

const CHUNK = new Uint8Array(65_536)
/** Of the time, before measuring begins. */
const WARM_UP = 0.2
const COUPLED: ReadonlySet<Congestion> = new Set<Congestion>(['lia', 'olia', 'balia'])

export type FairnessCell = { congestion: Congestion; paths: number; rateMbit: number; rttMs: number; seconds: number }
export type FairnessValues = { severalMbit: number; oneMbit: number; timesFair: number }

export function fairnessExperiment(): Experiment<FairnessCell, FairnessValues> {
  return defineExperiment<FairnessCell, FairnessValues>({
    name: 'fairness',
    axes: {
      congestion: ['cubic', 'newreno', 'bbr3', ...available('congestion.', ['lia', 'olia', 'balia'] as const)],
      paths: [1, 2, 3], rateMbit: [10, 50], rttMs: [20, 80], seconds: [60],
    },
    seeds: 10,
    quick: { axes: { paths: [1, 2], rateMbit: [10], rttMs: [20], seconds: [20] }, seeds: 3 },
    columns: { severalMbit: 'Mbit/s', oneMbit: 'Mbit/s', timesFair: '' },
    run: (cell, world) => world.run(() => measure(cell, world)),
  })
}

/** Hosts `several` and `one`, a link for each path, then a common bottleneck to the server. */
async function measure({ congestion, paths, rateMbit, rttMs, seconds }: FairnessCell, world: World): Promise<FairnessValues> {
  const [several, one, server] = [world.host('several'), world.host('one'), world.host('server')]
  const [near, far] = [world.router('near'), world.router('far')]
  for (let index = 0; index < paths; index++) world.link(several, near, { delayMs: 1, jitterMs: 1 })
  world.link(one, near, { delayMs: 1, jitterMs: 1 })
  world.link(near, far, { delayMs: rttMs / 2 - 1, rateBitsPerSec: rateMbit * 1e6 })
  world.link(far, server)
  const tls = world.identity('server')
  const atServer = await server.bind({ server: { ...tls, alpn: 'lab' } })
  const remote = `${server.addresses[0] ?? ''}:${PORT}`
  // One after the other, so that each server side is known.
  const first = await flow(several, atServer, remote, tls, congestion)
  const second = await flow(one, atServer, remote, tls, COUPLED.has(congestion) ? 'newreno' : congestion)
  const warm = seconds * WARM_UP * 1000
  await world.sleep(warm)
  const before = [first.bytes(), second.bytes()] as const
  await world.sleep(seconds * 1000 - warm)
  const span = (seconds * 1000 - warm) * 1000
  const severalMbit = ((first.bytes() - before[0]) * 8) / span
  const oneMbit = ((second.bytes() - before[1]) * 8) / span
  first.near.destroy()
  second.near.destroy()
  atServer.destroy()
  return { severalMbit, oneMbit, timesFair: severalMbit / ((severalMbit + oneMbit) / 2) }
}

interface Flow {
  near: Connection
  /** Received so far. */
  bytes(): number
}

/** A connection over all addresses of the host that sends as much as it may. */
async function flow(host: Host, atServer: Endpoint, remote: string, { ca }: Identity, congestion: Congestion): Promise<Flow> {
  const paths = host.addresses.map((local) => ({ local, remote }))
  const near = await (await host.bind()).connect(remote, { alpn: 'lab', ca, serverName: 'server', congestion, paths })
  const far = await taken(atServer)
  await near.paths.ready()
  pour(near).catch(() => undefined) // until it is destroyed
  const stream = await firstStream(far)
  let received = 0
  const drink = async (): Promise<void> => {
    for await (const chunks of stream) for (const chunk of chunks) received += chunk.length
  }
  drink().catch(() => undefined)
  return { near, bytes: () => received }
}

async function pour(near: Connection): Promise<never> {
  const stream = await near.openUnidirectional()
  for (;;) {
    stream.write(CHUNK)
    await stream.ready()
  }
}
