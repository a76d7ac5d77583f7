/** The TCP side of tunnels as they use it: `node:net`, or what a test puts in its place. Half-open always: an end of one direction is no end of the other (tunnel.md §6). */
import { Socket, connect, createServer } from 'node:net'
import type { AddressInfo } from 'node:net'
import { Duplex } from 'node:stream'
import { REAL_TIME, formatAddress, invalidOption } from '../config/index.ts'
import { EndpointError } from '../errors/index.ts'
import { handleOf, plainHandleOf } from './handle.ts'

/** What a tunnel uses of a socket. */
export interface TcpSocket extends Duplex {
  /** RST instead of FIN. */
  resetAndDestroy(): unknown
  setNoDelay?(noDelay: boolean): unknown
}

export interface TcpListener {
  /** Really bound. */
  readonly local: string
  /** Nobody comes any more; those who have come stay. */
  close(): void
}

export interface Tcp {
  /** @throws QB_BIND_FAILED */
  listen(address: { host: string; port: number }, onSocket: (socket: TcpSocket) => void): Promise<TcpListener>
  /** `onEnd` runs once: connected, or failed with the error. */
  dial(address: { host: string; port: number }, onEnd: (error: Error | null) => void): TcpSocket
}

export const NODE_TCP: Tcp = {
  listen: ({ host, port }, onSocket) => new Promise((resolve, reject) => {
    const server = createServer({ allowHalfOpen: true, noDelay: true }, onSocket)
    server.once('error', (error: NodeJS.ErrnoException) => {
      reject(new EndpointError('QB_BIND_FAILED', `${formatAddress({ host, port, family: host.includes(':') ? 6 : 4 })} cannot be bound for TCP: ${error.code ?? error.message}; choose another address or port`, { cause: error }))
    })
    server.listen({ host, port }, () => {
      // What goes wrong with a single accept (no file left, say) ends nothing.
      server.on('error', () => {})
      const address = server.address() as AddressInfo
      resolve({ local: formatAddress({ host: address.address, port: address.port, family: address.family === 'IPv6' ? 6 : 4 }), close: () => void server.close() })
    })
  }),
  dial: ({ host, port }, onEnd) => {
    const socket = connect({ host, port, allowHalfOpen: true, noDelay: true })
    const onError = (error: Error): void => {
      socket.off('connect', onConnect)
      onEnd(error)
    }
    const onConnect = (): void => {
      socket.off('error', onError)
      onEnd(null)
    }
    socket.once('connect', onConnect)
    socket.once('error', onError)
    return socket
  },
}

/** Who is at the other end; null: not known. */
export function peerOf(socket: Duplex): string | null {
  const { remoteAddress: host, remotePort: port = 0 } = socket as Partial<Socket>
  return host === undefined ? null : formatAddress({ host, port, family: host.includes(':') ? 6 : 4 })
}

/** A socket of the user's: half-open from now on, whatever it was made for; what has no RST is destroyed instead. */
export function tcpSocketOf(socket: Duplex): TcpSocket {
  if (!(socket instanceof Duplex)) throw invalidOption('socket', socket, 'a net.Socket or another Duplex')
  socket.allowHalfOpen = true
  const given = socket as TcpSocket
  return typeof given.resetAndDestroy === 'function' ? given : Object.assign(socket, { resetAndDestroy: () => socket.destroy() })
}

/**
 * Whether what the socket told as its peer's end was a RST: libuv takes one for an end that comes in one poll with the last bytes, but such a connection has no
 * peer any more. Only while our own side has not ended: then it may have none in all order.
 */
export function wasReset(socket: TcpSocket): boolean {
  const handle = plainHandleOf(socket)
  return typeof handle?.getpeername === 'function' && handle.getpeername({}) !== 0
}

/**
 * RST at once, and nothing of it is told any more. `resetAndDestroy` alone would not do: it ends the socket first, so that a FIN goes out before
 * the RST, and what was cut short looks complete (T43). The flag is what it sets itself. What has no RST (of the Unix kind, of TLS) is destroyed.
 */
export function cutSocket(socket: TcpSocket): void {
  socket.on('error', () => {})
  if (socket.destroyed) return
  if (!(socket instanceof Socket)) socket.resetAndDestroy()
  else if (typeof handleOf(socket)?.reset !== 'function') socket.destroy()
  // libuv refuses while a FIN is about to go, and Node then lets go of the file without closing it. It goes within this turn.
  else if (socket.writableEnded && !socket.writableFinished) REAL_TIME.soon(() => reset(socket))
  else reset(socket)
}

function reset(socket: Socket): void {
  const handle = handleOf(socket)
  socket.prependListener('error', ({ syscall }: NodeJS.ErrnoException) => {
    if (syscall === 'reset') handle?.close?.()
  })
  Object.assign(socket, { resetAndClosing: true }).destroy()
}
