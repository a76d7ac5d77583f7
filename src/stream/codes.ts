/** From errors to stream error codes and back, by the user's `streamCodes` or as they are. */
import { invalidOption, isCode } from '../config/index.ts'
import { ConnectionError, StreamError, isQuicbraidError } from '../errors/index.ts'
import type { StreamHost } from './host.ts'

/** H3_REQUEST_CANCELLED's number; what a stream is reset or stopped with when nobody gave a code. */
const CANCEL_CODE = 0x10cn

export function cancelCode(host: StreamHost): bigint {
  return host.codes.cancelCode === undefined ? CANCEL_CODE : BigInt(host.codes.cancelCode)
}

/** The code to send for a reason of the user's. */
export function codeOf(host: StreamHost, reason: unknown, side: 'read' | 'write'): bigint {
  if (host.codes.toCode !== undefined) {
    try {
      const code = host.codes.toCode(reason, side)
      if (isCode(code)) return BigInt(code)
      host.callbackFailed('streamCodes.toCode', invalidOption('streamCodes.toCode()', code, 'a whole number from 0 to 2^62 - 1'))
    } catch (error) {
      host.callbackFailed('streamCodes.toCode', error)
    }
  }
  if (isCode(reason)) return BigInt(reason)
  if (reason instanceof ConnectionError) return cancelCode(host)
  return isQuicbraidError(reason) && reason.errorCode !== null ? reason.errorCode : cancelCode(host)
}

/** A code given to `reset` or `stop`. @throws QB_OPTION_INVALID */
export function givenCode(host: StreamHost, code: number | bigint | undefined): bigint {
  if (code === undefined) return cancelCode(host)
  if (!isCode(code)) throw invalidOption('code', code, 'a whole number from 0 to 2^62 - 1')
  return BigInt(code)
}

/** Errors of the three ways a part is cut. */
export function cutError(host: StreamHost, stream: bigint, how: 'reset' | 'stopped', by: 'local' | 'peer', code: bigint): StreamError {
  const side = how === 'reset' ? 'read' : 'write'
  const qb = how === 'reset' ? 'QB_STREAM_RESET' : 'QB_STREAM_STOPPED'
  const who = by === 'peer' ? 'the peer' : 'this side'
  const verb = how === 'reset' ? 'reset' : 'stopped'
  const message = `stream ${stream} was ${verb} by ${who} with code 0x${code.toString(16)}; its ${side === 'read' ? 'bytes are incomplete' : 'unsent bytes were dropped'}`
  return new StreamError(qb, message, { stream, errorCode: code, by, layer: 'application', reason: reasonOf(host, code, side) })
}

function reasonOf(host: StreamHost, code: bigint, side: 'read' | 'write'): unknown {
  try {
    return host.codes.toReason?.(code, side)
  } catch (error) {
    host.callbackFailed('streamCodes.toReason', error)
    return undefined
  }
}

export function endedError(stream: bigint): StreamError {
  return new StreamError('QB_STREAM_ENDED', `stream ${stream} has been ended here; nothing can be written after end()`, { stream })
}

export function lockedError(stream: bigint, part: 'reading' | 'writing', inUse: string, wanted: string): StreamError {
  return new StreamError('QB_STREAM_LOCKED', `${part} of stream ${stream} is in use by ${inUse}; ${wanted} cannot be used as well: keep to one style a stream`, { stream })
}

/** Ends of a part that somebody may wait for: resolved, or rejected with the part's error. */
export type PartError = StreamError | ConnectionError
