/**
 * A request to a service by HTTP/2, on a session that is lent for it. What a session refused before anything of it was looked at
 * (REFUSED_STREAM, or a session that goes away) is asked once more elsewhere, as long as no byte of a body has gone (reverse.md V47).
 */
import type { OutgoingHttpHeaders } from 'node:http'
import { constants } from 'node:http2'
import type { ClientHttp2Session, ClientHttp2Stream, IncomingHttpHeaders, IncomingHttpStatusHeader } from 'node:http2'
import type { Duplex } from 'node:stream'
import { fieldsOf, http2Fields } from './fields.ts'
import type { Field } from './fields.ts'
import type { FrontSession } from './options.ts'
import type { Asked, Outbound, OutboundEvents } from './outbound.ts'
import { failureOf, show } from './page.ts'
import type { Failure } from './page.ts'
import { LINGER_MS } from './wire.ts'

const MAX_TRIES = 3

export interface Http2Means {
  session: FrontSession
  signal: AbortSignal
  onRetry: () => void
  after: (ms: number, run: () => void) => () => void
}

export class Http2Outbound implements Outbound {
  readonly #asked: Asked
  readonly #means: Http2Means
  readonly #events: OutboundEvents
  #stream: ClientHttp2Stream | null = null
  #trailers: readonly Field[] = []
  #answered = false
  #over = false
  #tries = 0

  constructor(asked: Asked, means: Http2Means, events: OutboundEvents) {
    this.#asked = asked
    this.#means = means
    this.#events = events
  }

  start(): void {
    void this.#try()
  }

  endRequest(trailers: readonly Field[]): void {
    this.#trailers = trailers
    if (this.#stream !== null && !this.#stream.destroyed && this.#asked.length !== null) this.#stream.end()
  }

  finish(): void {
    this.#over = true
    const stream = this.#stream
    if (stream === null || stream.destroyed || stream.writableFinished) return
    if (!stream.writableEnded) return stream.close(constants.NGHTTP2_NO_ERROR)
    // A service that has answered may still read the rest of the request; not for ever.
    stream.once('close', this.#means.after(LINGER_MS, () => stream.close(constants.NGHTTP2_CANCEL)))
  }

  cut(): void {
    this.#over = true
    const stream = this.#stream
    if (stream !== null && !stream.closed) stream.close(constants.NGHTTP2_CANCEL)
  }

  async #try(): Promise<void> {
    const { key } = this.#asked
    this.#tries += 1
    let session: ClientHttp2Session
    try {
      session = await this.#means.session(key, { signal: this.#means.signal })
    } catch (error) {
      return this.#fail(failureOf(error, key))
    }
    if (this.#over) return
    const { upgrade } = this.#asked
    if (upgrade !== null && session.remoteSettings?.enableConnectProtocol !== true) return this.#fail({ status: 501, reason: 'upstream', text: `The service ${show(key)} does not change protocols.` })
    let stream: ClientHttp2Stream
    try {
      stream = session.request(this.#headers(), { endStream: this.#asked.length === null && upgrade === null, waitForTrailers: upgrade === null && this.#asked.length !== null })
    } catch (error) {
      return this.#onRefused(error)
    }
    this.#follow(stream)
  }

  #follow(stream: ClientHttp2Stream): void {
    this.#stream = stream
    let problem: unknown = null
    let behind: Field[] = []
    stream.on('error', (error) => {
      problem = error
    })
    stream.on('wantTrailers', () => stream.sendTrailers(http2Fields(this.#trailers)))
    stream.on('headers', (headers: IncomingHttpHeaders & IncomingHttpStatusHeader, _: number, raw?: readonly string[]) => this.#inform(headers[':status'] ?? 0, fieldsOf(raw ?? [])))
    stream.on('trailers', (_: IncomingHttpHeaders, __: number, raw?: readonly string[]) => {
      behind = fieldsOf(raw ?? [])
    })
    stream.once('response', (headers: IncomingHttpHeaders & IncomingHttpStatusHeader, _: number, raw?: readonly string[]) => this.#onResponse(stream, headers[':status'] ?? 502, fieldsOf(raw ?? flat(headers)), () => behind))
    stream.once('close', () => {
      if (this.#over) return
      if (!this.#answered && this.#unsent(stream)) return this.#onRefused(problem)
      if (!this.#answered || !stream.readableEnded || stream.rstCode !== constants.NGHTTP2_NO_ERROR) this.#broken()
    })
    // Without a body the stream's end has been said; with one, retry ends when its first byte goes.
    if (this.#tries === 1) this.#events.onOpen(stream)
  }

  #headers(): OutgoingHttpHeaders {
    const { fields, host, method, path, secure, length, upgrade, acceptsTrailers } = this.#asked
    const headers: OutgoingHttpHeaders = { ...http2Fields(fields), ':method': upgrade === null ? method : 'CONNECT', ':path': path, ':scheme': secure ? 'https' : 'http' }
    if (host !== '') headers[':authority'] = host
    if (upgrade !== null) headers[':protocol'] = upgrade
    if (length !== null && length !== 'unknown') headers['content-length'] = length
    if (acceptsTrailers) headers['te'] = 'trailers'
    return headers
  }

  /** Nothing of it was processed, as far as we can know: the peer says so. A body cannot be read twice. */
  #unsent(stream: ClientHttp2Stream): boolean {
    return this.#asked.length === null && this.#asked.upgrade === null && stream.rstCode === constants.NGHTTP2_REFUSED_STREAM
  }

  #onRefused(error: unknown): void {
    if (this.#over) return
    if (this.#tries >= MAX_TRIES || this.#asked.length !== null) return this.#fail(failureOf(error, this.#asked.key))
    this.#means.onRetry()
    void this.#try()
  }

  #onResponse(stream: ClientHttp2Stream, status: number, fields: Field[], trailers: () => Field[]): void {
    if (this.#over) return
    this.#answered = true
    if (this.#asked.upgrade !== null && status === 200) {
      this.#over = true
      this.#events.onUpgrade(fields, stream as Duplex)
    } else this.#events.onAnswer({ status, message: '', fields, version: '2', body: stream, trailers })
  }

  #inform(status: number, fields: Field[]): void {
    if (!this.#over && !this.#answered) this.#events.onInform(status, fields)
  }

  #broken(): void {
    this.#fail({ status: 502, reason: 'upstream', text: `The service ${show(this.#asked.key)} ended the request before its response was complete.` })
  }

  #fail(failure: Failure): void {
    if (this.#over) return
    this.cut()
    this.#events.onFailure(failure)
  }
}

/** Where Node does not tell fields as they came. */
function flat(headers: IncomingHttpHeaders): string[] {
  return Object.entries(headers).flatMap(([name, value]) => (Array.isArray(value) ? value : [String(value)]).flatMap((item) => [name, item]))
}
