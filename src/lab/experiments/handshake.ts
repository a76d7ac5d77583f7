/**
 * `lab handshake`: how long a connection takes to stand and to answer, by mode of the handshake, over lossy paths of which the first may go
 * dark at an instant of the handshake (multipath.md N).
 */
import type { Connection, HandshakeMode, ServerOptions } from '../../index.ts'
import type { LinkShape, World } from '../../sim/index.ts'
import { defineExperiment } from '../experiment.ts'
import type { Experiment } from '../experiment.ts'
import { CERTIFICATES, identityOf } from './certificates.ts'
import type { Certificate } from './certificates.ts'
import { dial, pairIn } from './network.ts'
import type { Pair } from './network.ts'
import { available } from './schedulers.ts'

/** Of the first path. */
const RTT_MS = 20
const RATE = 20e6
/** What a person gives up at; percentiles of lossy cells need the slow ones too. */
const LIMIT_MS = 60_000
const REQUEST = new TextEncoder().encode('how are you?')

export type HandshakeCell = { mode: HandshakeMode; loss: number; darkRtt: 'never' | number; rttRatio: number; paths: number; retry: boolean; early: boolean; certificate: Certificate }
export type HandshakeValues = { completeMs: number; answerMs: number; pathsMs: number | null; datagrams: number; firstWon: boolean; earlyAccepted: boolean }

export function handshakeExperiment(): Experiment<HandshakeCell, HandshakeValues> {
  return defineExperiment<HandshakeCell, HandshakeValues>({
    name: 'handshake',
    axes: {
      mode: ['single', 'stagger', ...available('handshake.', ['race', 'shared', 'independent'] as const)],
      loss: [0, 1, 5, 10, 20, 30],
      // In RTTs of the first path: before the first datagram; on the way of the answer; of what follows it; of what follows a Retry's answer.
      darkRtt: ['never', 0, 0.4, 0.9, 1.9],
      rttRatio: [0.5, 1, 4],
      paths: [2, 3, 4],
      retry: [false, true],
      early: [false, true],
      certificate: CERTIFICATES,
    },
    quick: { axes: { loss: [0, 5, 20], darkRtt: ['never', 0], rttRatio: [1, 4], paths: [2], retry: [false], early: [false], certificate: ['ecdsa', 'large'] }, seeds: 10 },
    columns: { completeMs: 'ms', answerMs: 'ms', pathsMs: 'ms', datagrams: '', firstWon: 'share', earlyAccepted: 'share' },
    run: (cell, world) => world.run(() => measure(cell, world)),
  })
}

async function measure(cell: HandshakeCell, world: World): Promise<HandshakeValues> {
  const clean = shapes(cell, 0)
  const pair = pairIn(world, clean, (from) => identityOf(from, cell.certificate))
  const server: ServerOptions = { ...pair.tls, alpn: 'lab', retry: cell.retry ? 'always' : 'never', ...(cell.early ? { earlyData: true } : {}) }
  const atServer = await pair.server.bind({ server })
  const serving = serve(atServer.incoming())
  const atClient = await pair.client.bind()
  const options = { handshake: cell.mode, limits: { handshakeTimeoutMs: LIMIT_MS, idleTimeoutMs: LIMIT_MS }, ...(cell.early ? { earlyData: true } : {}) }
  if (cell.early) await leaveTicket(await dial(atClient, pair, options), world)
  for (const [index, shape] of shapes(cell, cell.loss / 100).entries()) pair.links[index]?.set(shape)
  const start = world.nowMs
  darken(cell, pair, world, start)
  const near = await dial(atClient, pair, options)
  const answer = ask(near)
  const handshake = await near.opened
  const completeMs = world.nowMs - start
  await answer
  const answerMs = world.nowMs - start
  const pathsMs = await usable(near, cell, world, start)
  const values = { completeMs, answerMs, pathsMs, datagrams: handshake.datagramsSent + handshake.datagramsReceived, firstWon: handshake.winner.remote === pair.paths[0]?.remote, earlyAccepted: near.early === 'accepted' }
  near.destroy()
  atServer.destroy()
  await serving
  return values
}

/** The first path has `RTT_MS`, the others so many times that. */
function shapes({ paths, rttRatio }: HandshakeCell, loss: number): LinkShape[] {
  return Array.from({ length: paths }, (_, index) => ({ delayMs: (index === 0 ? RTT_MS : RTT_MS * rttRatio) / 2, rateBitsPerSec: RATE, loss }))
}

function darken({ darkRtt }: HandshakeCell, { links }: Pair, world: World, start: number): void {
  if (typeof darkRtt !== 'number') return
  if (darkRtt === 0) links[0]?.cut()
  else world.at(start + darkRtt * RTT_MS, () => links[0]?.cut())
}

/** A request with a short answer; resolves with the answer. */
async function ask(near: Connection): Promise<void> {
  const stream = await near.openBidirectional()
  stream.write(REQUEST)
  stream.end()
  await stream.bytes()
}

/** Answers every request of every connection until the server ends. */
async function serve(incoming: AsyncIterable<Connection>): Promise<void> {
  const all: Promise<void>[] = []
  for await (const connection of incoming) all.push(answerAll(connection))
  await Promise.all(all)
}

async function answerAll(connection: Connection): Promise<void> {
  try {
    for await (const stream of connection.incomingBidirectional()) {
      stream.write(await stream.bytes())
      stream.end()
    }
  } catch {
    // A connection of the experiment ends without ceremony.
  }
}

/** A first connection on clean paths, for its ticket. */
async function leaveTicket(connection: Connection, world: World): Promise<void> {
  await connection.opened
  await ask(connection)
  await world.sleep(10 * RTT_MS)
  await connection.close()
}

/** When every path that can be used is; null: not within 5 s. */
async function usable(near: Connection, { paths, darkRtt }: HandshakeCell, world: World, start: number): Promise<number | null> {
  try {
    await near.paths.ready({ count: darkRtt === 'never' ? paths : paths - 1 })
    return world.nowMs - start
  } catch {
    return null
  }
}
