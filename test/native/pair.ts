/** Two endpoints of the sources over the native module and loopback, and what tests do with them. */
import { createSocket } from 'node:dgram'
import { createDevCertificate, Endpoint } from '../../src/index.ts'
import type { Connection, ConnectionOptions, EndpointOptions, ServerOptions } from '../../src/index.ts'

export interface NativePair {
  own: { cert: string; key: string }
  server: Endpoint
  client: Endpoint
  /** A connection of the client's, as both ends have it. */
  connect(more?: ConnectionOptions): Promise<{ near: Connection; far: Connection }>
}

let open: Endpoint[] = []

/** Closes the endpoints of a test; for `afterEach`. */
export async function closeAll(): Promise<void> {
  const endpoints = open
  open = []
  await Promise.all(endpoints.map((endpoint) => endpoint.close({ drainMs: 0 })))
}

export async function bound(options: EndpointOptions = {}): Promise<Endpoint> {
  const endpoint = await Endpoint.bind(options)
  open.push(endpoint)
  return endpoint
}

export async function nativePair(options: { server?: Partial<ServerOptions>; atServer?: EndpointOptions; atClient?: EndpointOptions } = {}): Promise<NativePair> {
  const own = identity(createDevCertificate())
  const server = await bound({ local: '127.0.0.1:0', ...options.atServer, server: { alpn: 'test', cert: own.cert, key: own.key, ...options.server } })
  const client = await bound(options.atClient)
  const incoming = server.incoming()
  return {
    own, server, client,
    connect: async (more = {}) => {
      const [near, far] = await Promise.all([client.connect(server.local[0] ?? '', { alpn: 'test', ca: own.cert, ...more }), incoming.next()])
      return { near, far: far.value as Connection }
    },
  }
}

/** A development certificate as options take it. */
export function identity({ cert, key }: { cert: string; key: string }): { cert: string; key: string } {
  return { cert, key }
}

/** Resolves with the first event of this type. */
export function eventOf(connection: Connection, type: string): Promise<unknown> {
  return new Promise((resolve, reject) => {
    connection.events$.subscribe({ next: (event) => { if (event.type === type) resolve(event) }, complete: () => reject(new Error(`ended without ${type}`)) })
  })
}

/** Everything that comes while `check` does not hold. */
export async function until(check: () => boolean, ms = 5000): Promise<void> {
  const end = performance.now() + ms
  while (!check()) {
    if (performance.now() > end) throw new Error(`did not happen within ${ms} ms`)
    await new Promise((resolve) => setTimeout(resolve, 2))
  }
}

/** A relay of one client's datagrams, `delayMs` late in each direction, whose server can be exchanged. `pass`: so many more datagrams of the client go through, the others wait for the next `pass`. `watch` sees each that comes. */
export async function relayTo(first: string, delayMs = 0, watch: (bytes: Buffer, from: 'client' | 'server') => void = () => {}): Promise<{ address: string; goTo(server: string): void; pass(count: number): void; close(): void }> {
  const socket = createSocket('udp4')
  let server = first
  let client = 0
  const later = (bytes: Buffer, to: number): void => void setTimeout(() => { if (!closed) socket.send(bytes, to, '127.0.0.1') }, delayMs)
  let closed = false
  let allowed = Infinity
  const held: Buffer[] = []
  socket.on('message', (bytes, { port }) => {
    const serverPort = Number(server.split(':')[1])
    if (port !== serverPort) client = port
    watch(bytes, port === serverPort ? 'server' : 'client')
    if (port === serverPort) return later(bytes, client)
    if (allowed === 0) held.push(bytes)
    else {
      allowed -= 1
      later(bytes, serverPort)
    }
    return undefined
  })
  await new Promise<void>((resolve) => socket.bind(0, '127.0.0.1', resolve))
  return {
    address: `127.0.0.1:${socket.address().port}`,
    goTo: (next) => { server = next },
    pass: (count) => {
      const through = held.splice(0, count)
      allowed = count - through.length
      for (const bytes of through) later(bytes, Number(server.split(':')[1]))
    },
    close: () => {
      closed = true
      socket.close()
    },
  }
}
