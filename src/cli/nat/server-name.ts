/** Names of STUN servers as people type them. */
import { withPort as named } from '../parse.ts'

const STUN_PORT = 3478

/** With the port of STUN if there is none. */
export function withPort(name: string): string {
  return named(name, STUN_PORT)
}
