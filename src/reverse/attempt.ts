/**
 * One attempt of a private end: from the dial to the public end's ACCEPT (reverse.md V4, V12, V13). Answers a connection that is reversed and whose
 * gate is open, or throws what people should know; then nothing of it is left.
 */
import { deferHandled } from '../config/index.ts'
import type { Timing } from '../config/index.ts'
import type { CloseInfo, Connection } from '../connection/index.ts'
import { ConnectionError, ServiceError, isQuicbraidError } from '../errors/index.ts'
import { ReverseCode } from './codes.ts'
import { ControlStream } from './control.ts'
import { explained, protocolError, refusedError } from './explain.ts'
import { PROTOCOL_VERSION } from './messages.ts'
import type { AcceptMessage, ControlMessage } from './messages.ts'
import { shown } from './names.ts'
import { grantStreams, openGate, reverse } from './polarity.ts'

export interface AttemptTerms {
  /** As people call the public end. */
  remote: string
  service: string
  /** Wanted, for HELLO. */
  pool: number
  timeoutMs: number
  /** Request streams that the public end may have open at once. */
  streams: number
  timing: Timing
  connect(signal: AbortSignal): Promise<Connection>
  tell(step: 'CONNECTING' | 'HANDSHAKED' | 'REVERSING', connection: Connection | null): void
}

export interface Reached {
  connection: Connection
  control: ControlStream
  accept: AcceptMessage
}

const STEPS = { CONNECTING: 'finding and reaching it', HANDSHAKED: 'opening the control stream', REVERSING: 'waiting for its ACCEPT' } as const

/** @throws what `connect` throws, QB_REVERSE_..., the reason of `stop` */
export async function attempt(terms: AttemptTerms, stop: AbortSignal): Promise<Reached> {
  const { remote, service, timeoutMs, timing } = terms
  const limit = new AbortController()
  const { signal } = limit
  let step: keyof typeof STEPS = 'CONNECTING'
  const enter = (next: keyof typeof STEPS, connection: Connection | null): void => {
    step = next
    terms.tell(next, connection)
  }
  const onStop = (): void => limit.abort(stop.reason)
  const late = (): Error => new ServiceError('QB_REVERSE_TIMEOUT', `service ${service}: the public end at ${remote} has not accepted it within ${timeoutMs} ms (connectTimeoutMs); it got to: ${STEPS[step]}`, {
    errorCode: ReverseCode.TIMEOUT, codeName: 'TIMEOUT', by: 'local', layer: 'application',
  })
  const stopTimer = timing.after(timeoutMs, () => limit.abort(late()))
  stop.addEventListener('abort', onStop)
  let connection: Connection | null = null
  try {
    stop.throwIfAborted()
    enter('CONNECTING', null)
    connection = await terms.connect(signal)
    signal.throwIfAborted()
    enter('HANDSHAKED', connection)
    const reached = await ask(connection, terms, signal, () => enter('REVERSING', connection))
    signal.throwIfAborted()
    return reached
  } catch (error) {
    const told = connection === null || signal.aborted ? error : await endOf(connection, error)
    connection?.destroy(undefined, { code: codeFor(error, stop) })
    throw explained(told, service, remote)
  } finally {
    stopTimer()
    stop.removeEventListener('abort', onStop)
  }
}

/** HELLO and its answer. With ACCEPT the ends change parts in the turn in which it is read (V20, V23). */
async function ask(connection: Connection, terms: AttemptTerms, signal: AbortSignal, onHello: () => void): Promise<Reached> {
  const { service, pool, streams } = terms
  const control = new ControlStream(await connection.openBidirectional({ signal }))
  onHello()
  // What becomes of it is told by the answer, or by the end of the connection.
  control.send({ type: 'hello', version: PROTOCOL_VERSION, service, pool }).catch(() => {})
  const answer = await answerOf(connection, control, service, signal)
  if (answer?.type !== 'accept') throw refusal(answer, terms)
  reverse(connection)
  grantStreams(connection, streams)
  openGate(connection)
  return { connection, control, accept: answer }
}

/** The end of the connection is heard beside the stream, whose reading may stand still (V24). */
async function answerOf(connection: Connection, control: ControlStream, service: string, signal: AbortSignal): Promise<ControlMessage | null> {
  const over = deferHandled<never>()
  void connection.closed.then((info) => over.reject(info.error ?? unaccepted(info)))
  const answer = control.next(signal)
  answer.catch(() => {})
  try {
    return await Promise.race([answer, over.promise])
  } catch (error) {
    throw isQuicbraidError(error) && error.code === 'QB_REVERSE_PROTOCOL' ? protocolError('its answer is malformed, or longer than 4 KiB', service) : error
  }
}

function refusal(answer: ControlMessage | null, { service, remote }: AttemptTerms): Error {
  if (answer?.type === 'refuse' || answer?.type === 'goaway') {
    const code = answer.code === ReverseCode.NONE ? ReverseCode.SHUTDOWN : answer.code
    return refusedError(code, { service, remote, text: answer.text })
  }
  return protocolError(answer === null ? 'the control stream ended before ACCEPT' : `${answer.type.toUpperCase()} came in place of ACCEPT or REFUSE`, service)
}

/** A stream that ended with its connection says less than that. */
async function endOf(connection: Connection, error: unknown): Promise<unknown> {
  if (connection.state !== 'closed') return error
  const info = await connection.closed
  return info.error ?? unaccepted(info)
}

/** An orderly end, which is none here. */
function unaccepted({ by, reason, errorCode, codeName, layer }: CloseInfo): Error {
  const who = by === 'local' ? 'this end' : 'the public end'
  return new ConnectionError('QB_CONNECTION_CLOSED', `the connection was closed by ${who} before it was accepted${reason === '' ? '' : ` ("${shown(reason)}")`}; its log may say why`, { by, errorCode, codeName, layer })
}

function codeFor(error: unknown, stop: AbortSignal): bigint {
  if (stop.aborted) return ReverseCode.SHUTDOWN
  return isQuicbraidError(error) && error.by === 'local' && error instanceof ServiceError && error.errorCode !== null ? error.errorCode : ReverseCode.NONE
}
