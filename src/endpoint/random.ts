/** Names that are drawn: of client connections in logs and qlog, and of an endpoint's tickets. They decide nothing on the wire. */
import { randomBytes } from 'node:crypto'

export function connectionId(): string {
  return randomBytes(8).toString('hex')
}

/** Tells the tickets of one endpoint from those of others. */
export function randomRealm(): Uint8Array {
  return randomBytes(16)
}
