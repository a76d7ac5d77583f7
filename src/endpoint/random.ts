/** Names that are drawn: of client connections in logs and qlog, and of an endpoint's tickets. They decide nothing on the wire. */
import type { Habitat } from './habitat.ts'

export function connectionId({ random }: Habitat): string {
  return Buffer.from(random(8)).toString('hex')
}

/** Tells the tickets of one endpoint from those of others. */
export function randomRealm({ random }: Habitat): Uint8Array {
  return random(16)
}
