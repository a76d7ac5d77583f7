/** Servers, clients and sockets of the façade over loopback, and their end after each test. */
import { createSocket } from 'node:dgram'
import { networkInterfaces } from 'node:os'
import { QUICClient, QUICServer, QUICSocket, events } from '../../src/js-quic/index.ts'
import type { QUICClientOptions, QUICConnection, QUICServerOptions, QUICStream, SocketAddressOptions } from '../../src/js-quic/index.ts'
import { identityOf } from '../tls/certificates.ts'

/** For tests with handshakes on a machine that has other work. */
export const PATIENCE = { timeout: 60_000 } as const
export const HAS_IPV6 = Object.values(networkInterfaces()).some((list) => list?.some(({ address }) => address === '::1') === true)

const cleanup: (() => Promise<void>)[] = []

/** For `afterEach`: the latest first. */
export async function closeAll(): Promise<void> {
  for (let end = cleanup.pop(); end !== undefined; end = cleanup.pop()) await end()
}

export async function startedSocket(options: SocketAddressOptions = { host: '127.0.0.1' }): Promise<QUICSocket> {
  const socket = new QUICSocket()
  await socket.start(options)
  cleanup.push(() => socket.stop({ force: true }))
  return socket
}

export interface ServerCase extends Partial<Omit<QUICServerOptions, 'config'>> { config?: Partial<QUICServerOptions['config']>; address?: SocketAddressOptions }

/** js-quic's crypto parameter: taken, and never called. */
export const CRYPTO = {
  key: new ArrayBuffer(32),
  ops: {
    sign: (): Promise<ArrayBuffer> => Promise.reject(new Error('not needed')),
    verify: (): Promise<boolean> => Promise.reject(new Error('not needed')),
    randomBytes: (): Promise<void> => Promise.reject(new Error('not needed')),
  },
}

export async function startedServer({ config, address = { host: '127.0.0.1' }, ...more }: ServerCase = {}): Promise<QUICServer> {
  const { key, cert } = identityOf('ECDSA')
  const server = new QUICServer({ crypto: CRYPTO, config: { key, cert, ...config }, ...more })
  await server.start(address)
  cleanup.push(() => server.stop())
  return server
}

export async function createdClient(server: { host: string; port: number }, { config, ...more }: Partial<QUICClientOptions> = {}): Promise<QUICClient> {
  const client = await QUICClient.createQUICClient({ host: server.host, port: server.port, ...(more.socket === undefined ? { localHost: '127.0.0.1' } : {}), crypto: CRYPTO, config: { verifyPeer: false, ...config }, ...more })
  cleanup.push(() => client.destroy())
  return client
}

export interface Both { server: QUICServer; client: QUICClient; near: QUICConnection; far: QUICConnection }

/** A connection as both ends have it. */
export async function connected({ atServer = {}, atClient = {} }: { atServer?: ServerCase; atClient?: Partial<QUICClientOptions> } = {}): Promise<Both> {
  const server = await startedServer(atServer)
  const arrives = nextConnection(server)
  const client = await createdClient(server, atClient)
  return { server, client, near: client.connection, far: await arrives }
}

export async function nextConnection(server: QUICServer): Promise<QUICConnection> {
  return (await next<events.EventQUICServerConnection>(server, events.EventQUICServerConnection.name)).detail
}

export async function nextStream(connection: QUICConnection): Promise<QUICStream> {
  return (await next<events.EventQUICConnectionStream>(connection, events.EventQUICConnectionStream.name)).detail
}

/** The next event of this name. */
export function next<E extends Event>(target: EventTarget, name: string): Promise<E> {
  return new Promise((resolve) => { target.addEventListener(name, (event) => resolve(event as E), { once: true }) })
}

/** Names of events as they are dispatched. */
export function recorded(target: EventTarget, names: readonly string[]): string[] {
  const seen: string[] = []
  for (const name of names) target.addEventListener(name, () => seen.push(name))
  return seen
}

/** Sends back what comes, on every stream; answers how many have ended, with or without error. */
export function echoing(connection: QUICConnection): { opened: number; ended: number } {
  const count = { opened: 0, ended: 0 }
  connection.addEventListener(events.EventQUICConnectionStream.name, ({ detail }: events.EventQUICConnectionStream) => {
    count.opened += 1
    void detail.readable.pipeTo(detail.writable).catch(() => {}).finally(() => { count.ended += 1 })
  })
  return count
}

export async function textOf(stream: QUICStream): Promise<string> {
  const chunks: Uint8Array[] = []
  for await (const chunk of stream.readable) chunks.push(chunk)
  return Buffer.concat(chunks).toString()
}

export async function written(stream: QUICStream, text: string): Promise<void> {
  const writer = stream.writable.getWriter()
  await writer.write(Buffer.from(text))
  writer.releaseLock()
}

export async function until(check: () => boolean, ms = 30_000): Promise<void> {
  const end = performance.now() + ms
  while (!check()) {
    if (performance.now() > end) throw new Error(`did not happen within ${ms} ms`)
    await sleep(2)
  }
}

export function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => { setTimeout(resolve, ms) })
}

/** A port of loopback where nobody answers. */
export async function silentPort(): Promise<number> {
  const socket = createSocket('udp4')
  await new Promise<void>((resolve) => { socket.bind(0, '127.0.0.1', resolve) })
  cleanup.push(() => new Promise((resolve) => { socket.close(resolve) }))
  return socket.address().port
}
