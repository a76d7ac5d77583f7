/** From our errors and ends of connections to js-quic's classes. The other way is never needed. */
import { ConnectionError, OptionError, isQuicbraidError } from '../index.ts'
import { ConnectionErrorCode } from './codes.ts'
import { RefusedByCallback } from './config.ts'
import {
  ErrorQUICClientSocketNotRunning, ErrorQUICConfig, ErrorQUICConnection, ErrorQUICConnectionIdleTimeout, ErrorQUICConnectionInternal, ErrorQUICConnectionLocal, ErrorQUICConnectionLocalTLS,
  ErrorQUICConnectionPeer, ErrorQUICConnectionPeerTLS,
} from './errors.ts'
import type { StopOptions } from './types.ts'

/** Of a `CloseInfo` or a `ConnectionError`. */
interface End {
  by: 'local' | 'peer' | 'timeout' | 'reset' | null
  layer: 'application' | 'transport' | null
  errorCode: bigint | null
  reason: string
  cause: unknown
}

/** The error of a connection that has ended. */
export function endError(info: { by: End['by']; layer: End['layer']; errorCode: bigint; reason: string; error: ConnectionError | null }): ErrorQUICConnection {
  return classify({ ...info, cause: info.error ?? undefined })
}

/** The error of a connection that did not come about. What is no error of ours (the reason of an abort) passes as it is. */
export function connectError(error: unknown): unknown {
  if (!isQuicbraidError(error)) return error
  if (error instanceof OptionError) return new ErrorQUICConfig(error.message, { cause: error })
  if (error.code === 'QB_ENDPOINT_CLOSED') return new ErrorQUICClientSocketNotRunning(error.message, { cause: error })
  if (error instanceof ConnectionError && error.by !== null) return classify({ by: error.by, layer: error.layer, errorCode: error.errorCode, reason: error.message, cause: error })
  return new ErrorQUICConnection(error.message, { cause: error })
}

/** The error of an end that this side asks for. */
export function stopError({ isApp = true, errorCode = 0, reason = new Uint8Array() }: StopOptions): ErrorQUICConnectionLocal {
  return new ErrorQUICConnectionLocal(`closed here with ${isApp ? 'application' : 'transport'} code ${errorCode}`, { data: { isApp, errorCode, reason } })
}

/** What goes out for it: codes of the transport cannot be chosen, those of the application can. */
export function closeOptions({ isApp = true, errorCode = 0, reason = new Uint8Array() }: StopOptions): { code: number; reason: string } {
  return { code: isApp ? errorCode : Number(ConnectionErrorCode['InternalError']), reason: shortText(reason) }
}

/** As much of it as a CONNECTION_CLOSE of ours carries. */
function shortText(bytes: Uint8Array): string {
  let text = Buffer.from(bytes.subarray(0, 1024)).toString('utf8')
  while (Buffer.byteLength(text) > 1024) text = text.slice(0, -1)
  return text
}

function classify({ by, layer, errorCode, reason, cause }: End): ErrorQUICConnection {
  const isTls = layer === 'transport' && errorCode !== null && errorCode >= 0x100n && errorCode < 0x200n
  const data = { isApp: layer === 'application', errorCode: refusal(cause) ?? Number(errorCode ?? 0n), reason: new TextEncoder().encode(reason) }
  const what = `${data.isApp ? 'application' : 'transport'} code ${data.errorCode}${reason === '' ? '' : `: ${reason}`}`
  switch (by) {
    case 'timeout': return new ErrorQUICConnectionIdleTimeout(reason, { cause })
    case 'local': return new (isTls ? ErrorQUICConnectionLocalTLS : ErrorQUICConnectionLocal)(`closed here with ${what}`, { data, cause })
    case 'peer':
    case 'reset': return new (isTls ? ErrorQUICConnectionPeerTLS : ErrorQUICConnectionPeer)(`closed by the peer with ${what}`, { data, cause })
    default: return new ErrorQUICConnectionInternal(reason, { cause })
  }
}

/** What a `verifyCallback` answered, if that is why. */
function refusal(error: unknown): number | null {
  const cause = error instanceof Error ? error.cause : undefined
  return cause instanceof RefusedByCallback ? cause.alert : null
}
