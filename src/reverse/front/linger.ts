/** The end of connections: a session of HTTP/2 that is over has ended its side, and waits for the other end to do the same; this waits no longer than it must. */
import type { Socket } from 'node:net'
import { REAL_TIME } from '../../config/index.ts'

const LINGER_MS = 2000

/** Once this side of `socket` has ended, the other end has so long to end its own. Not for connections of which one direction may outlive the other. */
export function endsInTime(socket: Socket): void {
  socket.once('finish', () => void socket.once('close', REAL_TIME.after(LINGER_MS, () => void socket.destroy())))
}
