/** One attempt of a private end: TCP, TLS where it is wanted, then the server's side of HTTP/2 on it, until the other end's SETTINGS say that it knows what this is. */
import * as http2 from 'node:http2'
import type { ServerHttp2Session } from 'node:http2'
import { connect } from 'node:net'
import type { Socket } from 'node:net'
import { connect as tlsConnect } from 'node:tls'
import { certificatePem, closesInOwnTurn, endsInTime, keyPem } from '../front/index.ts'
import { ServiceError } from '../../errors/index.ts'
import type { CheckedHttp2Connect } from './options.ts'
import { sendPreface } from './preface.ts'

const STREAM_WINDOW_BYTES = 262_144
const SESSION_WINDOW_BYTES = 1_048_576

/** What this process lacks for a private end. @throws QB_REVERSE_NOT_SUPPORTED */
export function serverHandshake(): typeof http2.performServerHandshake {
  const { performServerHandshake } = http2 as Partial<typeof http2>
  if (performServerHandshake !== undefined) return performServerHandshake
  throw new ServiceError('QB_REVERSE_NOT_SUPPORTED', `reverse connections over HTTP/2 need http2.performServerHandshake, which ${process.release.name} ${process.version} does not have; use Node 20.12, 21.7, 22 or newer`)
}

/** Resolves with a session that takes requests. Nothing is left of an attempt that fails. @throws (reject) QB_REVERSE_TIMEOUT, errors of sockets, the abort reason */
export function dialHttp2(options: CheckedHttp2Connect, onStream: (session: ServerHttp2Session) => void, after: (ms: number, run: () => void) => () => void, signal: AbortSignal): Promise<ServerHttp2Session> {
  const handshake = serverHandshake()
  const where = `${options.host}:${options.port}`
  return new Promise((resolve, reject) => {
    let session: ServerHttp2Session | null = null
    let over = false
    let step = 'a TCP connection'
    const socket = open(options, () => {
      step = 'its SETTINGS'
      endsInTime(socket)
      socket.setNoDelay(true)
      socket.setKeepAlive(true, options.pingMs)
      sendPreface(socket, () => begin())
    })
    const begin = (): void => {
      if (over) return
      session = handshake(socket, {
        settings: { maxConcurrentStreams: options.streams, enableConnectProtocol: true, enablePush: false, initialWindowSize: STREAM_WINDOW_BYTES }, maxSessionMemory: 4, maxOutstandingPings: 10,
      })
      closesInOwnTurn(session)
      session.setLocalWindowSize(SESSION_WINDOW_BYTES)
      session.once('error', fail)
      onStream(session)
      session.once('remoteSettings', onSettings)
    }
    const end = (): void => {
      over = true
      stop()
      signal.removeEventListener('abort', onAbort)
      socket.off('error', fail)
      socket.off('close', onClose)
      session?.off('error', fail)
      session?.off('remoteSettings', onSettings)
    }
    const fail = (error: Error): void => {
      end()
      // Late errors of what is thrown away are nobody's.
      socket.on('error', () => {})
      session?.on('error', () => {})
      session?.destroy()
      socket.destroy()
      reject(error)
    }
    const onSettings = (): void => {
      end()
      if (session !== null) resolve(session)
    }
    const onClose = (): void => fail(new ServiceError('QB_REVERSE_PROTOCOL', `${where} closed the connection before ${step} came; is it a port that takes reverse connections over HTTP/2${options.tls === null ? '' : ", and does it know this end's certificate"}?`, { by: 'peer' }))
    const onAbort = (): void => fail(signal.reason as Error)
    const stop = after(options.connectTimeoutMs, () => fail(new ServiceError('QB_REVERSE_TIMEOUT', `${where}: ${step} did not come within ${options.connectTimeoutMs} ms`, { by: 'timeout' })))
    socket.once('error', fail)
    socket.once('close', onClose)
    if (signal.aborted) onAbort()
    else signal.addEventListener('abort', onAbort)
  })
}

function open({ host, port, tls }: CheckedHttp2Connect, onOpen: () => void): Socket {
  if (tls === null) return connect({ host, port }, onOpen)
  const socket = tlsConnect({
    host, port, servername: tls.serverName ?? (/^[\d.]+$|:/.test(host) ? '' : host), ALPNProtocols: ['h2'], rejectUnauthorized: tls.verify !== 'none',
    ...(tls.ca !== undefined && { ca: certificatePem(tls.ca) }), ...(tls.cert !== undefined && { cert: certificatePem(tls.cert) }), ...(tls.key !== undefined && { key: keyPem(tls.key) }),
  }, onOpen)
  return socket
}
