/**
 * Checked options of connections and servers, made ready for the engine. Absent fields stay absent: the engine owns its
 * defaults, except the send buffers, which JavaScript counts with.
 */
import type { TraversalOptions } from '../nat/index.ts'
import type { PathPolicy, PathPolicyName, Scheduler } from '../path/index.ts'
import type { JsonPem, NativeConnect, NativePathSpec, NativeServer, NativeTls, NativeTransport } from '../binding/index.ts'
import { formatAddress, parseAddress } from './address.ts'
import { refuseUnavailable } from './availability.ts'
import { invalidOption } from './check.ts'
import { checkCombinations } from './combine.ts'
import { judgeNumber } from './judges.ts'
import type { ConnectionOptions, Limits, Pem, PathSpec, ServerOptions, StreamCodes, TlsOptions, Verify } from './options.ts'
import { isOwnScheduler, refuseWithoutPlan, schedulerChoice } from './scheduler.ts'
import { checkConnection, checkServer } from './schema.ts'
import { nativeTraversal } from './traversal.ts'

/** `write` accepts so many unsent bytes by default (streams-over-ring S12). */
export const SEND_BUFFER_BYTES = 262_144
export const CONNECTION_SEND_BUFFER_BYTES = 8_388_608
const MAX_PATHS = 8
const VERIFY_TIMEOUT_MS = 5000

/** What the TypeScript side of a connection keeps of its options. */
export interface KeptOptions {
  sendBufferBytes: number
  connectionSendBufferBytes: number
  streamCodes: StreamCodes
  verify: Verify | null
  /** Whoever shows a certificate is looked at (`verify` is not 'none'). */
  verifies: boolean
  verifyTimeoutMs: number
  /** Paths that `paths.ready()` waits for. */
  wantedPaths: number
  maxPaths: number
  pathPolicy: PathPolicyName | PathPolicy
  /** The user's own. */
  scheduler: Scheduler | null
  /** null: off. */
  traversal: TraversalOptions | null
  /** What relays are judged by, and shown; null: off. */
  relayTls: TlsOptions | null
}

/** Options of the endpoint under those of the call; `limits` field by field. */
export function mergeOptions<T extends ConnectionOptions | ServerOptions>(defaults: ConnectionOptions, own: T): T {
  const limits: Limits = { ...defaults.limits, ...own.limits }
  return { ...defaults, ...own, limits }
}

/** Checks `connect` options whole. @throws QB_OPTION_INVALID QB_OPTION_UNKNOWN */
export function prepareConnect(defaults: ConnectionOptions, own: unknown, features: ReadonlySet<string>): ConnectionOptions {
  const options = mergeOptions(defaults, checkConnection(own ?? {}, ''))
  checkCombinations(options, '')
  refuseWithoutPlan(options.scheduler, features, 'scheduler')
  refuseUnavailable('connection', options, features, '')
  options.paths?.forEach((spec, index) => refuseUnavailable('path', spec, features, `paths[${index}]`))
  if (options.alpn === undefined) throw invalidOption('alpn', undefined, "a protocol name, e.g. 'hq-interop', or a list of them")
  return options
}

/** Checks `listen` options whole; client-only defaults of the endpoint do not count. @throws as `prepareConnect` */
export function prepareServer(defaults: ConnectionOptions, own: unknown, features: ReadonlySet<string>, field: string): ServerOptions {
  const { serverName: _name, paths: _paths, handshake: _handshake, firstVersion: _first, pathPolicy: _policy, ...shared } = defaults
  const options = mergeOptions<ServerOptions>(shared, checkServer(own, field))
  refusePolicy(options, field)
  checkCombinations(options, field)
  const at = (name: string): string => (field === '' ? name : `${field}.${name}`)
  refuseWithoutPlan(options.scheduler, features, at('scheduler'))
  refuseUnavailable('connection', options, features, field)
  if (options.alpn === undefined) throw invalidOption(at('alpn'), undefined, "a protocol name, e.g. 'hq-interop', or a list of them")
  if (options.cert === undefined && options.sni === undefined) throw invalidOption(at('cert'), undefined, 'PEM or DER of the certificate, with its `key`; for development createDevCertificate() makes both')
  const asks = (options.clientAuth ?? 'none') !== 'none'
  if (asks && options.halfRttData === true) throw invalidOption(at('halfRttData'), true, "false, or clientAuth 'none': data would go to clients that nobody has looked at")
  if (asks && options.ca === undefined && options.pins === undefined && (options.verify ?? 'default') === 'default') {
    throw invalidOption(at('clientAuth'), options.clientAuth, "with `ca`, `pins` or a `verify` function to check client certificates, or 'none'")
  }
  return options
}

/** Only a client opens paths. */
function refusePolicy(given: object, field: string): void {
  const options: { pathPolicy?: unknown } = given
  if (options.pathPolicy === undefined || options.pathPolicy === 'manual') return
  throw invalidOption(field === '' ? 'pathPolicy' : `${field}.pathPolicy`, options.pathPolicy, "'manual' at a server, which opens no paths; give it to `connect` at the other end")
}

/** What stays on this side. */
export function keptOptions(options: ConnectionOptions | ServerOptions): KeptOptions {
  return {
    sendBufferBytes: options.limits?.sendBufferBytes ?? SEND_BUFFER_BYTES,
    connectionSendBufferBytes: options.limits?.connectionSendBufferBytes ?? CONNECTION_SEND_BUFFER_BYTES,
    streamCodes: options.streamCodes ?? {},
    verify: typeof options.verify === 'function' ? options.verify : null,
    verifies: options.verify !== 'none',
    verifyTimeoutMs: options.verifyTimeoutMs ?? VERIFY_TIMEOUT_MS,
    wantedPaths: 'paths' in options ? (options.paths?.length ?? 1) : 1,
    maxPaths: options.maxPaths ?? MAX_PATHS,
    pathPolicy: ('pathPolicy' in options ? options.pathPolicy : undefined) ?? 'manual',
    scheduler: isOwnScheduler(options.scheduler) ? options.scheduler : null,
    ...traversalKept(options),
  }
}

function traversalKept(options: ConnectionOptions | ServerOptions): Pick<KeptOptions, 'traversal' | 'relayTls'> {
  if (options.traversal === undefined || options.traversal === false) return { traversal: null, relayTls: null }
  return { traversal: options.traversal, relayTls: options.traversal.relayTls ?? tlsOf(options) }
}

/** What says whom to trust, and who we are. */
export function tlsOf({ ca, pins, verify, verifyTimeoutMs, cert, key, ciphers }: ConnectionOptions | ServerOptions): TlsOptions {
  return defined({ ca, pins, verify, verifyTimeoutMs, cert, key, ciphers })
}

/** `session`: what earlier connections to the server left. */
export function nativeConnect(id: string, remotes: readonly string[], serverName: string, options: ConnectionOptions, session: { token: Uint8Array | null; ticket: boolean }): NativeConnect {
  const paths = (options.paths ?? [{}]).map(nativePath)
  const token = session.token === null ? undefined : Buffer.from(session.token).toString('hex')
  const candidates = Math.max(paths.length, remotes.length)
  const handshake = typeof options.handshake === 'object' ? { ...options.handshake } : { mode: options.handshake ?? (candidates > 1 ? 'stagger' : 'single') }
  return { id, remotes: [...remotes], serverName, tls: nativeTls(options, 'client'), transport: nativeTransport(options), paths, handshake, ticket: session.ticket, ...defined({ token }) }
}

/** The name under which a store keeps what a server gave. */
export function sessionKey(serverName: string, port: number, options: ConnectionOptions): string {
  return `${serverName}:${port}|${typeof options.alpn === 'string' ? options.alpn : (options.alpn ?? []).join(',')}`
}

export function nativeServer(options: ServerOptions): NativeServer {
  const { retry, maxConnections, multiAddressHandshake, newTokens, halfRttData } = options
  const preferredAddress = options.preferredAddress?.map(fullAddress)
  const tls = nativeTls(options, 'server')
  if (options.clientAuth !== undefined) tls.clientAuth = options.clientAuth
  if (options.sni !== undefined) {
    tls.sni = Object.fromEntries(Object.entries(options.sni).map(([name, own]) => [name, { cert: pemList(own.cert), key: pemOne(own.key) }]))
  }
  return { tls, transport: nativeTransport(options), ...defined({ retry, maxConnections, multiAddressHandshake, preferredAddress, newTokens, halfRttData }) }
}

export function nativePath(spec: PathSpec): NativePathSpec {
  const { interface: device, status, weight } = spec
  const local = spec.local === undefined ? undefined : fullAddress(spec.local)
  const remote = spec.remote === undefined ? undefined : fullAddress(spec.remote)
  return defined({ local, remote, interface: device, status, weight })
}

/** With its port, 0 if it names none. The address was checked before. */
export function fullAddress(text: string): string {
  const address = parseAddress(text)
  return address === null ? text : formatAddress(address)
}

function nativeTransport(options: ConnectionOptions | ServerOptions): NativeTransport {
  const { multipath, maxPaths, congestion, ackPath, ackFrequency, failover, spin, maxDatagramFrameBytes, greaseQuicBit, disableActiveMigration, hystart } = options
  const chosen = options.scheduler === undefined ? undefined : schedulerChoice(options.scheduler, 'scheduler')
  const scheduler = isOwnScheduler(chosen) ? undefined : chosen
  const plans = isOwnScheduler(chosen) && typeof chosen.plan === 'function' ? true : undefined
  const versions = options.versions === undefined ? undefined : [...options.versions]
  const { sendBufferBytes, connectionSendBufferBytes } = keptOptions(options)
  const { connectionIdBytes: _ofTheEndpoint, ...own } = options.limits ?? {}
  const limits = { ...defined(own), sendBufferBytes, connectionSendBufferBytes }
  const firstVersion = 'firstVersion' in options ? options.firstVersion : undefined
  const traversal = typeof options.traversal === 'object' ? nativeTraversal(options.traversal) : undefined
  return { limits, ...defined({ traversal, firstVersion, multipath, maxPaths, congestion, ackPath, ackFrequency, failover, spin, maxDatagramFrameBytes, greaseQuicBit, disableActiveMigration, hystart, scheduler, plans, versions }) }
}

function nativeTls(options: ConnectionOptions | ServerOptions, side: 'client' | 'server'): NativeTls {
  const tls: NativeTls = { alpn: typeof options.alpn === 'string' ? [options.alpn] : [...(options.alpn ?? [])] }
  if (options.cert !== undefined) tls.cert = pemList(options.cert)
  if (options.key !== undefined) tls.key = pemOne(options.key)
  if (options.pins !== undefined && options.pins.length > 0) tls.pins = options.pins.map((pin) => (pin.startsWith('sha256//') ? pin : pin.replaceAll(':', '').toLowerCase()))
  if (options.ciphers !== undefined) tls.ciphers = [...options.ciphers]
  if (options.earlyData !== undefined) tls.earlyData = options.earlyData
  if (typeof options.verify === 'function') tls.judge = judgeNumber(options.verify)
  else if (options.verify !== undefined) tls.verify = options.verify
  if (options.ca !== undefined) tls.ca = pemList(options.ca)
  else if (side === 'client' && tls.pins === undefined && tls.verify !== 'none') tls.ca = 'default'
  return tls
}

function pemList(pem: Pem): JsonPem[] {
  return (Array.isArray(pem) ? pem : [pem]).map(pemItem)
}

/** A key is one item; of a list the first (the check lets a list pass, since PEM files may hold several blocks). */
function pemOne(pem: Pem): JsonPem {
  return pemList(pem)[0] ?? ''
}

function pemItem(item: string | Uint8Array): JsonPem {
  if (typeof item === 'string') return item
  const start = Buffer.from(item.buffer, item.byteOffset, item.byteLength)
  return start.subarray(0, 11).toString('latin1') === '-----BEGIN ' ? start.toString('utf8') : { der: start.toString('base64') }
}

/** Without the fields that are undefined, so that JSON and spreads leave them out. */
export function defined<T extends object>(fields: T): { [K in keyof T]: Exclude<T[K], undefined> } {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined)) as never
}
