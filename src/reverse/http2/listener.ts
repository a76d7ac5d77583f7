/** `reverseHttp2Listen`: the public end over TCP. Private ends dial in and show who they are; then this end asks them by HTTP/2 as a client would (reverse.md §6, §9). */
import { connect as http2Connect } from 'node:http2'
import type { ClientHttp2Session } from 'node:http2'
import { createServer } from 'node:net'
import type { AddressInfo, Server, Socket } from 'node:net'
import { TLSSocket, createServer as createTls } from 'node:tls'
import { REAL_TIME, backgroundClock, checkCall, formatAddress, hot, invalidOption, parseAddress } from '../../config/index.ts'
import type { Observable, Waiting } from '../../config/index.ts'
import { EndpointError, ServiceError } from '../../errors/index.ts'
import { certificatePem, closesInOwnTurn, contextOf, keyPem } from '../front/index.ts'
import type { ReverseReason } from '../codes.ts'
import { networkOf } from '../gate.ts'
import { isName } from '../names.ts'
import { drained } from './dialler.ts'
import { ListenLedger, listenText } from './ledger.ts'
import type { ListenerNumbers } from './ledger.ts'
import { checkHttp2Listen } from './options.ts'
import type { CheckedHttp2Listen, ReverseHttp2Event, ReverseHttp2Identity, ReverseHttp2ListenOptions, ReverseHttp2Listener } from './options.ts'
import { PrefaceCut } from './preface.ts'
import { SessionShelf } from './shelf.ts'

const KEEP_ALIVE_MS = 15_000
const STREAM_WINDOW_BYTES = 262_144
const SESSION_WINDOW_BYTES = 1_048_576

/** @throws (reject) QB_OPTION_INVALID QB_OPTION_UNKNOWN QB_BIND_FAILED QB_TLS_IDENTITY */
export async function reverseHttp2Listen(options: ReverseHttp2ListenOptions): Promise<ReverseHttp2Listener> {
  const listener = new Listener(checkHttp2Listen(options))
  await listener.listen()
  return listener
}

class Listener implements ReverseHttp2Listener {
  readonly #options: CheckedHttp2Listen
  readonly #servers: Server[] = []
  readonly #local: string[] = []
  readonly #events = hot<ReverseHttp2Event>(0)
  readonly #ledger = new ListenLedger()
  readonly #shelf: SessionShelf
  /** TCP connections that are not accepted yet, by both ends of them: what TLS makes of one has the same. */
  readonly #pending = new Map<string, { socket: Socket; network: string; stop: () => void }>()
  /** Accepted, draining ones included. */
  readonly #sessions = new Set<ClientHttp2Session>()
  #closing: Promise<void> | null = null

  constructor(options: CheckedHttp2Listen) {
    this.#options = options
    this.#shelf = new SessionShelf(options.limits.maxWaiting, REAL_TIME.soon)
  }

  get local(): readonly string[] {
    return this.#local
  }

  get events$(): Observable<ReverseHttp2Event> {
    return this.#events.values$
  }

  sizes(): Readonly<Record<string, number>> {
    return this.#shelf.sizes()
  }

  statistics(): ListenerNumbers {
    const { size: connections, keys, waiting, streamsOpen, requests } = this.#shelf
    return this.#ledger.statistics({ connections, draining: this.#sessions.size - connections, pending: this.#pending.size, keys, waiting, streamsOpen, requests })
  }

  prometheus(): string {
    return listenText(this.statistics(), this.sizes())
  }

  async listen(): Promise<void> {
    try {
      for (const address of this.#options.local) this.#local.push(await this.#bind(address))
    } catch (error) {
      for (const server of this.#servers) server.close()
      throw error
    }
  }

  async session(key?: string, options: Waiting & { waitForMs?: number } = {}): Promise<ClientHttp2Session> {
    checkCall(options, ['signal', 'waitForMs'])
    const { signal, waitForMs = 0 } = options
    if (typeof waitForMs !== 'number' || !(waitForMs >= 0)) throw invalidOption('waitForMs', waitForMs, 'a number of milliseconds from 0')
    signal?.throwIfAborted()
    if (this.#closing !== null) throw closedError()
    try {
      return this.#shelf.take(key)
    } catch (error) {
      try {
        if (waitForMs === 0) throw error
        return await this.#wait(key, waitForMs, signal, error as Error)
      } catch (reason) {
        this.#ledger.unserved += 1
        throw reason
      }
    }
  }

  close(options: { drainMs?: number } = {}): Promise<void> {
    checkCall(options, ['drainMs'])
    const { drainMs = 0 } = options
    if (typeof drainMs !== 'number' || !(drainMs >= 0)) throw invalidOption('drainMs', drainMs, 'a number of milliseconds')
    this.#closing ??= this.#close(drainMs)
    return this.#closing
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  async #close(drainMs: number): Promise<void> {
    for (const server of this.#servers) server.close()
    for (const { socket } of this.#pending.values()) socket.destroy()
    this.#shelf.end(closedError())
    await Promise.all(Array.from(this.#sessions, (session) => drained(session, drainMs)))
    this.#events.end()
  }

  #wait(key: string | undefined, waitForMs: number, signal: AbortSignal | undefined, error: Error): Promise<ClientHttp2Session> {
    let end = (): void => {}
    return this.#shelf.wait(key, (stop) => {
      const onAbort = (): void => stop(signal?.reason as Error)
      const cancel = REAL_TIME.after(waitForMs, () => stop(error))
      signal?.addEventListener('abort', onAbort)
      end = () => {
        cancel()
        signal?.removeEventListener('abort', onAbort)
      }
    }).finally(() => end())
  }

  #bind(address: string): Promise<string> {
    const { host, port } = parseAddress(address) ?? { host: address, port: 0 }
    const server = this.#makeServer()
    return new Promise((resolve, reject) => {
      server.once('error', (error: NodeJS.ErrnoException) => reject(new EndpointError('QB_BIND_FAILED', `${address} cannot be bound for reverse connections over TCP: ${error.code ?? error.message}; choose another address or port`, { cause: error })))
      server.listen({ host, port }, () => {
        server.on('error', () => {})
        this.#servers.push(server)
        const bound = server.address() as AddressInfo
        resolve(formatAddress({ host: bound.address, port: bound.port, family: bound.family === 'IPv6' ? 6 : 4 }))
      })
    })
  }

  #makeServer(): Server {
    const { tls, helloTimeoutMs } = this.#options
    if (tls === null) {
      return createServer({ allowHalfOpen: true, noDelay: true }, (socket) => {
        if (this.#admit(socket)) this.#onSocket(socket, null)
      })
    }
    contextOf(tls)
    const named = 'ca' in tls
    const server = createTls({
      cert: certificatePem(tls.cert), key: keyPem(tls.key), minVersion: 'TLSv1.2', ALPNProtocols: ['h2'], handshakeTimeout: helloTimeoutMs, allowHalfOpen: true,
      requestCert: named, rejectUnauthorized: named, ...(named && { ca: certificatePem(tls.ca) }),
    }, (socket) => this.#onSocket(socket, identityOf(socket)))
    server.on('connection', (socket: Socket) => void this.#admit(socket))
    server.on('tlsClientError', (error, socket) => {
      this.#refused('auth', null, remoteOf(socket), error.message)
      socket.destroy()
    })
    return server
  }

  /** Counts one that is not accepted yet. */
  #admit(socket: Socket): boolean {
    const { maxPending, maxPendingPerPeer } = this.#options.limits
    const remote = remoteOf(socket)
    const network = networkOf(remote)
    socket.on('error', () => {})
    let same = 0
    for (const other of this.#pending.values()) if (other.network === network) same += 1
    if (this.#closing !== null || this.#pending.size >= maxPending || same >= maxPendingPerPeer) {
      this.#refused('busy', null, remote, this.#pending.size >= maxPending ? 'maxPending' : 'maxPendingPerPeer')
      socket.destroy()
      return false
    }
    const id = idOf(socket)
    const stop = REAL_TIME.after(this.#options.helloTimeoutMs, () => {
      this.#refused('timeout', null, remote, 'nothing of HTTP/2 came in time')
      socket.destroy()
    })
    this.#pending.set(id, { socket, network, stop })
    socket.once('close', () => this.#settle(id))
    return true
  }

  #settle(id: string): void {
    this.#pending.get(id)?.stop()
    this.#pending.delete(id)
  }

  #onSocket(socket: Socket, identity: ReverseHttp2Identity | null): void {
    const [id, remote] = [idOf(socket), remoteOf(socket)]
    const refuse = (reason: ReverseReason, text: string): void => {
      this.#refused(reason, null, remote, text)
      socket.destroy()
    }
    socket.on('error', () => {})
    if (socket instanceof TLSSocket && socket.alpnProtocol !== 'h2' && socket.alpnProtocol !== false) return refuse('protocol', 'it does not speak h2')
    const key = this.#keyOf(identity, remote)
    if (key === null) return refuse('name', 'it stands for no service')
    socket.setNoDelay(true)
    socket.setKeepAlive(true, KEEP_ALIVE_MS)
    const cut = new PrefaceCut(socket)
    cut.once('error', (error) => this.#closing === null && this.#refused('protocol', key, remote, error.message))
    const session = http2Connect('http://reverse', {
      createConnection: () => cut, settings: { enablePush: false, initialWindowSize: STREAM_WINDOW_BYTES }, maxSessionMemory: 4, maxOutstandingPings: 10,
    })
    closesInOwnTurn(session)
    session.on('error', () => {})
    session.once('remoteSettings', () => {
      cut.removeAllListeners('error')
      cut.on('error', () => {})
      this.#accept(key, session, id, remote)
    })
  }

  #accept(key: string, session: ClientHttp2Session, id: string, remote: string): void {
    const { maxConnections, maxPerKey } = this.#options.limits
    this.#settle(id)
    if (session.closed || session.destroyed) return
    if (this.#closing !== null || this.#shelf.size >= maxConnections || this.#shelf.count(key) >= maxPerKey) {
      this.#refused('full', key, remote, this.#shelf.size >= maxConnections ? 'maxConnections' : 'maxPerKey')
      return session.close()
    }
    session.setLocalWindowSize(SESSION_WINDOW_BYTES)
    const kept = this.#shelf.add(key, session)
    this.#sessions.add(session)
    let reason = ''
    session.on('error', (error) => {
      reason = error.message
    })
    session.on('goaway', () => {
      if (this.#shelf.remove(kept)) this.#tell('draining', key, remote, 'the private end says GOAWAY')
    })
    session.once('close', () => {
      this.#sessions.delete(session)
      this.#shelf.remove(kept)
      this.#ledger.closed += 1
      this.#tell('closed', key, remote, reason)
    })
    this.#ledger.accepted += 1
    this.#tell('accepted', key, remote, '')
  }

  #keyOf(identity: ReverseHttp2Identity | null, remote: string): string | null {
    try {
      const key = this.#options.poolKey(identity, remote)
      return isName(key) ? key : null
    } catch {
      return null
    }
  }

  #refused(reason: ReverseReason, key: string | null, remote: string, text: string): void {
    this.#ledger.refused(reason)
    this.#tell('refused', key, remote, text)
  }

  #tell(type: ReverseHttp2Event['type'], key: string | null, remote: string, reason: string): void {
    this.#events.emit({ atMs: backgroundClock.now(), type, key, remote, reason, size: key === null ? 0 : this.#shelf.count(key) })
  }
}

function identityOf(socket: TLSSocket): ReverseHttp2Identity | null {
  const certificate = socket.authorized ? socket.getPeerX509Certificate() : undefined
  if (certificate === undefined) return null
  const names = (certificate.subjectAltName ?? '').split(', ').filter((name) => name.startsWith('DNS:')).map((name) => name.slice(4))
  const common = /^CN=(.+)$/m.exec(certificate.subject)?.[1]
  return { names: names.length > 0 || common === undefined ? names : [common], fingerprint: certificate.fingerprint256.replaceAll(':', '').toLowerCase() }
}

function closedError(): ServiceError {
  return new ServiceError('QB_REVERSE_SHUTDOWN', 'this public end is closed', { by: 'local' })
}

function remoteOf(socket: Socket): string {
  const { remoteAddress: host = '0.0.0.0', remotePort: port = 0 } = socket
  return formatAddress({ host, port, family: host.includes(':') ? 6 : 4 })
}

function idOf(socket: Socket): string {
  return `${remoteOf(socket)} ${socket.localPort ?? 0}`
}
