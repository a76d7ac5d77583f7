/**
 * What `sendRaw` sends and what it refuses: datagrams of the application's own protocol (STUN, punches) from a socket of the endpoint. They
 * must be told from QUIC by their first byte: 0 to 63 (RFC 9443 has the ranges of what shares a socket with QUIC).
 */
import type { Engine } from '../binding/index.ts'
import { checkCall, formatAddress, invalidOption, isUnspecified, parseAddress, show, unavailableOption } from '../config/index.ts'
import type { Address, Bytes } from '../config/index.ts'
import { EndpointError } from '../errors/index.ts'

/** First bytes from here on belong to QUIC, as this endpoint reads them. */
const QUIC_FROM = 0x40

export interface RawOptions {
  /** A bound address to send from. @default the first socket of the remote's family */
  local?: string
  /** IP time to live, 1 to 255. @default the system's, usually 64 */
  ttl?: number
}

/** `most`: bytes of a datagram. @throws QB_RAW_REFUSED QB_OPTION_INVALID QB_OPTION_UNKNOWN */
export function sendRaw({ engine, features }: { engine: Engine; features: ReadonlySet<string> }, most: number, remote: string, bytes: Bytes, options: RawOptions): void {
  if (!features.has('raw')) throw unavailableOption('sendRaw', undefined)
  checkCall(options, ['local', 'ttl'])
  const { local, ttl = 0 } = options
  if (!(bytes instanceof Uint8Array)) throw invalidOption('bytes', bytes, 'a Uint8Array or Buffer; encode text with TextEncoder')
  if (options.ttl !== undefined && !(Number.isInteger(ttl) && ttl >= 1 && ttl <= 255)) throw invalidOption('ttl', ttl, 'a whole number from 1 to 255')
  const [first = 0] = bytes
  const refused = (why: string): EndpointError => new EndpointError('QB_RAW_REFUSED', `the datagram to ${show(remote)} was not sent: ${why}`, { value: { remote, firstByte: bytes[0] ?? null } })
  if (first >= QUIC_FROM) throw refused(`it begins with 0x${first.toString(16)}, as QUIC does; begin with a byte below 0x40`)
  if (bytes.length > most) throw refused(`it has ${bytes.length} bytes; at most ${most} fit`)
  const target = typeof remote === 'string' && !remote.includes('%') ? parseAddress(remote) : null
  if (target === null || target.port === 0 || isUnspecified(target.host)) throw refused('that is no address with a port; names are not looked up here')
  const from = local === undefined || String(local).includes('%') ? null : parseAddress(String(local))
  if (local !== undefined && from === null) throw invalidOption('local', local, 'a bound address')
  if (!engine.local().some((bound) => canSend(parseAddress(bound), target, from))) {
    throw refused(from === null ? `no IPv${target.family} socket is bound; pass \`local\` to bind()` : `${local} is not bound`)
  }
  engine.outbox.raw(formatAddress(target), from === null ? '' : formatAddress(from), bytes, ttl)
}

/** A socket bound to `bound` reaches `target`, from `from` if that is given. */
function canSend(bound: Address | null, target: Address, from: Address | null): boolean {
  if (bound === null || bound.family !== target.family) return false
  if (from === null) return true
  const sameHost = bound.host === from.host || isUnspecified(bound.host) || isUnspecified(from.host)
  return from.family === bound.family && sameHost && (from.port === 0 || from.port === bound.port)
}
