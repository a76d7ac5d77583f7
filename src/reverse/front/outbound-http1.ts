/**
 * A request to a service by HTTP/1.1, one on each way (`Connection: close`). Node's own client writes the head and reads the response;
 * `Wire` stands between it and the way.
 */
import { request as httpRequest } from 'node:http'
import type { ClientRequest, IncomingMessage, InformationEvent } from 'node:http'
import type { Duplex } from 'node:stream'
import { fieldsOf, rawFields, tokensOf } from './fields.ts'
import type { Field } from './fields.ts'
import type { FrontOpen } from './options.ts'
import type { Asked, Outbound, OutboundEvents } from './outbound.ts'
import { failureOf, show } from './page.ts'
import type { Failure } from './page.ts'
import { Wire } from './wire.ts'

/** Of a response; a service is trusted with more than its clients. */
const MAX_HEADER_BYTES = 65_536
const NO_LENGTH = new Set(['GET', 'HEAD', 'DELETE', 'OPTIONS', 'TRACE'])

export interface Http1Means {
  open: FrontOpen
  signal: AbortSignal
  after: (ms: number, run: () => void) => () => void
}

export class Http1Outbound implements Outbound {
  readonly #asked: Asked
  readonly #means: Http1Means
  readonly #events: OutboundEvents
  #wire: Wire | null = null
  #request: ClientRequest | null = null
  #answered = false
  #over = false

  constructor(asked: Asked, means: Http1Means, events: OutboundEvents) {
    this.#asked = asked
    this.#means = means
    this.#events = events
  }

  start(): void {
    const { method, path } = this.#asked
    const wire = new Wire({ onHead: (head) => void this.#open(head), onBroken: () => this.#broken(), after: this.#means.after })
    this.#wire = wire
    wire.on('error', () => {})
    try {
      this.#request = httpRequest({
        method, path, headers: this.#head(), createConnection: () => wire as never, setHost: false, insecureHTTPParser: false, maxHeaderSize: MAX_HEADER_BYTES,
      } as never)
    } catch {
      return this.#fail({ status: 400, reason: 'bad-request', text: 'The request has what HTTP/1.1 cannot say.' })
    }
    const request = this.#request
    request.maxHeadersCount = 0
    request.on('information', (info) => this.#onInformation(info))
    request.once('response', (response) => this.#onResponse(response))
    if (this.#asked.upgrade !== null) request.once('upgrade', (response, _, head) => this.#onUpgrade(response, head))
    request.on('error', (error) => this.#onError(error))
    // Of a change of protocol that nobody asked for Node tells nothing else.
    request.once('close', () => {
      if (!this.#answered) this.#broken()
    })
    request.flushHeaders()
  }

  endRequest(trailers: readonly Field[]): void {
    const request = this.#request
    if (request === null || this.#over || request.destroyed) return
    if (trailers.length > 0 && this.#asked.length === 'unknown') request.addTrailers(trailers.map(([name, value]) => [name, value] as [string, string]))
    request.end()
  }

  finish(): void {
    this.#over = true
    this.#wire?.finish()
  }

  cut(): void {
    this.#over = true
    this.#wire?.destroy()
    this.#request?.destroy()
  }

  #head(): string[] {
    const { fields, host, length, method, upgrade, acceptsTrailers } = this.#asked
    const all: Field[] = [['Host', host], ...fields]
    if (upgrade !== null) all.push(['Connection', 'Upgrade'], ['Upgrade', upgrade])
    else if (acceptsTrailers) all.push(['TE', 'trailers'], ['Connection', 'close, TE'])
    else all.push(['Connection', 'close'])
    if (length === 'unknown') all.push(['Transfer-Encoding', 'chunked'])
    else if (length !== null) all.push(['Content-Length', length])
    else if (!NO_LENGTH.has(method)) all.push(['Content-Length', '0'])
    return rawFields(all)
  }

  async #open(head: Buffer): Promise<void> {
    const { key } = this.#asked
    let way: Duplex
    try {
      way = await this.#means.open(key, { head, signal: this.#means.signal })
    } catch (error) {
      return this.#fail(failureOf(error, key))
    }
    way.on('error', () => {})
    if (this.#over || this.#wire === null) return void way.destroy()
    this.#wire.attach(way)
    if (this.#request !== null) this.#events.onOpen(this.#request)
  }

  #onInformation({ statusCode, rawHeaders }: InformationEvent): void {
    if (!this.#over && statusCode !== 101) this.#events.onInform(statusCode, fieldsOf(rawHeaders))
  }

  #onResponse(response: IncomingMessage): void {
    if (this.#over) return void response.destroy()
    this.#answered = true
    const fields = fieldsOf(response.rawHeaders)
    response.on('error', () => this.#broken())
    response.on('aborted', () => this.#broken())
    const codings = tokensOf(fields, 'transfer-encoding')
    if (codings.length > 1 || codings.some((coding) => coding !== 'chunked')) return this.#fail(this.#badResponse())
    this.#events.onAnswer({
      status: response.statusCode ?? 502, message: response.statusMessage ?? '', fields, version: response.httpVersion, body: response, trailers: () => fieldsOf(response.rawTrailers),
    })
  }

  #onUpgrade(response: IncomingMessage, head: Buffer): void {
    const wire = this.#wire
    if (this.#over || wire === null) return
    this.#over = true
    if (head.length > 0) wire.unshift(head)
    this.#events.onUpgrade(fieldsOf(response.rawHeaders), wire)
  }

  #onError(error: Error & { code?: string }): void {
    if (error.code?.startsWith('HPE_') === true) this.#fail(this.#badResponse())
    else this.#broken()
  }

  #badResponse(): Failure {
    return { status: 502, reason: 'bad-response', text: `What the service ${show(this.#asked.key)} answered is no HTTP.` }
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
