/** What people are told of a TCP or TLS connection that could not be made: which end refused, and what to do; with codes that are ours. */
import { ConnectionError, ServiceError, isQuicbraidError } from '../../errors/index.ts'

/** Alerts by which a server says that a client's certificate is missing or not welcome. */
const NOT_WELCOME = /ALERT_(?:BAD_CERTIFICATE|UNSUPPORTED_CERTIFICATE|CERTIFICATE_REVOKED|CERTIFICATE_EXPIRED|CERTIFICATE_UNKNOWN|UNKNOWN_CA|ACCESS_DENIED|CERTIFICATE_REQUIRED|HANDSHAKE_FAILURE)$/
/** What Node says of a server's certificate that it does not believe. */
const NOT_BELIEVED = /^(?:ERR_TLS_CERT_|CERT_|CRL_|DEPTH_ZERO_|SELF_SIGNED_|UNABLE_TO_|INVALID_CA$|PATH_LENGTH_|HOSTNAME_MISMATCH$)/

/** The failure of an attempt at `where`. */
export function explained(error: unknown, where: string): Error {
  if (!(error instanceof Error) || isQuicbraidError(error)) return error instanceof Error ? error : new Error(String(error))
  const { code = '' } = error as { code?: string }
  const facts = { cause: error }
  if (code === 'ECONNREFUSED') return new ConnectionError('QB_CONNECT_REFUSED', `${where} refuses TCP connections; is this the port that takes reverse connections, and does it run?`, facts)
  if (code === 'ENOTFOUND' || code === 'EAI_AGAIN') return new ConnectionError('QB_RESOLVE_FAILED', `the name of ${where} cannot be looked up (${code})`, facts)
  if (NOT_WELCOME.test(code)) return new ServiceError('QB_REVERSE_AUTH', `the public end at ${where} does not accept the certificate of this end (${code}); show one that it knows`, { ...facts, by: 'peer' })
  if (NOT_BELIEVED.test(code)) return new ConnectionError('QB_TLS_CERTIFICATE', `the certificate of ${where} is not trusted (${code}); give its authority as tls.ca, and its name as tls.serverName`, { ...facts, by: 'local' })
  if (code.startsWith('ERR_SSL_') || code === 'EPROTO') return new ConnectionError('QB_TLS_ALERT', `no TLS with ${where} (${code}); does this port speak TLS?`, facts)
  return error
}
