/** Requests of HTTP/2 (RFC 9113), each a stream of Node's own server; also extended CONNECT (RFC 8441). */
import { constants } from 'node:http2'
import type { IncomingHttpHeaders, ServerHttp2Stream } from 'node:http2'
import type { Duplex } from 'node:stream'
import { TLSSocket } from 'node:tls'
import { REAL_TIME } from '../../config/index.ts'
import { ambiguity, fieldsOf, http2Fields, isAuthority, isForeign, valuesOf } from './fields.ts'
import type { Field, Refusal } from './fields.ts'
import { plainAddress } from './inbound.ts'
import { LINGER_MS } from './linger.ts'
import type { Inbound, OnGone } from './inbound.ts'

/** What is in buffers of a slow client's connection has so long to leave. */
const FLUSH_MS = 120_000

export interface Http2Facts {
  stream: ServerHttp2Stream
  headers: IncomingHttpHeaders
  rawHeaders: readonly string[]
  maxHeaderLines: number
}

export class Http2Inbound implements Inbound {
  readonly protocol = 'h2'
  readonly version = '2'
  readonly method: string
  readonly host: string
  readonly path: string
  readonly fields: readonly Field[]
  readonly remote: string
  readonly secure: boolean
  readonly serverName: string | null
  readonly body: ServerHttp2Stream | null
  readonly upgrade: string | null
  readonly refusal: Refusal | null
  readonly out: ServerHttp2Stream
  readonly #onGone: OnGone
  #trailers: Field[] = []
  #ownTrailers: readonly Field[] = []
  #hasBody = false
  #over = false
  #onSent: () => void = () => {}

  constructor({ stream, headers, rawHeaders, maxHeaderLines }: Http2Facts, onGone: OnGone) {
    const pseudo = (name: string): string => (typeof headers[name] === 'string' ? headers[name] : '')
    const socket = stream.session?.socket
    this.#onGone = onGone
    this.out = stream
    this.fields = fieldsOf(rawHeaders)
    const [named = ''] = valuesOf(this.fields, 'host')
    const protocol = pseudo(':protocol')
    this.upgrade = pseudo(':method') === 'CONNECT' && headers[':protocol'] !== undefined ? protocol.toLowerCase() : null
    // Extended CONNECT is a GET to everybody who speaks HTTP/1.1.
    this.method = this.upgrade === null ? pseudo(':method') : 'GET'
    this.host = pseudo(':authority') || named
    this.path = pseudo(':path')
    this.remote = plainAddress(socket?.remoteAddress)
    this.secure = socket instanceof TLSSocket || (socket as Partial<TLSSocket> | undefined)?.encrypted === true
    const serverName = (socket as Partial<TLSSocket> | undefined)?.servername
    this.serverName = typeof serverName === 'string' && serverName !== '' ? serverName : null
    this.body = this.upgrade !== null || stream.endAfterHeaders ? null : stream
    this.refusal = this.#refusal(named, maxHeaderLines)
    stream.on('error', () => {})
    stream.on('trailers', (_, __, raw?: readonly string[]) => {
      this.#trailers = fieldsOf(raw ?? [])
    })
    // Told when all of the body has left: only then is the response over for us.
    stream.on('wantTrailers', () => {
      stream.sendTrailers(http2Fields(this.#ownTrailers))
      this.#onSent()
    })
    stream.once('close', () => this.#gone())
    // A stream that the client closes without an error stays there until somebody has read it.
    stream.once('aborted', () => this.#gone())
    if (stream.destroyed || stream.aborted) queueMicrotask(() => this.#gone())
  }

  get answered(): boolean {
    return this.out.headersSent
  }

  get whole(): boolean {
    return !this.out.aborted && !this.out.closed
  }

  trailers(): Field[] {
    return this.#trailers
  }

  inform(status: number, fields: readonly Field[]): void {
    if (this.out.headersSent || this.#isOver || status === 101) return
    this.out.additionalHeaders({ ...http2Fields(fields), ':status': status })
  }

  head(status: number, _: string, fields: readonly Field[], body: 'body' | 'none'): void {
    if (this.#isOver) return
    this.#hasBody = body === 'body'
    this.out.respond({ ...http2Fields(fields), ':status': status }, body === 'none' ? { endStream: true } : { waitForTrailers: true })
  }

  end(trailers: readonly Field[], onDone: () => void): void {
    const { out } = this
    this.#ownTrailers = trailers
    this.#onSent = () => {
      this.#onSent = () => {}
      this.#over = true
      onDone()
    }
    if (!this.#hasBody) return this.#onSent()
    out.end()
  }

  accept(fields: readonly Field[]): Duplex {
    this.#over = true
    this.out.respond({ ...http2Fields(fields), ':status': 200 })
    return this.out
  }

  release(): void {
    const { out } = this
    this.#letGo(FLUSH_MS)
    if (this.body === null || out.readableEnded || out.destroyed) return
    // RFC 9113 §8.1: the response is whole, the rest of the request is not wanted.
    if (!out.closed) out.close(constants.NGHTTP2_NO_ERROR)
  }

  cut(): void {
    this.#over = true
    if (!this.out.closed) this.out.close(constants.NGHTTP2_INTERNAL_ERROR)
    this.#letGo(LINGER_MS)
  }

  /** A stream that is over closes; not where its session is dead, or somebody would have to read it first. */
  #letGo(ms: number): void {
    const { out } = this
    if (!out.destroyed) out.once('close', REAL_TIME.after(ms, () => void out.destroy()))
  }

  get #isOver(): boolean {
    return this.out.destroyed || this.out.closed
  }

  #refusal(named: string, maxHeaderLines: number): Refusal | null {
    const { host, path, method } = this
    if (this.fields.length > maxHeaderLines) return { status: 431, text: `The header of the request has more than ${maxHeaderLines} lines.` }
    if (method.toUpperCase() === 'CONNECT') return { status: 405, text: 'CONNECT is not served here.' }
    // Whoever writes it in HTTP/1.1 makes another method of it.
    if (method !== method.toUpperCase()) return { status: 501, text: 'The method of the request is none that is served here.' }
    if (this.upgrade !== null && isForeign(this.upgrade)) return { status: 501, text: 'The protocol of the request is none that is served here.' }
    if (!isAuthority(host) || (named !== '' && named.toLowerCase() !== host.toLowerCase())) return { status: 400, text: 'The authority of the request is none, or not its Host.' }
    if (path.includes('#')) return { status: 400, text: 'The path of the request has a fragment.' }
    if (!path.startsWith('/') && !(path === '*' && method === 'OPTIONS')) return { status: 400, text: 'The path of the request is none that is served here.' }
    return ambiguity(this.fields, '2')
  }

  #gone(): void {
    if (this.#over) return
    this.#over = true
    this.#onGone()
  }
}
