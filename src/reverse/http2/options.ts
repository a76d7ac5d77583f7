/** Options of reverse connections over TCP as HAProxy's `rhttp@` speaks them (HTTP/2, reverse.md §9), and what both ends tell. What each means stands in docs/spec/api.md §2.9. */
import type { ClientHttp2Session, IncomingHttpHeaders, ServerHttp2Stream } from 'node:http2'
import * as v from 'valibot'
import { check, invalidOption, parseAddress, splitPort } from '../../config/index.ts'
import type { Observable, Pem, Waiting } from '../../config/index.ts'
import { isName } from '../names.ts'
import type { Pauses, Retry } from '../options.ts'
import type { DiallerStatistics, PreconnectChange, PreconnectState, ReverseStatistics } from '../types.ts'

/** TLS of the TCP connection, at the end that dials. */
export interface ReverseHttp2Tls {
  /** @default Node's bundled roots */
  ca?: Pem
  cert?: Pem
  key?: Pem
  /** @default the name in `to` */
  serverName?: string
  /** 'none': whoever answers is believed. @default 'default' */
  verify?: 'default' | 'none'
}

export interface ReverseHttp2ConnectOptions {
  /** `name:port`, or as HAProxy writes it with `rev@` or `rhttp@` before. */
  to: string
  /** 'plain': TCP without TLS, which proves nobody's identity to anybody. */
  tls: ReverseHttp2Tls | 'plain'
  /** Connections that are kept, at most 256. @default 1 */
  pool?: number
  /** @default { minMs: 1000, maxMs: 30000, factor: 2, jitter: 0.2 } */
  retry?: Retry
  /** From dial to the SETTINGS of the other end. @default 5000 */
  connectTimeoutMs?: number
  /** PING of HTTP/2; three times as long without an answer ends the connection. @default 15000 */
  pingMs?: number
  /** Requests at once on a connection. @default 100 */
  streams?: number
}

/** Serves one request; a throw ends its stream with INTERNAL_ERROR. */
export type ReverseHttp2Handler = (stream: ServerHttp2Stream, headers: IncomingHttpHeaders, rawHeaders: readonly string[]) => void | Promise<void>

export interface ReverseHttp2Dialler extends AsyncDisposable {
  readonly state: PreconnectState
  /** Connections that take requests. */
  readonly size: number
  statistics(): DiallerStatistics
  /** The same as Prometheus text, names `quicbraid_reverse_http2_dial_*`. */
  prometheus(): string
  /** Only changes, with the reason. [H1] tick */
  readonly state$: Observable<PreconnectChange>
  /** Dials again after a `stop`; else nothing. */
  enable(): void
  /** Cancels the attempt, says GOAWAY, lets requests under way end for `drainMs`, closes. @throws QB_OPTION_INVALID QB_OPTION_UNKNOWN */
  stop(options?: { /** @default 2000 */ drainMs?: number }): Promise<void>
}

/** Bounds of a public end; what goes beyond is refused. */
export interface ReverseHttp2Limits {
  /** Accepted connections. @default 1024 */
  maxConnections: number
  /** @default 256 */
  maxPerKey: number
  /** Not accepted yet. @default 64 */
  maxPending: number
  /** Of those, from one address. @default 8 */
  maxPendingPerPeer: number
  /** Requests that wait for a connection. @default 1024 */
  maxWaiting: number
}

export interface ReverseHttp2Identity {
  /** DNS names of the certificate, else its common name. */
  names: readonly string[]
  /** SHA-256 of the certificate, 64 hex digits. */
  fingerprint: string
}

export interface ReverseHttp2ListenOptions {
  /** 'ip:port', or several. */
  local: string | readonly string[]
  /** `ca` signs the certificates of private ends, which must show one. 'anybody' and 'plain': whoever reaches the port is `service`. */
  tls: { cert: Pem; key: Pem; ca: Pem } | { cert: Pem; key: Pem; clients: 'anybody' } | 'plain'
  /** Key of connections; required where private ends show no certificate. @default the first name of the certificate */
  service?: string
  /** In place of `service`; undefined or a throw refuses. `identity` is null without a certificate. */
  poolKey?: (identity: ReverseHttp2Identity | null, remote: string) => string | undefined
  /** @default { maxConnections: 1024, maxPerKey: 256, maxPending: 64, maxPendingPerPeer: 8, maxWaiting: 1024 } */
  limits?: Partial<ReverseHttp2Limits>
  /** From TCP to the other end's SETTINGS. @default 5000 */
  helloTimeoutMs?: number
}

export interface ReverseHttp2Event {
  atMs: number
  type: 'accepted' | 'refused' | 'draining' | 'closed'
  /** Null: there was none yet. */
  key: string | null
  remote: string
  /** For people; '' for nothing special. */
  reason: string
  /** Connections with this key that take requests, afterwards. */
  size: number
}

export interface ReverseHttp2Listener extends AsyncDisposable {
  /** Really bound. */
  readonly local: readonly string[]
  /** [H0] tick */
  readonly events$: Observable<ReverseHttp2Event>
  /** Connections that take requests, by key. */
  sizes(): Readonly<Record<string, number>>
  /** `refused` is by reason, as over QUIC. */
  statistics(): Omit<ReverseStatistics, 'repeated'>
  /** The same as Prometheus text, names `quicbraid_reverse_http2_*`. */
  prometheus(): string
  /** A session with that key, or any: the one with the fewest requests under way that takes one more. Use it in the same turn; never close it. @throws QB_REVERSE_NO_CONNECTION QB_REVERSE_SHUTDOWN, the abort reason */
  session(key?: string, options?: Waiting & { /** @default 0 */ waitForMs?: number }): Promise<ClientHttp2Session>
  /** Says GOAWAY, lets requests under way end for `drainMs`. @throws QB_OPTION_INVALID QB_OPTION_UNKNOWN */
  close(options?: { /** @default 0 */ drainMs?: number }): Promise<void>
}

const LIMITS: ReverseHttp2Limits = { maxConnections: 1024, maxPerKey: 256, maxPending: 64, maxPendingPerPeer: 8, maxWaiting: 1024 }

const whole = (min: number, max: number) => {
  const allowed = `a whole number from ${min} to ${max}`
  return v.optional(v.pipe(v.number(allowed), v.integer(allowed), v.minValue(min, allowed), v.maxValue(max, allowed)))
}
const amount = (min: number, max: number) => {
  const allowed = `a number from ${min} to ${max}`
  return v.optional(v.pipe(v.number(allowed), v.minValue(min, allowed), v.maxValue(max, allowed)))
}
const strict = <const T extends v.ObjectEntries>(entries: T, message: string) => v.strictObject(Object.assign(Object.create(null), entries) as T, message)
const MAX_MS = 2_147_483_647
const REMOTE = "'name:port' or an address with a port"
const NAME = 'a name of 1 to 255 bytes that can be read'
const ADDRESS = "an address like '0.0.0.0:8443', or a list of them"
const PLAIN = "an object, or 'plain' for TCP without TLS"
const address = v.pipe(v.string(ADDRESS), v.check((text) => parseAddress(text) !== null, ADDRESS))
const PEM = 'PEM text or DER bytes, or a non-empty list of them'
const pemItem = v.custom<string | Uint8Array>((value) => (typeof value === 'string' || value instanceof Uint8Array) && value.length > 0, PEM)
const pem = () => v.union([pemItem, v.pipe(v.array(pemItem), v.minLength(1, PEM))], PEM)

const CONNECT = strict({
  to: v.pipe(v.string(REMOTE), v.check((text) => (splitPort(withoutPrefix(text))?.port ?? 0) !== 0, REMOTE)),
  tls: v.union([v.literal('plain'), strict({ ca: v.optional(pem()), cert: v.optional(pem()), key: v.optional(pem()), serverName: v.optional(v.string()), verify: v.optional(v.picklist(['default', 'none'])) }, PLAIN)], PLAIN),
  pool: whole(1, 256),
  retry: v.optional(v.union([v.literal('fixed'), strict({ minMs: amount(1, MAX_MS), maxMs: amount(1, MAX_MS), factor: amount(1, 100), jitter: amount(0, 1) }, 'an object')], "'fixed' or an object { minMs, maxMs, factor, jitter }")),
  connectTimeoutMs: amount(1, 600_000),
  pingMs: amount(10, 600_000),
  streams: whole(1, 65_535),
}, 'an object of options')

const LISTEN = strict({
  local: v.union([address, v.pipe(v.array(address), v.minLength(1, ADDRESS))], ADDRESS),
  tls: v.union([v.literal('plain'), strict({ cert: pem(), key: pem(), ca: pem() }, PLAIN), strict({ cert: pem(), key: pem(), clients: v.literal('anybody') }, PLAIN)], "an object { cert, key, ca } or { cert, key, clients: 'anybody' }, or 'plain'"),
  service: v.optional(v.pipe(v.string(NAME), v.check((text) => isName(text), NAME))),
  poolKey: v.optional(v.custom<() => never>((value) => typeof value === 'function', 'a function')),
  limits: v.optional(strict({ maxConnections: whole(1, 65_536), maxPerKey: whole(1, 65_536), maxPending: whole(1, 65_536), maxPendingPerPeer: whole(1, 65_536), maxWaiting: whole(0, 1_000_000) }, 'an object of limits')),
  helloTimeoutMs: amount(1, 600_000),
}, 'an object of options')

export interface CheckedHttp2Connect {
  host: string
  port: number
  tls: ReverseHttp2Tls | null
  pool: number
  retry: Pauses
  connectTimeoutMs: number
  pingMs: number
  streams: number
}

/** @throws QB_OPTION_INVALID QB_OPTION_UNKNOWN */
export function checkHttp2Connect(options: ReverseHttp2ConnectOptions): CheckedHttp2Connect {
  const { to, tls, pool = 1, retry = {}, connectTimeoutMs = 5000, pingMs = 15_000, streams = 100 } = check(CONNECT, options, '') as ReverseHttp2ConnectOptions
  if (tls !== 'plain' && (tls.cert === undefined) !== (tls.key === undefined)) throw invalidOption('tls.key', undefined, 'the key of `cert`, or neither of them')
  const { host, port } = splitPort(withoutPrefix(to)) ?? { host: '', port: 0 }
  return { host, port, tls: tls === 'plain' ? null : tls, pool, retry: pausesOf(retry), connectTimeoutMs, pingMs, streams }
}

export interface CheckedHttp2Listen {
  local: readonly string[]
  tls: Exclude<ReverseHttp2ListenOptions['tls'], 'plain'> | null
  poolKey: (identity: ReverseHttp2Identity | null, remote: string) => string | undefined
  limits: ReverseHttp2Limits
  helloTimeoutMs: number
}

/** @throws QB_OPTION_INVALID QB_OPTION_UNKNOWN */
export function checkHttp2Listen(options: ReverseHttp2ListenOptions): CheckedHttp2Listen {
  const { local, tls, service, poolKey, limits = {}, helloTimeoutMs = 5000 } = check(LISTEN, options, '') as ReverseHttp2ListenOptions
  const named = tls !== 'plain' && 'ca' in tls
  if (!named && service === undefined && poolKey === undefined) throw invalidOption('service', undefined, 'the name of the service that whoever comes to this port is, since nobody shows a certificate')
  const keyOf = poolKey ?? (service === undefined ? (identity: ReverseHttp2Identity | null) => identity?.names[0] : () => service)
  return { local: typeof local === 'string' ? [local] : local, tls: tls === 'plain' ? null : tls, poolKey: keyOf, limits: { ...LIMITS, ...limits }, helloTimeoutMs }
}

function pausesOf(retry: Retry): Pauses {
  if (retry === 'fixed') return { minMs: 1000, maxMs: 1000, factor: 1, jitter: 0 }
  const { minMs = 1000, maxMs = 30_000, factor = 2, jitter = 0.2 } = retry
  if (maxMs < minMs) throw invalidOption('retry.maxMs', maxMs, `a number from minMs (${minMs}) on`)
  return { minMs, maxMs, factor, jitter }
}

/** HAProxy's words before the address of a remote that is reached the other way round. */
function withoutPrefix(text: string): string {
  return text.replace(/^r(?:ev|http)@/, '')
}
