/** What tests of the front share: targets of `node:http`, `open` by plain sockets, raw clients, identities. */
import { createServer, request } from 'node:http'
import type { IncomingMessage, RequestOptions, Server, ServerResponse } from 'node:http'
import { connect as http2Connect } from 'node:http2'
import type { ClientHttp2Session, OutgoingHttpHeaders } from 'node:http2'
import { connect as netConnect } from 'node:net'
import type { AddressInfo, Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { afterEach } from 'vitest'
import { HttpFront } from '../../src/reverse/front/index.ts'
import type { FrontOpen, FrontRequest, HttpFrontOptions } from '../../src/reverse/front/index.ts'

export const PATIENCE_MS = 8000
const undo: (() => unknown)[] = []

afterEach(async () => {
  for (const step of undo.splice(0).toReversed()) await step()
})

export function later(step: () => unknown): void {
  undo.push(step)
}

export interface Target {
  port: number
  server: Server
  sockets: Set<Socket>
}

/** A web server that is to be reached. */
export async function target(onRequest: (request: IncomingMessage, response: ServerResponse) => void): Promise<Target> {
  const server = createServer(onRequest)
  const sockets = new Set<Socket>()
  server.on('connection', (socket) => {
    sockets.add(socket)
    socket.once('close', () => sockets.delete(socket))
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  later(() => {
    server.closeAllConnections()
    server.close()
    for (const socket of sockets) socket.destroy()
  })
  return { port: (server.address() as AddressInfo).port, server, sockets }
}

/** Ways to 127.0.0.1 by plain TCP, as an `open` of a pool would give them. */
export class Ways {
  readonly live = new Set<Duplex>()
  opened = 0
  keys: string[] = []
  heads: string[] = []
  readonly #ports: Readonly<Record<string, number>>

  constructor(ports: Readonly<Record<string, number>>) {
    this.#ports = ports
  }

  open: FrontOpen = async (key, { head, signal }) => {
    signal.throwIfAborted()
    this.keys.push(key)
    this.heads.push(Buffer.from(head).toString('latin1'))
    const port = this.#ports[key]
    if (port === undefined) throw Object.assign(new Error('nobody'), { code: 'X' })
    const socket = netConnect({ port, host: '127.0.0.1', allowHalfOpen: true })
    await new Promise<void>((resolve, reject) => {
      socket.once('connect', resolve)
      socket.once('error', reject)
    })
    this.opened += 1
    this.live.add(socket)
    socket.once('close', () => this.live.delete(socket))
    socket.write(head)
    return socket
  }
}

export interface Bench {
  front: HttpFront
  ways: Ways
  seen: FrontRequest[]
  port: number
}

export function portOf(address: string | undefined): number {
  return Number(/\d+$/.exec(address ?? '')?.[0])
}

/** A front without TLS before one target, whose key is 'web'. */
export async function bench(port: number, options: Partial<HttpFrontOptions> = {}): Promise<Bench> {
  const ways = new Ways({ web: port })
  const { session, ...others } = options
  const front = await HttpFront.listen({ ...(session === undefined ? { open: ways.open } : { session }), http: '127.0.0.1:0', service: 'web', ...others })
  later(() => front.close())
  const seen: FrontRequest[] = []
  front.requests$.subscribe((request) => seen.push(request))
  return { front, ways, seen, port: portOf(front.http[0]) }
}

/** Sends bytes, collects what comes until the other side ends or `until` is in it. */
export function raw(port: number, bytes: string | Buffer, until?: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = netConnect({ port, host: '127.0.0.1' })
    let all = ''
    const done = (): void => {
      socket.destroy()
      resolve(all)
    }
    socket.on('data', (chunk: Buffer) => {
      all += chunk.toString('latin1')
      if (until !== undefined && all.includes(until)) done()
    })
    socket.once('end', done)
    socket.once('close', done)
    socket.once('error', (error) => (all === '' ? reject(error) : done()))
    socket.once('connect', () => socket.write(bytes))
  })
}

/** Waits until it is so. */
export async function settled(isSo: () => boolean, what = 'it'): Promise<void> {
  const end = Date.now() + PATIENCE_MS
  while (!isSo()) {
    if (Date.now() > end) throw new Error(`${what} did not come about`)
    await new Promise((resolve) => setTimeout(resolve, 5))
  }
}

export async function bodyOf(stream: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const chunks: Uint8Array[] = []
  for await (const chunk of stream) chunks.push(chunk)
  return Buffer.concat(chunks)
}

export interface Reply { status: number; headers: Record<string, unknown>; body: string; response: IncomingMessage }

export function ask(port: number, options: RequestOptions = {}, body?: string | Buffer): Promise<Reply> {
  return new Promise((resolve, reject) => {
    const asked = request({ port, host: '127.0.0.1', agent: false, ...options }, async (response) => {
      try {
        resolve({ status: response.statusCode ?? 0, headers: response.headers, body: (await bodyOf(response)).toString(), response })
      } catch (error) {
        reject(error)
      }
    })
    asked.once('error', reject)
    asked.end(body)
  })
}

export function session(port: number, url = `http://127.0.0.1:${port}`, options = {}): ClientHttp2Session {
  const made = http2Connect(url, options)
  made.on('error', () => {})
  later(() => made.destroy())
  return made
}

export async function ask2(client: ClientHttp2Session, headers: OutgoingHttpHeaders, body?: string | Buffer): Promise<{ status: number; headers: Record<string, unknown>; body: string; trailers: Record<string, unknown> }> {
  const stream = client.request(headers, { endStream: body === undefined })
  let trailers: Record<string, unknown> = {}
  stream.on('trailers', (fields) => {
    trailers = fields
  })
  const answered = new Promise<Record<string, unknown>>((resolve, reject) => {
    stream.once('response', resolve)
    stream.once('error', reject)
  })
  if (body !== undefined) stream.end(body)
  const fields = await answered
  const text = (await bodyOf(stream)).toString()
  return { status: Number(fields[':status']), headers: fields, body: text, trailers }
}
