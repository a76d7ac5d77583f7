/**
 * The ports of a front: Node's own HTTP/1.1 and HTTP/2 servers on one port each, told apart by ALPN, or without TLS by the first bytes
 * (RFC 9113 §3.3, §3.4). Owns sockets and their limits; hands every request to somebody.
 */
import { createServer as createHttp } from 'node:http'
import type { IncomingMessage, Server, ServerResponse } from 'node:http'
import { createServer as createHttp2 } from 'node:http2'
import type { Http2Server, IncomingHttpHeaders, ServerHttp2Session, ServerHttp2Stream } from 'node:http2'
import { createServer as createHttps } from 'node:https'
import type { AddressInfo, Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import type { TLSSocket } from 'node:tls'
import { formatAddress, parseAddress } from '../../config/index.ts'
import { EndpointError } from '../../errors/index.ts'
import { fieldsOf, isForeign, tokensOf, valuesOf } from './fields.ts'
import { contextOf, sniCallback, certificatePem, keyPem } from './identity.ts'
import { closesInOwnTurn, closesWhenIdle, endsInTime } from './linger.ts'
import type { CheckedFront, FrontLimits } from './options.ts'
import { pageOf } from './page.ts'
import { Turns } from './turns.ts'

export const PREFACE: Buffer = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n')
const STREAM_WINDOW_BYTES = 262_144
const SESSION_WINDOW_BYTES = 1_048_576

export interface PortEvents {
  onRequest(request: IncomingMessage, response: ServerResponse): void
  onUpgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void
  onStream(stream: ServerHttp2Stream, headers: IncomingHttpHeaders, rawHeaders: readonly string[]): void
  /** A limit refused a connection, or the client's bytes were no HTTP. */
  onFailed(name: 'maxConnections' | 'maxStreams' | 'bad-request' | 'timeout'): void
  onConnections(count: number): void
}

/** All ports of one front. */
export class Ports {
  readonly #limits: FrontLimits
  readonly #events: PortEvents
  readonly #servers: Server[] = []
  readonly #sockets = new Set<Socket>()
  readonly #sessions = new Set<ServerHttp2Session>()
  readonly #http2: Http2Server
  readonly #turns: Turns
  readonly plain: string[] = []
  readonly secure: string[] = []

  constructor({ limits }: CheckedFront, events: PortEvents) {
    this.#limits = limits
    this.#events = events
    this.#turns = new Turns(limits.maxStreams)
    this.#http2 = this.#makeHttp2()
  }

  /** @throws QB_BIND_FAILED QB_TLS_IDENTITY */
  async listen({ http, https, tls }: CheckedFront): Promise<void> {
    try {
      for (const address of http) this.plain.push(await this.#bind(this.#makePlain(), address))
      if (tls === undefined) return
      for (const address of https) this.secure.push(await this.#bind(this.#makeSecure(tls), address))
    } catch (error) {
      this.destroy()
      throw error
    }
  }

  /** Nobody comes any more; connections without a request end, sessions say that they go. */
  stop(): void {
    for (const server of this.#servers) {
      server.close()
      server.closeIdleConnections()
    }
    for (const session of this.#sessions) if (!session.closed) session.close()
  }

  destroy(): void {
    this.stop()
    for (const session of this.#sessions) session.destroy()
    for (const socket of this.#sockets) socket.destroy()
  }

  #serverOptions(): object {
    const { maxHeaderBytes, headerTimeoutMs, keepAliveMs } = this.#limits
    return {
      maxHeaderSize: maxHeaderBytes, headersTimeout: headerTimeoutMs, requestTimeout: 0, keepAliveTimeout: keepAliveMs, connectionsCheckingInterval: Math.max(10, Math.min(1000, headerTimeoutMs / 2)),
      // Whatever is answered is answered in its turn: Node's own 400 and 417 know nothing of turns.
      insecureHTTPParser: false, requireHostHeader: false, noDelay: true,
    }
  }

  #makePlain(): Server {
    const server = createHttp(this.#serverOptions())
    const [toHttp1] = server.listeners('connection') as ((socket: Socket) => void)[]
    server.removeAllListeners('connection')
    server.on('connection', (socket: Socket) => {
      if (!this.#admit(socket)) return
      tellApart(socket, this.#limits.headerTimeoutMs, () => this.#events.onFailed('timeout'), (which) => {
        if (which === 'h2') this.#toHttp2(socket)
        else toHttp1?.call(server, socket)
      })
    })
    this.#prepare(server, (socket) => toHttp1?.call(server, socket as Socket))
    return server
  }

  #makeSecure({ cert, key, sni }: NonNullable<CheckedFront['tls']>): Server {
    const own = contextOf({ cert, key })
    const server = createHttps({
      ...this.#serverOptions(), cert: certificatePem(cert), key: keyPem(key), minVersion: 'TLSv1.2', SNICallback: sniCallback(sni, own), ALPNProtocols: ['h2', 'http/1.1'], handshakeTimeout: this.#limits.headerTimeoutMs,
    })
    const [toHttp1] = server.listeners('secureConnection') as ((socket: TLSSocket) => void)[]
    server.removeAllListeners('secureConnection')
    server.on('secureConnection', (socket: TLSSocket) => {
      if (socket.alpnProtocol === 'h2') this.#toHttp2(socket)
      else toHttp1?.call(server, socket)
    })
    server.on('connection', (socket: Socket) => void this.#admit(socket))
    // Before the end of a handshake nothing can be said, and nobody else ends what only waits.
    server.removeAllListeners('tlsClientError')
    server.on('tlsClientError', (error: NodeJS.ErrnoException, socket: TLSSocket) => {
      this.#events.onFailed(error.code === 'ERR_TLS_HANDSHAKE_TIMEOUT' ? 'timeout' : 'bad-request')
      socket.destroy()
    })
    this.#prepare(server, (socket) => toHttp1?.call(server, socket as TLSSocket))
    return server
  }

  #toHttp2(socket: Socket): void {
    endsInTime(socket)
    this.#http2.once('session', (session) => closesWhenIdle(session, socket, this.#limits.keepAliveMs))
    this.#http2.emit('connection', socket)
  }

  /** `again`: gives a connection back to the parser. */
  #prepare(server: Server, again: (socket: Duplex) => void): void {
    const events = this.#events
    const { maxConnections } = this.#limits
    server.maxHeadersCount = 0
    server.timeout = 0
    const onRequest = (request: IncomingMessage, response: ServerResponse): void => {
      const { socket } = request
      if (!socket.writable) return void socket.destroy()
      if (this.#turns.take(socket, response, () => events.onRequest(request, response))) return
      events.onFailed('maxStreams')
      socket.destroy()
    }
    server.on('request', onRequest)
    for (const event of ['checkContinue', 'checkExpectation']) server.on(event, onRequest)
    server.on('upgrade', (request, socket, head) => {
      if (this.#isBusy(socket)) return
      if (isUpgrade(request)) events.onUpgrade(request, socket, head)
      else withoutUpgrade(request, socket, head, again)
    })
    server.on('connect', (_, socket) => {
      if (!this.#isBusy(socket)) refuse(socket, 405, 'CONNECT is not served here.')
    })
    server.on('clientError', (error: NodeJS.ErrnoException, socket: Duplex) => this.#onClientError(error, socket))
    server.on('drop', () => events.onFailed('maxConnections'))
    // Room for the refusal of one too many stays with `#admit`, which counts the connections of all ports.
    server.maxConnections = maxConnections + 1
  }

  /** The parser has let go of a connection on which a response is still to come: nobody could finish that any more. */
  #isBusy(socket: Duplex): boolean {
    if (this.#turns.current(socket) === null) return false
    this.#events.onFailed('bad-request')
    socket.destroy()
    return true
  }

  #onClientError(error: NodeJS.ErrnoException, socket: Duplex): void {
    if (error.code === 'ECONNRESET' || !socket.writable) return void socket.destroy()
    this.#events.onFailed(error.code === 'ERR_HTTP_REQUEST_TIMEOUT' ? 'timeout' : 'bad-request')
    const response = this.#turns.current(socket)
    if (response !== null && (response.headersSent || response.req.complete)) {
      // Not in the middle of a response, nor in the place of one.
      this.#turns.stop(socket)
      if (response.req.complete) response.once('close', () => socket.destroy())
      else socket.destroy()
      return
    }
    if (error.code === 'ERR_HTTP_REQUEST_TIMEOUT') refuse(socket, 408, 'The header of the request did not come in time.')
    else if (error.code === 'HPE_HEADER_OVERFLOW') refuse(socket, 431, 'The header of the request is too large.')
    else refuse(socket, 400, 'The request is not HTTP as it should be.')
  }

  #makeHttp2(): Http2Server {
    const { maxStreams, maxHeaderBytes, maxHeaderLines } = this.#limits
    const server = createHttp2({
      maxHeaderListPairs: maxHeaderLines + 8, maxSessionMemory: 4, maxOutstandingPings: 10, maxSendHeaderBlockLength: 262_144,
      settings: { maxConcurrentStreams: maxStreams, maxHeaderListSize: maxHeaderBytes, initialWindowSize: STREAM_WINDOW_BYTES, enableConnectProtocol: true, enablePush: false },
    })
    server.on('session', (session) => {
      closesInOwnTurn(session)
      this.#sessions.add(session)
      session.on('error', () => {})
      session.once('close', () => this.#sessions.delete(session))
      if (!session.destroyed) session.setLocalWindowSize(SESSION_WINDOW_BYTES)
    })
    server.on('stream', (stream: ServerHttp2Stream, headers: IncomingHttpHeaders, _: number, raw?: readonly string[]) => this.#events.onStream(stream, headers, raw ?? []))
    server.on('sessionError', () => this.#events.onFailed('bad-request'))
    return server
  }

  #admit(socket: Socket): boolean {
    socket.on('error', () => {})
    if (this.#sockets.size >= this.#limits.maxConnections) {
      this.#events.onFailed('maxConnections')
      socket.destroy()
      return false
    }
    this.#sockets.add(socket)
    this.#events.onConnections(this.#sockets.size)
    socket.once('close', () => {
      this.#sockets.delete(socket)
      this.#events.onConnections(this.#sockets.size)
    })
    return true
  }

  #bind(server: Server, address: string): Promise<string> {
    const { host, port } = parseAddress(address) ?? { host: address, port: 0 }
    return new Promise((resolve, reject) => {
      server.once('error', (error: NodeJS.ErrnoException) => reject(new EndpointError('QB_BIND_FAILED', `${address} cannot be bound for HTTP: ${error.code ?? error.message}; choose another address or port`, { cause: error })))
      server.listen({ host, port }, () => {
        // What goes wrong with a single accept (no file left, say) ends nothing.
        server.on('error', () => {})
        this.#servers.push(server)
        const bound = server.address() as AddressInfo
        resolve(formatAddress({ host: bound.address, port: bound.port, family: bound.family === 'IPv6' ? 6 : 4 }))
      })
    })
  }
}

/** Looks at as many first bytes as it takes, and puts them back. */
function tellApart(socket: Socket, limitMs: number, onTimeout: () => void, onKnown: (which: 'h1' | 'h2') => void): void {
  let seen: Buffer = Buffer.alloc(0)
  const onReadable = (): void => {
    const bytes = socket.read() as Buffer | null
    if (bytes === null) return
    seen = seen.length === 0 ? bytes : Buffer.concat([seen, bytes])
    const length = Math.min(seen.length, PREFACE.length)
    const same = PREFACE.compare(seen, 0, length, 0, length) === 0
    if (same && length < PREFACE.length) return
    socket.off('readable', onReadable)
    socket.off('timeout', onLate)
    socket.off('end', onEnd)
    socket.setTimeout(0)
    socket.unshift(seen)
    onKnown(same ? 'h2' : 'h1')
  }
  const onEnd = (): void => void socket.destroy()
  const onLate = (): void => {
    onTimeout()
    socket.destroy()
  }
  socket.setTimeout(limitMs)
  socket.once('timeout', onLate)
  socket.once('end', onEnd)
  socket.on('readable', onReadable)
}

/** Asks for another protocol, in a form that can be handed on: no body, and not HTTP/2, which everybody may take for a wish that was not heard (RFC 9110 §7.8). */
function isUpgrade(request: IncomingMessage): boolean {
  const fields = fieldsOf(request.rawHeaders)
  const [protocol] = tokensOf(fields, 'upgrade')
  if (protocol === undefined || isForeign(protocol)) return false
  return request.httpVersion === '1.1' && valuesOf(fields, 'transfer-encoding').length === 0 && Number(valuesOf(fields, 'content-length')[0] ?? 0) === 0
}

/** The same request to the parser once more, without the wish. */
function withoutUpgrade(request: IncomingMessage, socket: Duplex, head: Buffer, again: (socket: Duplex) => void): void {
  const lines = fieldsOf(request.rawHeaders).filter(([name]) => !['upgrade', 'http2-settings'].includes(name.toLowerCase())).map(([name, value]) => `${name}: ${value}\r\n`)
  const start = `${request.method ?? ''} ${request.url ?? ''} HTTP/${request.httpVersion}\r\n`
  socket.unshift(Buffer.concat([Buffer.from(`${start}${lines.join('')}\r\n`, 'latin1'), head]))
  again(socket)
}

/** A page on a connection that no parser has, and its end. */
function refuse(socket: Duplex, status: number, text: string): void {
  const { message, fields, body } = pageOf({ status, text, reason: 'bad-request' })
  const lines = [...fields, ['Connection', 'close']].map(([name, value]) => `${name}: ${value}\r\n`)
  socket.on('error', () => {})
  socket.end(Buffer.concat([Buffer.from(`HTTP/1.1 ${status} ${message}\r\n${lines.join('')}\r\n`, 'latin1'), body]), () => socket.destroy())
}
