/** What Node keeps of a socket beside its public API, as far as this room uses it. All of it may be missing. */
import { Socket } from 'node:net'
import type { Duplex } from 'node:stream'

export interface Handle {
  fd?: number
  reading?: boolean
  readStart?(): unknown
  readStop?(): unknown
  getpeername?(into: object): number
  reset?: unknown
  close?(): void
}

export function handleOf(socket: Duplex): Handle | null {
  return (socket as unknown as { _handle?: Handle | null })._handle ?? null
}

/** Null, too, for what is no socket of the system's, or more than one (of TLS it is, whose bytes are others than those on the wire). */
export function plainHandleOf(socket: Duplex): Handle | null {
  return Object.getPrototypeOf(socket) === Socket.prototype ? handleOf(socket) : null
}
