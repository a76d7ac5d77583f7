/**
 * The life of a connection: handshaking -> open -> closing -> closed, the three promises of it, and the error that calls get afterwards.
 * Knows the end once, from the engine or from `destroy`; whatever comes later is ignored.
 */
import { codeFromJson, fromNative } from '../binding/index.ts'
import type { NativeCloseInfo } from '../binding/index.ts'
import { LazyDeferred } from '../config/index.ts'
import type { Deferred } from '../config/index.ts'
import { ConnectionError } from '../errors/index.ts'
import type { CloseInfo, HandshakeEvent, HandshakeInfo } from './facts.ts'

export type ConnectionState = 'handshaking' | 'open' | 'closing' | 'draining' | 'closed'

export class Lifecycle {
  state: ConnectionState = 'handshaking'
  /** What calls on the ended connection throw; null while it lives. */
  error: ConnectionError | null = null
  readonly opened: Deferred<HandshakeInfo> = new LazyDeferred()
  /** Streams may be opened: the handshake is complete, or early data can be sent. */
  readonly usable: Deferred<void> = new LazyDeferred()
  readonly confirmed: Deferred<void> = new LazyDeferred()
  readonly closed: Deferred<CloseInfo> = new LazyDeferred()

  /** False if it has ended already, or was opened before. */
  open(info: HandshakeInfo): boolean {
    if (this.state === 'handshaking') this.state = 'open'
    else if (this.state !== 'closing') return false
    this.opened.resolve(info)
    this.usable.resolve()
    return true
  }

  /** For calls between `close()` and the end. */
  closingError(): ConnectionError {
    return new ConnectionError('QB_CONNECTION_CLOSED', 'the connection is being closed by this side; open a new one', { by: 'local', layer: 'application' })
  }

  /** The first end counts: answers the error for streams and callers, or null if it had ended before. */
  end(info: CloseInfo): ConnectionError | null {
    if (this.state === 'closed') return null
    this.state = 'closed'
    this.error = info.error ?? orderlyError(info)
    this.opened.reject(this.error)
    this.usable.reject(this.error)
    this.confirmed.reject(this.error)
    this.closed.resolve(info)
    return this.error
  }
}

/** `cause`: what a callback of the user's refused with, if that ended the connection. `handshake`: its steps, if it was not complete. */
export function closeInfo(info: NativeCloseInfo, cause?: unknown, handshake: readonly HandshakeEvent[] = []): CloseInfo {
  const error = info.error === null ? null : fromNative(info.error, info.error.code === 'QB_TLS_CERTIFICATE' ? cause : undefined, handshake)
  const known = error === null || error instanceof ConnectionError ? error : new ConnectionError(error.code, error.message, { cause: error, by: info.by, path: info.path, handshake })
  return { ...info, errorCode: codeFromJson(info.errorCode), error: known }
}

/** The end by `destroy()`, known before the engine has sent anything. */
export function destroyedInfo(code: bigint, reason: string, cause: unknown): CloseInfo {
  const codeName = `0x${code.toString(16)}`
  const message = `the connection was destroyed here with code ${codeName}; open a new one`
  const facts = { errorCode: code, codeName, by: 'local', layer: 'application' } as const
  return { by: 'local', layer: 'application', errorCode: code, codeName, reason, path: null, error: new ConnectionError('QB_CONNECTION_DESTROYED', message, { ...facts, cause }) }
}

function orderlyError(info: CloseInfo): ConnectionError {
  const who = info.by === 'local' ? 'this side' : 'the peer'
  const reason = info.reason === '' ? '' : ` (${info.reason})`
  return new ConnectionError('QB_CONNECTION_CLOSED', `the connection was closed by ${who}${reason}; open a new one`, { errorCode: info.errorCode, codeName: info.codeName, by: info.by, layer: info.layer, path: info.path })
}
