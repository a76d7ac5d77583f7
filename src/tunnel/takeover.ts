/** A TCP socket of Node's whose connection somebody else takes over: its descriptor, what it has read already, and the way back. Decides nothing about when. */
import { handleOf, plainHandleOf } from './handle.ts'
import type { TcpSocket } from './tcp.ts'

/** Null: it has no plain handle, or bytes written to it still wait in this process. */
export function descriptorOf(socket: TcpSocket): number | null {
  if (socket.destroyed || socket.writableLength > 0 || socket.writableEnded) return null
  const handle = plainHandleOf(socket)
  return typeof handle?.fd === 'number' && handle.fd >= 0 && typeof handle.readStop === 'function' ? handle.fd : null
}

/** All that the socket has read and nobody took; it reads no more. */
export function drainSocket(socket: TcpSocket): Buffer[] {
  const pieces: Buffer[] = []
  setReading(socket, false)
  for (let piece = socket.read() as Buffer | null; piece !== null; piece = socket.read() as Buffer | null) pieces.push(piece)
  // Reading from the buffer makes the socket want more.
  setReading(socket, false)
  return pieces
}

/** Takes a drained socket back: it has `pieces` and reads on. */
export function refillSocket(socket: TcpSocket, pieces: readonly Buffer[]): void {
  // It waits for what its handle reads, as it did when that was stopped.
  if (!socket.readableEnded) setReading(socket, true)
  if (pieces.length > 0) socket.unshift(Buffer.concat(pieces))
}

function setReading(socket: TcpSocket, reading: boolean): void {
  const handle = handleOf(socket)
  if (handle === null) return
  handle.reading = reading
  if (reading) handle.readStart?.()
  else handle.readStop?.()
}
