/**
 * `--metrics`: what a running command can be asked over HTTP. Read only, on this machine unless another address is named, bounded in
 * connections, request sizes and times. It ends with the command and keeps no process alive.
 */
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { IncomingMessage, Server, ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Endpoint } from '../../index.ts'
import { CommandError, Exit } from '../exit.ts'
import { toJson } from '../json.ts'
import { hostOf, isLoopback } from './address.ts'
import type { MetricsAddress } from './address.ts'
import { EventStream } from './events.ts'
import { merged } from './merge.ts'

/** TCP connections at a time; readers of events are among them. */
const CONNECTIONS = 32
const HEADER_BYTES = 8192
const REQUEST_MS = 5000
const PAGES = '/metrics, /events, /healthz'

/** Tells its counters as Prometheus text. */
export interface Exposed {
  prometheus(): string
}

export class MetricsServer implements AsyncDisposable {
  readonly #server: Server
  readonly #reach: MetricsAddress['reach']
  #endpoint: Endpoint | null = null
  #events: EventStream | null = null
  readonly #more: Exposed[] = []

  private constructor(server: Server, reach: MetricsAddress['reach']) {
    this.#server = server
    this.#reach = reach
    server.on('request', (request, response) => this.#answer(request, response))
  }

  /** @throws CommandError (exit 2) if it cannot be bound */
  static async open({ host, port, reach }: MetricsAddress): Promise<MetricsServer> {
    const server = createServer({ maxHeaderSize: HEADER_BYTES, requestTimeout: REQUEST_MS, headersTimeout: REQUEST_MS, keepAliveTimeout: REQUEST_MS })
    server.maxConnections = CONNECTIONS
    server.unref()
    server.listen(port, host)
    try {
      await once(server, 'listening')
    } catch (error) {
      const { code = 'unknown' } = error as NodeJS.ErrnoException
      const why = code === 'EADDRINUSE' ? 'another program has this port; choose another, or 0 for any' : `it cannot be bound (${code})`
      throw new CommandError('QB_BIND_FAILED', Exit.LOCAL, `--metrics ${host}:${port}: ${why}`, { cause: error })
    }
    // A client that breaks off is its own affair.
    server.on('clientError', (_, socket) => void socket.destroy())
    return new MetricsServer(server, reach)
  }

  get url(): string {
    const { address, family, port } = this.#server.address() as AddressInfo
    return `http://${family === 'IPv6' ? `[${address}]` : address}:${port}`
  }

  /** From now on it tells of this endpoint. */
  watch(endpoint: Endpoint): void {
    this.#endpoint = endpoint
    this.#events = new EventStream(endpoint)
    void endpoint.closed.then(() => this.#events?.stop())
  }

  /** What stands in `/metrics` behind the endpoint's. */
  also(source: Exposed): void {
    this.#more.push(source)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#events?.stop()
    const closed = once(this.#server, 'close')
    this.#server.close()
    this.#server.closeAllConnections()
    await closed
  }

  #answer(request: IncomingMessage, response: ServerResponse): void {
    const { method = '', url = '', headers } = request
    response.on('error', () => undefined)
    // A page of a stranger in a browser on this machine would come by another name.
    if (this.#reach === 'loopback' && !isLoopback(hostOf(headers.host ?? ''))) return say(response, 403, 'text/plain', 'this address answers to localhost only\n')
    if (method !== 'GET' && method !== 'HEAD') return say(response.setHeader('allow', 'GET, HEAD'), 405, 'text/plain', 'GET or HEAD\n')
    const [path] = url.split('?')
    switch (path) {
      case '/metrics': return this.#endpoint === null ? starting(response) : say(response, 200, 'text/plain; version=0.0.4', merged([this.#endpoint, ...this.#more].map((source) => source.prometheus())))
      case '/healthz': return this.#health(response)
      case '/events': return this.#subscribe(method, response)
      default: return say(response, 404, 'text/plain', `there are ${PAGES}\n`)
    }
  }

  #health(response: ServerResponse): void {
    const endpoint = this.#endpoint
    if (endpoint === null) return starting(response)
    const { local, listening, connections } = endpoint
    return say(response, 200, 'application/json', `${toJson({ ok: true, local, listening, connections: connections.size, atMs: endpoint.now() })}\n`)
  }

  #subscribe(method: string, response: ServerResponse): void {
    if (this.#events === null) return starting(response)
    if (method === 'HEAD') return say(response, 200, 'text/event-stream', '')
    if (!this.#events.add(response)) say(response.setHeader('retry-after', '5'), 503, 'text/plain', 'enough readers of /events for now\n')
    return undefined
  }
}

function starting(response: ServerResponse): void {
  say(response.setHeader('retry-after', '1'), 503, 'text/plain', 'starting\n')
}

function say(response: ServerResponse, status: number, type: string, text: string): void {
  const kind = type.includes('json') || type.includes('charset') ? type : `${type}; charset=utf-8`
  response.writeHead(status, { 'content-type': kind, 'content-length': Buffer.byteLength(text), 'cache-control': 'no-store', 'x-content-type-options': 'nosniff' })
  // Node leaves the body of an answer to HEAD out.
  response.end(text)
}
