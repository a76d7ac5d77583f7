/** The UDP side of tunnels as they use it: `node:dgram`, or what a test puts in its place. Whose datagrams these are is not its concern. */
import { createSocket } from 'node:dgram'
import type { Socket } from 'node:dgram'
import { formatAddress } from '../config/index.ts'
import { EndpointError } from '../errors/index.ts'

/** Datagrams that may wait in a socket for the kernel. */
const MAX_QUEUED = 64

export interface UdpPeer {
  readonly host: string
  readonly port: number
}

export interface UdpSocket {
  /** Really bound. */
  readonly local: string
  /** The bytes stay as they are until they have left. `to`: null for a connected one. False: there is no room, and they are dropped. */
  send(bytes: Uint8Array, to: UdpPeer | null): boolean
  /** Nothing is told any more. */
  close(): void
}

export interface UdpEvents {
  onMessage(bytes: Uint8Array, from: UdpPeer): void
  /** What was sent is larger than the network takes: only that is lost. */
  onTooLarge(): void
  /** Of a connected one: nobody is there. Of another: it is of no use any more. */
  onError(error: Error): void
}

export interface Udp {
  /** @throws QB_BIND_FAILED */
  bind(address: UdpPeer, events: UdpEvents): Promise<UdpSocket>
  /** Connected: only that peer's datagrams come. @throws what the system says */
  dial(address: UdpPeer, events: UdpEvents): Promise<UdpSocket>
}

export const NODE_UDP: Udp = {
  bind: async ({ host, port }, events) => {
    const socket = socketFor(host)
    try {
      await ready(socket, (done) => socket.bind({ address: host, port, exclusive: true }, done))
    } catch (error) {
      const { code, message } = error as NodeJS.ErrnoException
      throw new EndpointError('QB_BIND_FAILED', `${formatAddress({ host, port, family: familyOf(host) })} cannot be bound for UDP: ${code ?? message}; choose another address or port`, { cause: error })
    }
    return join(socket, events)
  },
  dial: async ({ host, port }, events) => {
    const socket = socketFor(host)
    await ready(socket, (done) => socket.connect(port, host, done))
    return join(socket, events)
  },
}

function socketFor(host: string): Socket {
  return createSocket({ type: familyOf(host) === 6 ? 'udp6' : 'udp4' })
}

function familyOf(host: string): 4 | 6 {
  return host.includes(':') ? 6 : 4
}

/** Closes the socket where it fails. */
async function ready(socket: Socket, begin: (done: (error?: Error | null) => void) => void): Promise<void> {
  try {
    await new Promise<void>((resolve, reject) => {
      socket.once('error', reject)
      begin((error) => {
        socket.off('error', reject)
        if (error === undefined || error === null) resolve()
        else reject(error)
      })
    })
  } catch (error) {
    socket.on('error', () => {})
    socket.close()
    throw error
  }
}

function join(socket: Socket, events: UdpEvents): UdpSocket {
  let closed = false
  const onError = (error: Error): void => {
    if (!closed) events.onError(error)
  }
  /** One for all, since a datagram should cost nothing but itself. */
  const onSent = (error: Error | null): void => {
    if (error === null || closed) return
    if ((error as NodeJS.ErrnoException).code === 'EMSGSIZE') events.onTooLarge()
    else onError(error)
  }
  socket.on('error', onError).on('message', (bytes, { address, port }) => {
    if (!closed) events.onMessage(bytes, { host: address, port })
  })
  const { address, port } = socket.address()
  return {
    local: formatAddress({ host: address, port, family: familyOf(address) }),
    send: (bytes, to) => {
      if (closed || socket.getSendQueueCount() >= MAX_QUEUED) return false
      if (to === null) socket.send(bytes, onSent)
      // Of one that is not connected, what goes wrong with a datagram ends nothing.
      else socket.send(bytes, to.port, to.host, onSentTo)
      return true
    },
    close: () => {
      if (closed) return
      closed = true
      socket.close()
    },
  }
}

const onSentTo = (): void => {}
