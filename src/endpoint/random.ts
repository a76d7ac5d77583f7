/** Names of client connections in logs and qlog. They decide nothing on the wire. */
import { randomBytes } from 'node:crypto'

export function connectionId(): string {
  return randomBytes(8).toString('hex')
}
