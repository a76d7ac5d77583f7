/**
 * Native errors become ours, here alone. The engine throws an `Error` whose message is the JSON of a `NativeError`; events carry the same object.
 * The class follows from the code, by the table of the public contract.
 */
import { ConnectionError, EndpointError, OptionError, PathError, QuicbraidError, ServiceError, StreamError } from '../errors/index.ts'
import type { ErrorCode, ErrorFacts } from '../errors/index.ts'
import type { JsonCode, NativeError } from './messages.ts'

type ErrorClass = new (code: ErrorCode, message: string, facts: ErrorFacts) => QuicbraidError

/** First match wins; longer names stand before their beginnings. */
const CLASSES: readonly (readonly [prefix: string, type: ErrorClass])[] = [
  ['QB_OPTION_', OptionError], ['QB_SCHEDULER_', OptionError], ['QB_TLS_IDENTITY', OptionError],
  ['QB_NATIVE_', EndpointError], ['QB_BIND_', EndpointError], ['QB_ENDPOINT_', EndpointError], ['QB_NOT_LISTENING', EndpointError],
  ['QB_ATTEMPT_', EndpointError], ['QB_RAW_', EndpointError], ['QB_CARRIER_', EndpointError],
  ['QB_PATH_', PathError],
  ['QB_STREAM_', StreamError], ['QB_DATAGRAM_', StreamError],
  ['QB_SIM_', ServiceError], ['QB_NAT_', ServiceError], ['QB_RELAY_', ServiceError], ['QB_PUNCH_', ServiceError], ['QB_TRAVERSAL_', ServiceError],
  ['QB_TUNNEL_', ServiceError], ['QB_REVERSE_', ServiceError], ['QB_LAB_', ServiceError], ['QB_QLOG_', ServiceError],
  ['QB_INTERNAL', QuicbraidError],
]

/** One of our classes from the object the engine sent. */
export function fromNative(error: NativeError, cause?: unknown, handshake?: ErrorFacts['handshake']): QuicbraidError {
  const { code, message } = error
  const Class = CLASSES.find(([prefix]) => code.startsWith(prefix))?.[1] ?? ConnectionError
  return new Class(code as ErrorCode, message, {
    errorCode: error.errorCode === undefined || error.errorCode === null ? null : codeFromJson(error.errorCode),
    codeName: error.codeName ?? null, by: error.by ?? null, layer: error.layer ?? null,
    path: error.path ?? null, field: error.field ?? null, value: error.value, cause, ...(handshake === undefined ? {} : { handshake }),
  })
}

/** Calls the engine; what it throws comes out as one of our classes. */
export function guarded<T>(call: () => T): T {
  try {
    return call()
  } catch (thrown) {
    throw fromThrown(thrown)
  }
}

/** What a native call threw. Anything but the agreed JSON is a broken invariant. */
export function fromThrown(thrown: unknown): QuicbraidError {
  const message = thrown instanceof Error ? thrown.message : String(thrown)
  if (message.startsWith('{')) {
    try {
      const error = JSON.parse(message) as Partial<NativeError>
      if (typeof error.code === 'string' && error.code.startsWith('QB_') && typeof error.message === 'string') return fromNative(error as NativeError)
    } catch {
      // Not JSON after all: reported below with its text.
    }
  }
  return new QuicbraidError('QB_INTERNAL', `the engine failed: ${message}; please report this with the versions of quicbraid and Node (${process.version})`, { errorCode: 1n, cause: thrown })
}

export function codeFromJson(code: JsonCode): bigint {
  return BigInt(code)
}
