/** Why one thing that a client was to carry could not be: whose spec it was, which server, what would help. Pure; keeps the code and the facts of the failure. */
import { asCommandError, CommandError } from '../exit.ts'
import { inFlags } from '../flags.ts'

/** Of `-L 8080:db:80`, say. */
export interface Wanted {
  /** As typed, with its flag. */
  spec: string
  /** Of the server, with its port. */
  remote: string
  /** Where to, as the server is asked; null: it is asked later, for each connection. */
  target: string | null
}

/** A failure of -L or -D. */
export function tunnelFailure(error: unknown, { spec, remote, target }: Wanted): CommandError {
  switch (codeOf(error)) {
    case 'QB_TUNNEL_REFUSED':
      return named(error, `${spec}: ${remote} does not let this client go ${target === null ? 'anywhere: nothing is in its --allow' : `to ${target}: its --allow has to have that, written the same way`}; or our certificate (--cert) has ended`)
    case 'QB_TLS_ALPN':
      return named(error, `${spec}: the server at ${remote} has no tunnels (it does not speak qb-tunnel/1); is it a \`quicbraid tunnel --server\`, and is this its port?`)
    case 'QB_TLS_CLIENT_CERTIFICATE':
      return named(error, `${spec}: ${remote} wants to see a certificate: --cert FILE --key FILE; \`quicbraid cert\` makes both, and prints the pin for its --client-pin`)
    case 'QB_TLS_ALERT':
      if (isAboutCertificate(error)) return named(error, unknownCertificate(spec, remote))
      return named(error, `${spec}: ${messageOf(error)}`)
    default: return named(error, `${nameOf(spec, error)}${messageOf(error)}`)
  }
}

/** A failure of -R, which is a reverse connection behind the scenes. */
export function remoteFailure(error: unknown, { spec, remote }: Wanted): CommandError {
  switch (codeOf(error)) {
    case 'QB_REVERSE_NAME': return named(error, `${spec}: ${remote} does not open this port for us: it is not in its --allow-listen, or in use there, or our certificate (--cert) has ended; its log says which`)
    case 'QB_REVERSE_NOT_SUPPORTED': return named(error, `${spec}: ${remote} opens no ports: it has no --allow-listen, or is no \`quicbraid tunnel --server\``)
    case 'QB_REVERSE_AUTH': return named(error, unknownCertificate(spec, remote))
    default: return named(error, `${nameOf(spec, error)}${messageOf(error).replace(/^service \S+: /, '').replaceAll('the public end at ', '').replaceAll('the public end', remote)}`)
  }
}

function unknownCertificate(spec: string, remote: string): string {
  return `${spec}: ${remote} does not know our certificate (--cert, --key): its --client-pin or --client-ca has to fit it`
}

/** The other end's TLS said so: bad_certificate to unknown_ca, access_denied (RFC 8446 §6.2). */
function isAboutCertificate(error: unknown): boolean {
  const { by, errorCode } = error as { by?: unknown; errorCode?: unknown }
  return by === 'peer' && typeof errorCode === 'bigint' && ((errorCode >= 0x12an && errorCode <= 0x130n) || errorCode === 0x131n)
}

/** In front of what went wrong: a network path that cannot be bound, and options, are nothing of the spec's. */
function nameOf(spec: string, error: unknown): string {
  const code = String(codeOf(error))
  if (code.startsWith('QB_OPTION_') || code === 'QB_TLS_IDENTITY') return ''
  return code === 'QB_BIND_FAILED' && messageOf(error).startsWith('cannot bind') ? '--path: ' : `${spec}: `
}

function named(error: unknown, message: string): CommandError {
  const { code, exit } = asCommandError(error, 'connecting')
  return new CommandError(code, exit, inFlags(message), { cause: error })
}

function codeOf(error: unknown): unknown {
  return ((error ?? {}) as { code?: unknown }).code
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
