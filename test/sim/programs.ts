/** Programs of simulated worlds that several tests run. */
import type { Connection, ConnectionOptions, Endpoint, ServerOptions } from '../../src/index.ts'
import { World } from '../../src/sim/index.ts'
import type { LinkShape, WorldOptions, WorldPair } from '../../src/sim/index.ts'

export interface Connected extends WorldPair {
  near: Connection
  far: Connection
  atClient: Endpoint
  atServer: Endpoint
}

/** Runs `main` with a connection over all links of a pair. */
export function connected<T>(links: readonly LinkShape[], main: (pair: Connected) => Promise<T>, options: WorldOptions = {}, more: ConnectionOptions = {}): Promise<T> {
  return withPair(World.pair(links, options), main, more)
}

/** The same in a given pair. */
export function withPair<T>(pair: WorldPair, main: (pair: Connected) => Promise<T>, more: ConnectionOptions = {}, serving: Partial<ServerOptions> = {}): Promise<T> {
  const { world, client, server, paths, tls } = pair
  return world.run(async () => {
    const atServer = await server.bind({ server: { ...tls, alpn: 'sink', ...serving } })
    const atClient = await client.bind()
    const incoming = atServer.incoming()
    const near = await atClient.connect(atServer.local[0] ?? '', { alpn: 'sink', ca: tls.ca, serverName: 'server', paths, ...more })
    const far = (await incoming.next()).value as Connection
    return main({ ...pair, near, far, atClient, atServer })
  })
}

/** Sends so many bytes and answers how many arrived. */
export async function transfer(near: Connection, far: Connection, bytes: number, piece = 65_536): Promise<number> {
  const stream = await near.openUnidirectional()
  const reading = far.incomingUnidirectional().next().then(({ value }) => value?.bytes())
  for (let left = bytes; left > 0; await stream.ready()) left -= stream.write(new Uint8Array(Math.min(piece, left)))
  stream.end()
  return (await reading)?.length ?? 0
}
