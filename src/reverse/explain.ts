/**
 * What a private end tells people of a failed attempt or a lost connection: which end refused, and what to do. Also which failures need a person
 * (reverse.md V3, V32). Decides nothing else.
 */
import { ConnectionError, ServiceError, isQuicbraidError } from '../errors/index.ts'
import { ReverseCode, reasonOf, reverseError } from './codes.ts'
import { shown } from './names.ts'
import type { Outlook } from './preconnector.ts'

/** Alerts by which a server says that a client's certificate is missing or not welcome (RFC 8446 §6.2): bad_certificate to unknown_ca, access_denied, certificate_required. */
const CERTIFICATE_ALERTS: ReadonlySet<bigint> = new Set([42n, 43n, 44n, 45n, 46n, 48n, 49n, 116n].map((alert) => 0x100n + alert))

/** What a public end means by a code of REFUSE, GOAWAY or CLOSE, and what to do. */
const REFUSED: ReadonlyMap<bigint, string> = new Map<bigint, string>([
  [ReverseCode.PROTOCOL, 'does not understand this end; are both of the same version?'],
  [ReverseCode.WRONG_WAY, 'says that this end opened a stream although it may not; are both of the same version?'],
  [ReverseCode.AUTH, 'does not accept this certificate; show one that it knows'],
  [ReverseCode.NAME, 'does not give this service to this certificate; ask for a name that the certificate has, or have the name allowed there'],
  [ReverseCode.FULL, 'has as many connections as it may; keep a smaller pool, or have its limits raised'],
  [ReverseCode.TIMEOUT, 'says that this end took too long'],
  [ReverseCode.SHUTDOWN, 'is being stopped, or drains this service; it is tried again'],
  [ReverseCode.BUSY, 'has too much to do; it is tried again'],
])

/** The public end's no, with its own words if it has said some. A code that is none of ours counts as PROTOCOL. */
export function refusedError(code: bigint, { service, remote, text = '', cause }: { service: string; remote: string; text?: string; cause?: unknown }): ServiceError {
  const { code: qb, codeName } = reverseError(code, { service, by: 'peer' })
  const said = text === '' ? '' : ` ("${shown(text)}")`
  const words = REFUSED.get(code) ?? `ended it with code 0x${code.toString(16)}, which says nothing here; are both of the same version?`
  return new ServiceError(qb, `service ${service}: the public end at ${remote} ${words}${said}`, { errorCode: code, codeName, by: 'peer', layer: 'application', cause })
}

/** What the public end said is no message, or not one of its. */
export function protocolError(what: string, service: string): ServiceError {
  return new ServiceError('QB_REVERSE_PROTOCOL', `service ${service}: this end does not understand the public end: ${what}; are both of the same version?`, { errorCode: ReverseCode.PROTOCOL, codeName: 'PROTOCOL', by: 'local', layer: 'application' })
}

const CONNECT_ADVICE = 'raise limits.handshakeTimeoutMs'

/** The failure in words of reverse connections, where they say more. */
export function explained(error: unknown, service: string, remote: string): Error {
  if (!isQuicbraidError(error) || error instanceof ServiceError) return error instanceof Error ? error : new ServiceError('QB_REVERSE_SHUTDOWN', String(error))
  const facts = { errorCode: error.errorCode, codeName: error.codeName, by: error.by, layer: error.layer, cause: error }
  if (error.code === 'QB_TLS_ALPN') {
    return new ServiceError('QB_REVERSE_NOT_SUPPORTED', `service ${service}: the server at ${remote} takes no reverse connections (it does not speak qb-rev/1); is it the public end, and is this its port?`, facts)
  }
  // The limit of an attempt is `connectTimeoutMs`: the advice of connections would change nothing.
  if (error.code === 'QB_CONNECT_TIMEOUT' && error instanceof ConnectionError && error.message.includes(CONNECT_ADVICE)) {
    return new ConnectionError(error.code, error.message.replace(CONNECT_ADVICE, 'give it more time (connectTimeoutMs)'), { ...facts, handshake: error.handshake })
  }
  const byPeer = error.by === 'peer'
  if (error.code === 'QB_TLS_CLIENT_CERTIFICATE' || (byPeer && error.code.startsWith('QB_TLS_') && CERTIFICATE_ALERTS.has(error.errorCode ?? -1n))) {
    return new ServiceError('QB_REVERSE_AUTH', `service ${service}: the public end at ${remote} does not accept this certificate (${error.message}); show one that it knows`, facts)
  }
  const known = error.errorCode !== null && error.errorCode !== ReverseCode.NONE && reasonOf(error.errorCode) !== null
  if (byPeer && error.layer === 'application' && known) return refusedError(error.errorCode as bigint, { service, remote, cause: error })
  return error as Error
}

const FOR_PEOPLE: ReadonlySet<string> = new Set([
  'QB_REVERSE_AUTH', 'QB_REVERSE_NAME', 'QB_REVERSE_NOT_SUPPORTED', 'QB_TLS_CERTIFICATE', 'QB_TLS_NAME', 'QB_TLS_IDENTITY', 'QB_OPTION_INVALID', 'QB_OPTION_UNKNOWN', 'QB_NATIVE_MISSING',
])

/** V32: what nobody can mend but a person is not tried again soon. */
export function outlookOf(error: unknown): Outlook {
  return isQuicbraidError(error) && FOR_PEOPLE.has(error.code) ? 'person' : 'again'
}
