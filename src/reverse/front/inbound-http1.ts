/** Requests of HTTP/1.x, read and answered by Node's own server; also those that ask for another protocol (RFC 9110 §7.8, RFC 9112). */
import { ServerResponse } from 'node:http'
import type { IncomingMessage } from 'node:http'
import type { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { TLSSocket } from 'node:tls'
import { cutSocket } from '../../tunnel/inner.ts'
import type { TcpSocket } from '../../tunnel/inner.ts'
import { ambiguity, fieldsOf, isAuthority, rawFields, tokensOf, valuesOf } from './fields.ts'
import type { Field, Refusal } from './fields.ts'
import { plainAddress } from './inbound.ts'
import type { Inbound, OnGone } from './inbound.ts'

const ABSOLUTE = /^https?:\/\/([^/?#]*)([^#]*)$/i
/** Bytes of a request that nobody reads any more are thrown away for so long before the connection ends. */
const LINGER_MS = 2000

export interface Http1Facts {
  request: IncomingMessage
  /** What is there of a connection that the parser let go; null: an ordinary request. */
  upgraded: { socket: Duplex; head: Buffer } | null
  response: ServerResponse | null
  maxHeaderLines: number
  after: (ms: number, run: () => void) => () => void
}

export class Http1Inbound implements Inbound {
  readonly protocol: 'http/1.0' | 'http/1.1'
  readonly version: '1.0' | '1.1'
  readonly method: string
  readonly host: string
  readonly path: string
  readonly fields: readonly Field[]
  readonly remote: string
  readonly secure: boolean
  readonly serverName: string | null
  readonly body: IncomingMessage | null
  readonly upgrade: string | null
  readonly refusal: Refusal | null
  readonly out: ServerResponse
  readonly #request: IncomingMessage
  readonly #socket: Duplex
  readonly #upgraded: Http1Facts['upgraded']
  readonly #after: Http1Facts['after']
  readonly #onGone: OnGone
  #over = false

  constructor({ request, response, upgraded, maxHeaderLines, after }: Http1Facts, onGone: OnGone) {
    this.#request = request
    this.#socket = upgraded?.socket ?? request.socket
    this.#upgraded = upgraded
    this.#after = after
    this.#onGone = onGone
    this.version = request.httpVersion === '1.0' ? '1.0' : '1.1'
    this.protocol = `http/${this.version}`
    this.method = request.method ?? ''
    this.fields = fieldsOf(request.rawHeaders)
    const [named] = valuesOf(this.fields, 'host')
    const { host, path, refusal } = targetOf(this.method, request.url ?? '', named ?? (this.version === '1.1' ? null : ''))
    this.host = host
    this.path = path
    this.remote = plainAddress(request.socket.remoteAddress)
    this.secure = request.socket instanceof TLSSocket
    this.serverName = request.socket instanceof TLSSocket && typeof request.socket.servername === 'string' ? request.socket.servername : null
    this.refusal = this.fields.length > maxHeaderLines ? { status: 431, text: `The header of the request has more than ${maxHeaderLines} lines.` } : (versionRefusal(request.httpVersion) ?? ambiguity(this.fields, this.version) ?? refusal ?? this.#expectation())
    this.upgrade = upgraded === null ? null : (tokensOf(this.fields, 'upgrade')[0] ?? null)
    const hasBody = upgraded === null && (valuesOf(this.fields, 'transfer-encoding').length > 0 || Number(valuesOf(this.fields, 'content-length')[0] ?? 0) > 0)
    this.body = hasBody ? request : null
    this.out = response ?? detachedResponse(request, this.#socket)
    request.on('error', () => {})
    this.out.on('error', () => {})
    this.out.once('close', () => this.#gone())
    if (upgraded === null) return
    this.#socket.on('error', () => this.#gone())
    this.#socket.once('close', () => this.#gone())
  }

  get answered(): boolean {
    return this.out.headersSent
  }

  get whole(): boolean {
    return this.#request.complete
  }

  trailers(): Field[] {
    return fieldsOf(this.#request.rawTrailers)
  }

  inform(status: number, fields: readonly Field[]): void {
    if (this.version === '1.0' || this.out.headersSent || this.#upgraded !== null) return
    if (status === 100) this.out.writeContinue()
    else if (status === 102) this.out.writeProcessing()
    else if (status === 103) this.#earlyHints(fields)
  }

  head(status: number, message: string, fields: readonly Field[], body: 'body' | 'none'): void {
    const raw = rawFields(fields)
    const closes = fields.some(([name]) => name === 'Connection')
    if (!closes && (this.#upgraded !== null || (body === 'none' && this.#incomplete))) raw.push('Connection', 'close')
    // Node would close at once, and what still comes of the request would become a reset that takes the response along.
    if (this.#incomplete && (raw.at(-1) === 'close' || closes || !this.out.shouldKeepAlive)) (this.#socket as Socket).destroySoon = () => this.#letGo()
    this.out.writeHead(status, message, raw)
  }

  end(trailers: readonly Field[], onDone: () => void): void {
    this.out.once('finish', () => {
      this.#over = true
      if (this.#upgraded !== null) this.#letGo()
      onDone()
    })
    if (trailers.length > 0 && this.out.chunkedEncoding) this.out.addTrailers(trailers.map(([name, value]) => [name, value] as [string, string]))
    this.out.end()
  }

  accept(fields: readonly Field[], protocol: string): Duplex {
    this.#over = true
    const socket = this.#socket
    this.out.detachSocket(socket as never)
    const lines = [...fields, ['Connection', 'Upgrade'], ['Upgrade', protocol]].map(([name, value]) => `${name}: ${value}\r\n`)
    socket.write(Buffer.from(`HTTP/1.1 101 Switching Protocols\r\n${lines.join('')}\r\n`, 'latin1'))
    const head = this.#upgraded?.head
    if (head !== undefined && head.length > 0) socket.unshift(head)
    return socket
  }

  release(): void {
    const request = this.#request
    if (!this.#incomplete) return
    // Node reads on and throws away, so that the response is not lost to an RST; not for ever.
    request.resume()
    const stop = this.#after(LINGER_MS, () => void this.#socket.destroy())
    for (const event of ['end', 'close']) request.once(event, stop)
  }

  cut(): void {
    this.#over = true
    const socket = this.#socket
    if (socket instanceof TLSSocket) socket.destroy()
    else cutSocket(socket as TcpSocket)
  }

  /** Ends a connection that nobody reads any more, however long the client keeps his side open. */
  #letGo(): void {
    const socket = this.#socket
    socket.end()
    socket.resume()
    socket.once('close', this.#after(LINGER_MS, () => void socket.destroy()))
  }

  #expectation(): Refusal | null {
    const wishes = this.version === '1.1' ? valuesOf(this.fields, 'expect') : []
    return wishes.length === 0 || wishes.some((wish) => /(?:^|\W)100-continue(?:$|\W)/i.test(wish)) ? null : { status: 417, text: 'What the request expects is not known here.' }
  }

  get #incomplete(): boolean {
    return this.body !== null && !this.#request.complete
  }

  #gone(): void {
    if (this.#over) return
    this.#over = true
    this.#onGone()
  }

  #earlyHints(fields: readonly Field[]): void {
    const link = valuesOf(fields, 'link')
    if (link.length === 0) return
    try {
      this.out.writeEarlyHints({ link })
    } catch {
      // What Node does not take for a link is a hint the client does without.
    }
  }
}

/** A response on a connection that the parser has let go. */
function detachedResponse(request: IncomingMessage, socket: Duplex): ServerResponse {
  const response = new ServerResponse(request)
  response.shouldKeepAlive = false
  response.assignSocket(socket as never)
  return response
}

function versionRefusal(version: string): Refusal | null {
  return version === '1.1' || version === '1.0' ? null : { status: 505, text: 'This version of HTTP is not spoken here.' }
}

/** RFC 9112 §3.2: origin-form, absolute-form (whose authority counts, not Host), or the asterisk. */
function targetOf(method: string, target: string, named: string | null): { host: string; path: string; refusal: Refusal | null } {
  const host = named ?? ''
  const no = (text: string) => ({ host: isAuthority(host) ? host : '', path: target.slice(0, 1024), refusal: { status: 400, text } })
  if (named === null || !isAuthority(host)) return no('The Host of the request is none.')
  if (target === '*' && method === 'OPTIONS') return { host, path: target, refusal: null }
  if (target.startsWith('/')) return target.includes('#') ? no('The target of the request has a fragment.') : { host, path: target, refusal: null }
  const [, authority, rest = ''] = ABSOLUTE.exec(target) ?? []
  if (authority === undefined || authority === '' || !isAuthority(authority)) return no('The target of the request is none that is served here.')
  // RFC 9112 §3.2.4: OPTIONS of a whole server.
  return { host: authority, path: rest.startsWith('/') ? rest : rest === '' && method === 'OPTIONS' ? '*' : `/${rest}`, refusal: null }
}
