/** Options of the HTTP front and what it tells: types, checks, defaults. What each means stands in docs/spec/api.md §2.9. */
import type { ClientHttp2Session } from 'node:http2'
import type { Duplex } from 'node:stream'
import * as v from 'valibot'
import { check, invalidOption, parseAddress } from '../../config/index.ts'
import type { Pem } from '../../config/index.ts'

/** What a request needs of a way to its service. */
export interface FrontOpening {
  /** First bytes of the request (its head). `open` writes them, and may write them again on another way while nothing came back (reverse.md V47). */
  head: Uint8Array
  /** Aborted when the client has gone, or the front's patience has ended. */
  signal: AbortSignal
}

/** A way to the service with that key on which HTTP/1.1 is spoken; one request each. A rejection with a code of no connection becomes a 503. */
export type FrontOpen = (key: string, opening: FrontOpening) => Promise<Duplex>

/** The same where services are reached by HTTP/2: a session that takes a request. Never closed by the front. */
export type FrontSession = (key: string, options: { signal: AbortSignal }) => Promise<ClientHttp2Session>

export interface FrontIdentity {
  cert: Pem
  key: Pem
}

/** What becomes of X-Forwarded-For, -Host, -Proto and Forwarded that a client sent: thrown away, or believed and continued. */
export type Forwarded = 'replace' | 'append' | 'keep'

/** Bounds of a front; what goes beyond is refused and counted. */
export interface FrontLimits {
  /** TCP connections. @default 4096 */
  maxConnections: number
  /** Requests under way, upgraded ones included. @default 4096 */
  maxRequests: number
  /** Of one connection; by HTTP/1.1 those are sent ahead, and begun one after another. @default 100 */
  maxStreams: number
  /** Request line and header, in bytes. @default 32768 */
  maxHeaderBytes: number
  /** Lines of a header. @default 128 */
  maxHeaderLines: number
  /** For a whole header, for the first byte, and for a TLS handshake. @default 10000 */
  headerTimeoutMs: number
  /** A connection without a request. @default 60000 */
  keepAliveMs: number
  /** Until a way to the service is there. @default 10000 */
  openTimeoutMs: number
  /** From the last byte of a request to the head of the response. @default 60000 */
  responseTimeoutMs: number
  /** Of a body, in which no byte moved in either direction. @default 120000 */
  idleTimeoutMs: number
  /** The same of upgraded connections (WebSocket). @default 3600000 */
  upgradeIdleMs: number
}

export const FRONT_LIMITS: Readonly<FrontLimits> = Object.freeze({
  maxConnections: 4096, maxRequests: 4096, maxStreams: 100, maxHeaderBytes: 32_768, maxHeaderLines: 128, headerTimeoutMs: 10_000, keepAliveMs: 60_000,
  openTimeoutMs: 10_000, responseTimeoutMs: 60_000, idleTimeoutMs: 120_000, upgradeIdleMs: 3_600_000,
})

/** How requests are handed on; enough for a `Gateway`. */
export interface GatewayOptions {
  /** One of `open` and `session`. */
  open?: FrontOpen
  session?: FrontSession
  limits?: Partial<FrontLimits>
  /** @default 'replace' */
  forwarded?: Forwarded
  /** Of us, in Via. @default 'quicbraid' */
  name?: string
}

export interface HttpFrontOptions extends GatewayOptions {
  /** Without TLS: HTTP/1.1, and HTTP/2 of clients that know beforehand, on one port. At least one of `http` and `https`. */
  http?: string | readonly string[]
  /** With TLS: h2 and http/1.1 by ALPN. Needs `tls`. */
  https?: string | readonly string[]
  /** Identity, and others by server name: by table (`*.example.net` allowed), or asked each time. */
  tls?: FrontIdentity & { sni?: Readonly<Record<string, FrontIdentity>> | ((serverName: string) => FrontIdentity | undefined | Promise<FrontIdentity | undefined>) }
  /** Key by the name in TLS. @default none */
  keyFromSni?: (serverName: string) => string | undefined
  /** Key by Host or :authority, without the port, in lower case. @default keyFromSni */
  keyFromHost?: (host: string) => string | undefined
  /** Where neither knows one; undefined: 404. A function is asked each time. @default none */
  service?: string | (() => string | undefined)
}

/** One request that has ended. */
export interface FrontRequest {
  atMs: number
  type: 'request'
  method: string
  host: string
  path: string
  /** Null: the client had gone before there was one. */
  status: number | null
  /** Bodies, or both directions after an upgrade. */
  bytesUp: number
  bytesDown: number
  ms: number
  /** Key; null: none was found. */
  service: string | null
  protocol: 'http/1.0' | 'http/1.1' | 'h2'
  remote: string
  /** Why it ended early; null: it did not. */
  reason: FrontReason | null
}

export type FrontReason = 'client' | 'upstream' | 'no-connection' | 'no-service' | 'bad-request' | 'bad-response' | 'timeout' | 'limit' | 'shutdown'

export interface FrontStatistics {
  connections: number
  requestsOpen: number
  requestsTotal: number
  upgrades: number
  /** Requests that were sent once more since nothing of them had arrived. */
  retries: number
  bytesUp: number
  bytesDown: number
  /** Responses by first digit: '1xx' … '5xx'. */
  status: Readonly<Record<string, number>>
  /** By reason of `FrontRequest`, and by name of the limit that refused. */
  failed: Readonly<Record<string, number>>
  durations: Readonly<Record<'open' | 'response' | 'total', { count: number; totalMs: number; maxMs: number }>>
}

const whole = (min: number, max: number) => {
  const allowed = `a whole number from ${min} to ${max}`
  return v.optional(v.pipe(v.number(allowed), v.integer(allowed), v.minValue(min, allowed), v.maxValue(max, allowed)))
}
const MAX_MS = 2_147_483_647
const ms = () => whole(1, MAX_MS)
const strict = <const T extends v.ObjectEntries>(entries: T, message: string) => v.strictObject(Object.assign(Object.create(null), entries) as T, message)
const run = (allowed: string) => v.optional(v.custom<(...all: never[]) => unknown>((value) => typeof value === 'function', allowed))
const ADDRESS = "an address like '127.0.0.1:8080', port 0 for any, or a list of them"
const address = v.pipe(v.string(ADDRESS), v.check((text) => parseAddress(text) !== null, ADDRESS))
const addresses = () => v.optional(v.union([address, v.pipe(v.array(address), v.minLength(1, ADDRESS))], ADDRESS))
const PEM = 'PEM text or DER bytes, or a non-empty list of them'
const pemItem = v.custom<string | Uint8Array>((value) => (typeof value === 'string' || value instanceof Uint8Array) && value.length > 0, PEM)
const pem = () => v.union([pemItem, v.pipe(v.array(pemItem), v.minLength(1, PEM))], PEM)
const NAME = 'a token of 1 to 64 letters, digits, . or -'
const SERVICE = 'a service, or a function that tells it'

const GATEWAY = {
  open: run('a function that opens a way to a service'),
  session: run('a function that answers an HTTP/2 session'),
  forwarded: v.optional(v.picklist(['replace', 'append', 'keep'], "'replace', 'append' or 'keep'")),
  name: v.optional(v.pipe(v.string(NAME), v.regex(/^[\w.-]{1,64}$/, NAME))),
  limits: v.optional(strict({
    maxConnections: whole(1, 1_000_000), maxRequests: whole(1, 1_000_000), maxStreams: whole(1, 65_535), maxHeaderBytes: whole(1024, 1_048_576), maxHeaderLines: whole(8, 2000),
    headerTimeoutMs: ms(), keepAliveMs: ms(), openTimeoutMs: ms(), responseTimeoutMs: ms(), idleTimeoutMs: ms(), upgradeIdleMs: ms(),
  }, 'an object of limits')),
}
const FRONT = {
  ...GATEWAY,
  http: addresses(),
  https: addresses(),
  tls: v.optional(strict({
    cert: pem(), key: pem(),
    sni: v.optional(v.union([v.record(v.string(), strict({ cert: pem(), key: pem() }, 'an object { cert, key }')), v.custom<() => never>((value) => typeof value === 'function', 'a function')], 'an object of identities by name, or a function')),
  }, 'an object { cert, key, sni }')),
  keyFromSni: run('a function of the server name'),
  keyFromHost: run('a function of the host'),
  service: v.optional(v.union([v.string(SERVICE), v.custom<() => never>((value) => typeof value === 'function', SERVICE)], SERVICE)),
}

export interface CheckedGateway {
  open: FrontOpen | null
  session: FrontSession | null
  limits: FrontLimits
  forwarded: Forwarded
  name: string
}

/** @throws QB_OPTION_INVALID QB_OPTION_UNKNOWN */
export function checkGateway(options: GatewayOptions): CheckedGateway {
  return gatewayOf(check(strict(GATEWAY, 'an object of options'), options, '') as GatewayOptions)
}

export interface CheckedFront extends CheckedGateway {
  http: readonly string[]
  https: readonly string[]
  tls: HttpFrontOptions['tls']
  keyFromSni: (serverName: string) => string | undefined
  keyFromHost: (host: string) => string | undefined
  service: () => string | undefined
}

/** @throws QB_OPTION_INVALID QB_OPTION_UNKNOWN */
export function checkFront(options: HttpFrontOptions): CheckedFront {
  const { http = [], https = [], tls, keyFromSni = () => undefined, keyFromHost = keyFromSni, service, ...rest } = check(strict(FRONT, 'an object of options'), options, '') as HttpFrontOptions
  const [plain, secure] = [listOf(http), listOf(https)]
  if (plain.length + secure.length === 0) throw invalidOption('http', undefined, "an address like '127.0.0.1:8080' here or as `https`")
  if (secure.length > 0 && tls === undefined) throw invalidOption('tls', undefined, 'an object { cert, key }, since there is `https`')
  return { ...gatewayOf(rest), http: plain, https: secure, tls, keyFromSni, keyFromHost, service: typeof service === 'function' ? service : () => service }
}

function gatewayOf({ open, session, limits = {}, forwarded = 'replace', name = 'quicbraid' }: GatewayOptions): CheckedGateway {
  if ((open === undefined) === (session === undefined)) throw invalidOption('open', open, 'a function, here or as `session`, not both')
  return { open: open ?? null, session: session ?? null, limits: { ...FRONT_LIMITS, ...limits }, forwarded, name }
}

function listOf(value: string | readonly string[]): readonly string[] {
  return typeof value === 'string' ? [value] : value
}
