/** Which addresses of this machine the two paths can use: not every system has 127.0.0.2, not every one has IPv6. */
import { createSocket } from 'node:dgram'

export interface DemoNetwork {
  /** What the server binds. */
  server: string[]
  /** Of each path: our IP, the relay's address before the server (port 0), and which of the server's addresses it leads to. */
  paths: { local: string; relay: string; server: number }[]
}

const FIRST = { local: '127.0.0.1', relay: '127.0.0.1:0', server: 0 }

/** Two loopback addresses that differ if there are two, else two ports of one. */
export async function chooseNetwork(): Promise<DemoNetwork> {
  if (await canBind('127.0.0.2')) return { server: ['127.0.0.1:0'], paths: [FIRST, { local: '127.0.0.2', relay: '127.0.0.2:0', server: 0 }] }
  if (await canBind('::1')) return { server: ['127.0.0.1:0', '[::1]:0'], paths: [FIRST, { local: '::1', relay: '[::1]:0', server: 1 }] }
  return { server: ['127.0.0.1:0'], paths: [FIRST, FIRST] }
}

function canBind(address: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = createSocket(address.includes(':') ? 'udp6' : 'udp4')
    socket.once('error', () => {
      socket.close()
      resolve(false)
    })
    socket.bind(0, address, () => socket.close(() => resolve(true)))
  })
}
