/**
 * Requests joined to TCP, at both ends: a request stream to a connection that is dialled for it (`dial`), a TCP connection that has come to a request
 * stream that is opened for it (`listen --tcp`). Ends, resets and pace pass as in tunnels (tunnel.md §6, §7); a request that fails ends alone.
 */
import { connect } from 'node:net'
import type { BidirectionalStream } from '../../index.ts'
import { cutSocket, join, NODE_TCP, reasonOf, TunnelCode } from '../../tunnel/inner.ts'
import type { BridgeParts, BridgeReason, TcpSocket } from '../../tunnel/inner.ts'
import { nowMs, within } from '../clock.ts'
import type { TargetAddress } from './parse.ts'

/** What became of one request. */
export interface RequestReport {
  ok: boolean
  /** As bridges have it, or the front of HTTP; null: it ended in order. */
  reason: string | null
  /** What was said of it: an errno name of the system, a code of ours. */
  why: string | null
  /** Of the visitor. */
  bytesUp: number
  /** Of the service. */
  bytesDown: number
  ms: number
}

export interface TargetParts {
  stream: BidirectionalStream
  target: TargetAddress
  /** Of the dial. */
  timeoutMs: number
  /** What the target gets before anything else. */
  head: Uint8Array | null
}

export interface VisitorParts {
  socket: TcpSocket
  /** A request stream whose first bytes are the head; the signal: the visitor has gone. */
  open(signal: AbortSignal): Promise<BidirectionalStream>
}

type Way = Pick<BridgeParts, 'socket' | 'stream' | 'loans' | 'first' | 'up'>

/** At the private end: dials the target, joins, resolves when both sides have ended. Never rejects. */
export async function joinTarget({ stream, target, timeoutMs, head }: TargetParts): Promise<RequestReport> {
  const startMs = nowMs()
  const loans = stream.borrow()
  const first = loans.next()
  const lost = new AbortController()
  first.catch((error: unknown) => lost.abort(error))
  try {
    const socket = await dialTarget(target, timeoutMs, lost.signal)
    if (head !== null) socket.write(head)
    return await joined({ socket, stream, loans, first, up: 'to-socket' }, startMs)
  } catch (error) {
    const reason = lost.signal.aborted ? reasonOf(error) : 'connect'
    refuse(stream, TunnelCode.CONNECT)
    return failure(reason, error, startMs)
  }
}

/** At the public end: opens a request, joins, resolves when both sides have ended. Never rejects. */
export async function joinVisitor({ socket, open }: VisitorParts): Promise<RequestReport> {
  const startMs = nowMs()
  const gone = new AbortController()
  const onGone = (): void => gone.abort()
  socket.on('error', onGone).on('close', onGone)
  try {
    const stream = await open(gone.signal)
    if (gone.signal.aborted) {
      refuse(stream, TunnelCode.TCP)
      return failure('tcp', null, startMs)
    }
    const loans = stream.borrow()
    return await joined({ socket, stream, loans, first: loans.next(), up: 'to-stream' }, startMs)
  } catch (error) {
    cutSocket(socket)
    return failure(gone.signal.aborted ? 'tcp' : 'connect', error, startMs)
  } finally {
    socket.off('error', onGone).off('close', onGone)
  }
}

function joined(way: Way, startMs: number): Promise<RequestReport> {
  return new Promise((resolve) => {
    const entry: BridgeParts['entry'] = { tunnel: null, id: 0, bytesUp: 0, bytesDown: 0 }
    let reason: BridgeReason = 'end'
    const ledger = { tell: () => undefined, ended: (_: unknown, how: BridgeReason) => { reason = how } }
    const onOver = (): void => resolve({ ok: reason === 'end', reason: reason === 'end' ? null : reason, why: null, bytesUp: entry.bytesUp, bytesDown: entry.bytesDown, ms: nowMs() - startMs })
    join({ ...way, seen: 0, entry, ledger, onOver })
  })
}

/** @throws the system's error, ETIMEDOUT, the signal's reason */
export async function dialTarget(target: TargetAddress, timeoutMs: number, lost: AbortSignal): Promise<TcpSocket> {
  let socket: TcpSocket | undefined
  const connected = new Promise<void>((resolve, reject) => {
    const onEnd = (error: Error | null): void => (error === null ? resolve() : reject(error))
    lost.addEventListener('abort', () => reject(lost.reason as Error), { once: true })
    socket = target.kind === 'tcp' ? NODE_TCP.dial(target, onEnd) : dialUnix(target.path, onEnd)
    // Until the bridge listens. What it says of a connection that is there, the bridge sees by its end.
    socket.on('error', () => undefined)
  })
  try {
    await within(timeoutMs, connected, () => Object.assign(new Error('no answer'), { code: 'ETIMEDOUT' }))
    return socket as TcpSocket
  } catch (error) {
    if (socket !== undefined) cutSocket(socket)
    throw error
  }
}

function dialUnix(path: string, onEnd: (error: Error | null) => void): TcpSocket {
  const socket = connect({ path, allowHalfOpen: true })
  socket.once('error', onEnd).once('connect', () => onEnd(null))
  return socket
}

function refuse(stream: BidirectionalStream, code: bigint): void {
  stream.reset(code)
  stream.stop(code)
}

function failure(reason: BridgeReason, error: unknown, startMs: number): RequestReport {
  const { code } = (error ?? {}) as { code?: unknown }
  return { ok: false, reason, why: typeof code === 'string' ? code : null, bytesUp: 0, bytesDown: 0, ms: nowMs() - startMs }
}
