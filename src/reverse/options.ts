/** Options of both ends: types, checks, defaults. What each means stands in docs/spec/api.md §2.9 and docs/spec/reverse.md. */
import * as v from 'valibot'
import { check, checkCall, checkCombinations, checkConnection, checkTls, invalidOption, parseRelayed, splitPort } from '../config/index.ts'
import type { ConnectionOptions, Limits, PeerIdentity, Pem, ServerOptions, Waiting } from '../config/index.ts'
import { serviceOf } from '../endpoint/index.ts'
import type { Endpoint, EndpointService } from '../endpoint/index.ts'
import { MAX_NAME_BYTES, isName } from './names.ts'

/** Connections with this protocol belong to the public end that listens on their endpoint, and do not show up in `incoming()`. */
export const REVERSE_ALPN = 'qb-rev/1'

/** The idle timeout of both ends in PINGs (reverse.md V45). */
export const PINGS_PER_IDLE = 3
const PING_MS = 15_000
/** Between PINGs, at least. */
export const MIN_PING_MS = 100

/** 'fixed': 1 s for ever (V31). */
export type Retry = 'fixed' | {
  /** @default 1000 */
  minMs?: number
  /** @default 30000 */
  maxMs?: number
  /** @default 2 */
  factor?: number
  /** Share of a pause that is random, 0...1. @default 0.2 */
  jitter?: number
}

export interface ReverseConnectOptions {
  /** The public end: `name:port`, an address with a port, HAProxy's `rev@name:port`, or `RELAY-OUTER` where it is registered at a relay (with `connection.traversal`). */
  to: string
  /** That of `createDevCertificate()` does. */
  identity: { cert: Pem; key: Pem }
  /** 1 to 255 bytes. */
  service: string
  /** Connections that are kept, at most 256. @default 1 */
  pool?: number
  /** @default { minMs: 1000, maxMs: 30000, factor: 2, jitter: 0.2 } */
  retry?: Retry
  /** From dial to ACCEPT. @default 5000 */
  connectTimeoutMs?: number
  /** Between PINGs; what the public end asks for counts if it is less. @default 15000 */
  pingMs?: number
  connection?: ConnectionOptions
  /** @default one of its own */
  endpoint?: Endpoint
}

/** What a private end asks for. Nothing of it is proved. */
export interface Hello {
  version: number
  service: string
  pool: number
}

/** Bounds of a public end; what goes beyond is refused and counted. */
export interface ReverseLimits {
  /** Accepted connections. @default 1024 */
  maxConnections: number
  /** @default 256 */
  maxPerKey: number
  /** Connections that are not accepted yet; above half of it, and of `maxPendingPerPeer`, newcomers prove their address first. @default 64 */
  maxPending: number
  /** Of those, from one IPv4 address or IPv6 network of 64 bits. @default 8 */
  maxPendingPerPeer: number
  /** Requests that wait for a connection (`waitForMs`); the others fail at once. @default 1024 */
  maxWaiting: number
}

const LIMITS: ReverseLimits = { maxConnections: 1024, maxPerKey: 256, maxPending: 64, maxPendingPerPeer: 8, maxWaiting: 1024 }

export interface ReverseListenOptions {
  /** As of `Endpoint.bind`; in place of `endpoint`. */
  local?: string | readonly string[]
  /** One that listens with `qb-rev/1` among its protocols and asks clients for certificates; it stays open. In place of `local`, `cert`, `key`, `clientCa`, `pins` and `server`. */
  endpoint?: Endpoint
  cert?: Pem
  key?: Pem
  /** Who signs certificates of private ends; this or `pins`. */
  clientCa?: Pem
  /** Of certificates of private ends; this or `clientCa`. */
  pins?: readonly string[]
  /** A throw or rejection: REFUSE(AUTH); silence for `acceptTimeoutMs`: REFUSE(TIMEOUT). @default accept verified identities */
  accept?: (identity: PeerIdentity, hello: Hello) => void | Promise<void>
  /** Pool key; undefined or a throw: REFUSE(NAME). @default the service name, if it is among the certificate's names, spelled as there */
  poolKey?: (identity: PeerIdentity, hello: Hello) => string | undefined | Promise<string | undefined>
  /** The key for the server name of a connection that came from outside; undefined: there is none. @default the name itself */
  keyFromSni?: (serverName: string) => string | undefined
  /** @default { maxConnections: 1024, maxPerKey: 256, maxPending: 64, maxPendingPerPeer: 8, maxWaiting: 1024 } */
  limits?: Partial<ReverseLimits>
  /** From the end of the handshake to HELLO. @default 5000 */
  helloTimeoutMs?: number
  /** For `accept` and `poolKey` together, and for the private end to take up its work after ACCEPT. @default 5000 */
  acceptTimeoutMs?: number
  /** Longest time between PINGs that private ends are asked for; a third of the idle timeout. @default 15000 */
  pingMs?: number
  server?: Partial<ServerOptions>
}

const whole = (min: number, max: number) => {
  const allowed = `a whole number from ${min} to ${max}`
  return v.optional(v.pipe(v.number(allowed), v.integer(allowed), v.minValue(min, allowed), v.maxValue(max, allowed)))
}
const amount = (min: number, max: number) => {
  const allowed = `a number from ${min} to ${max}`
  return v.optional(v.pipe(v.number(allowed), v.minValue(min, allowed), v.maxValue(max, allowed)))
}
const strict = <const T extends v.ObjectEntries>(entries: T, message: string) => v.strictObject(Object.assign(Object.create(null), entries) as T, message)
const callback = () => v.optional(v.custom<() => unknown>((value) => typeof value === 'function', 'a function'))
const MAX_MS = 2_147_483_647
const MAX_POOL = 256

const REMOTE = "'name:port', an address with a port, or RELAY-OUTER of a public end that is registered at a relay"
const NAME = `a name of 1 to ${MAX_NAME_BYTES} bytes that can be read`
const name = v.pipe(v.string(NAME), v.check((text) => isName(text), NAME))

const CONNECT = strict({
  to: v.pipe(v.string(REMOTE), v.check((text) => (splitPort(withoutPrefix(text))?.port ?? 0) !== 0 || parseRelayed(text) !== null, REMOTE)),
  identity: v.looseObject({}, 'an object { cert, key }'),
  service: name,
  pool: whole(1, MAX_POOL),
  retry: v.optional(v.union([
    v.literal('fixed'), strict({ minMs: amount(1, MAX_MS), maxMs: amount(1, MAX_MS), factor: amount(1, 100), jitter: amount(0, 1) }, 'an object'),
  ], "'fixed' or an object { minMs, maxMs, factor, jitter }")),
  connectTimeoutMs: amount(1, 600_000),
  pingMs: amount(MIN_PING_MS, 600_000),
}, 'an object of options')

const LISTEN = strict({
  local: v.optional(v.union([v.string(), v.array(v.string())], 'an address with a port, or a list of them')),
  cert: v.optional(v.unknown()),
  key: v.optional(v.unknown()),
  clientCa: v.optional(v.unknown()),
  pins: v.optional(v.pipe(v.array(v.string('a pin'), 'a list of pins'), v.minLength(1, 'at least one pin'))),
  accept: callback(),
  poolKey: callback(),
  keyFromSni: callback(),
  limits: v.optional(strict({ maxConnections: whole(1, 65_536), maxPerKey: whole(1, MAX_POOL), maxPending: whole(1, 65_536), maxPendingPerPeer: whole(1, 65_536), maxWaiting: whole(0, 1_000_000) }, 'an object of limits')),
  helloTimeoutMs: amount(1, 600_000),
  acceptTimeoutMs: amount(1, 600_000),
  pingMs: amount(MIN_PING_MS, 600_000),
  server: v.optional(v.looseObject({}, 'options of a server')),
}, 'an object of options')

/** HAProxy writes `rev@` before a remote that is reached the other way round. */
function withoutPrefix(text: string): string {
  return text.replace(/^rev@/, '')
}

/** Pauses between attempts, all said. */
export interface Pauses {
  minMs: number
  maxMs: number
  factor: number
  jitter: number
}

export interface CheckedConnect {
  /** Without `rev@`. */
  remote: string
  identity: { cert: Pem; key: Pem }
  service: string
  pool: number
  retry: Pauses
  connectTimeoutMs: number
  pingMs: number
  connection: ConnectionOptions
  endpoint: Endpoint | null
}

/** What options of the connection say beside those of the endpoint is checked where it is made. @throws QB_OPTION_INVALID QB_OPTION_UNKNOWN QB_ENDPOINT_CLOSED */
export function checkConnect(options: ReverseConnectOptions): CheckedConnect {
  if (typeof options !== 'object' || options === null) throw invalidOption('', options, 'an object { to, identity, service }')
  const { endpoint, connection = {}, ...own } = options
  const { to, identity, service, pool = 1, retry = {}, connectTimeoutMs = 5000, pingMs = PING_MS } = check(CONNECT, own, '') as ReverseConnectOptions
  if (identity.cert === undefined || identity.key === undefined) throw invalidOption('identity', identity, 'an object { cert, key }')
  checkTls({ cert: identity.cert, key: identity.key }, 'identity')
  // What an endpoint's defaults may allow is not refused here.
  checkCombinations({ multipath: 'off', ...checkConnection(connection, 'connection') }, 'connection')
  if (connection.limits?.bidirectionalStreams === 0) throw invalidOption('connection.limits.bidirectionalStreams', 0, 'requests at once, at least 1')
  if (endpoint !== undefined) serviceOfEndpoint(endpoint).checkOpen()
  return { remote: withoutPrefix(to), identity: options.identity, service, pool, retry: pausesOf(retry), connectTimeoutMs, pingMs, connection, endpoint: endpoint ?? null }
}

function pausesOf(retry: Retry): Pauses {
  if (retry === 'fixed') return { minMs: 1000, maxMs: 1000, factor: 1, jitter: 0 }
  const { minMs = 1000, maxMs = 30_000, factor = 2, jitter = 0.2 } = retry
  if (maxMs < minMs) throw invalidOption('retry.maxMs', maxMs, `a number from minMs (${minMs}) on`)
  return { minMs, maxMs, factor, jitter }
}

export interface CheckedListen extends Required<Pick<ReverseListenOptions, 'helloTimeoutMs' | 'acceptTimeoutMs' | 'pingMs'>>, Pick<ReverseListenOptions, 'accept' | 'poolKey' | 'keyFromSni'> {
  limits: ReverseLimits
  /** What it listens on: the user's endpoint, or one to be bound. */
  on: { endpoint: Endpoint } | { local: readonly string[]; server: ServerOptions }
}

/** The server's own options are checked where it is made. @throws QB_OPTION_INVALID (also: neither `clientCa` nor `pins`) QB_OPTION_UNKNOWN QB_ENDPOINT_CLOSED */
export function checkListen(options: ReverseListenOptions): CheckedListen {
  if (typeof options !== 'object' || options === null) throw invalidOption('', options, 'an object { local, cert, key, clientCa } or { endpoint }')
  const { endpoint, ...rest } = options
  const { limits = {}, helloTimeoutMs = 5000, acceptTimeoutMs = 5000, pingMs = PING_MS, accept, poolKey, keyFromSni } = check(LISTEN, rest, '') as ReverseListenOptions
  const on = endpoint === undefined ? { local: localOf(options), server: serverOf(options, pingMs) } : { endpoint: alone(endpoint, options) }
  return { limits: { ...LIMITS, ...limits }, helloTimeoutMs, acceptTimeoutMs, pingMs, ...(accept && { accept }), ...(poolKey && { poolKey }), ...(keyFromSni && { keyFromSni }), on }
}

function localOf({ local }: ReverseListenOptions): readonly string[] {
  if (local === undefined || local.length === 0) throw invalidOption('local', local, "an address with a port, like '0.0.0.0:4433', or a list of them; or give an `endpoint`")
  return typeof local === 'string' ? [local] : [...local]
}

/** Of an endpoint of our own: clients show who they are or get REFUSE(AUTH) (V5), which says more than an alert of TLS. */
function serverOf({ cert, key, clientCa, pins, server = {} }: ReverseListenOptions, pingMs: number): ServerOptions {
  if (clientCa === undefined && pins === undefined) throw invalidOption('clientCa', undefined, 'certificates that sign those of private ends, or `pins` of theirs: nobody is accepted without a proof of who it is (reverse.md V5)')
  const limits: Limits = { idleTimeoutMs: PINGS_PER_IDLE * pingMs, ...server.limits, bidirectionalStreams: 1, unidirectionalStreams: 0 }
  return { retry: 'auto', ...server, ...(cert !== undefined && { cert }), ...(key !== undefined && { key }), ...(clientCa !== undefined && { ca: clientCa }), ...(pins !== undefined && { pins }), alpn: REVERSE_ALPN, clientAuth: 'request', earlyData: false, limits }
}

/** An endpoint of the user's has its own trust. @throws QB_OPTION_INVALID QB_ENDPOINT_CLOSED */
function alone(endpoint: Endpoint, options: ReverseListenOptions): Endpoint {
  for (const field of ['local', 'cert', 'key', 'clientCa', 'pins', 'server'] as const) if (options[field] !== undefined) throw invalidOption(field, options[field], 'nothing beside `endpoint`, whose `listen` says this')
  serviceOfEndpoint(endpoint).checkOpen()
  return endpoint
}

/** @throws QB_OPTION_INVALID */
export function serviceOfEndpoint(endpoint: Endpoint): EndpointService {
  const service = serviceOf(endpoint)
  if (service === undefined) throw invalidOption('endpoint', endpoint, 'an Endpoint of this copy of the package')
  return service
}

export interface RequestOptions {
  /** How long to wait for a connection with this key that has room for a stream. @default 0 */
  waitForMs?: number
  /** Opens on another connection what one cannot take any more, and with `head` also repeats that (V47). @default true */
  retryUnsent?: boolean
  /** First bytes of the request, at most 64 KiB; the promise resolves when the first of them is acknowledged or answered. Until then they may be sent again over another connection, and must not be changed. @default none: the stream is handed out at once */
  head?: Uint8Array
  /** In place of a key: that of `keyFromSni` for this name. */
  serverName?: string
}

export interface CheckedRequest {
  waitForMs: number
  retryUnsent: boolean
  head: Uint8Array | null
  serverName: string | null
  signal: AbortSignal | undefined
}

const MAX_HEAD_BYTES = 65_536
const AT_ONCE: CheckedRequest = Object.freeze({ waitForMs: 0, retryUnsent: true, head: null, serverName: null, signal: undefined })

/** @throws QB_OPTION_INVALID QB_OPTION_UNKNOWN */
export function checkRequest(options: (RequestOptions & Waiting) | undefined): CheckedRequest {
  if (options === undefined) return AT_ONCE
  checkCall(options, ['waitForMs', 'retryUnsent', 'head', 'serverName', 'signal'])
  const { waitForMs = 0, retryUnsent = true, head, serverName, signal } = options
  if (typeof waitForMs !== 'number' || !(waitForMs >= 0)) throw invalidOption('waitForMs', waitForMs, 'a number of milliseconds from 0')
  if (typeof retryUnsent !== 'boolean') throw invalidOption('retryUnsent', retryUnsent, 'true or false')
  if (head !== undefined && (!(head instanceof Uint8Array) || head.length === 0 || head.length > MAX_HEAD_BYTES)) throw invalidOption('head', head, `a Uint8Array of 1 to ${MAX_HEAD_BYTES} bytes`)
  if (serverName !== undefined && typeof serverName !== 'string') throw invalidOption('serverName', serverName, 'a name')
  return { waitForMs, retryUnsent, head: head ?? null, serverName: serverName ?? null, signal }
}
