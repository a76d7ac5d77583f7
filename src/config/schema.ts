/**
 * What each option may be: types, ranges, names. A schema's message reads after "allowed: ".
 * Combinations are checked in `combine.ts`, what this build lacks in `availability.ts`.
 */
import { BlockList } from 'node:net'
import * as v from 'valibot'
import type { CarrierBurst } from '../binding/index.ts'
import type { PathPolicy, PathPolicyName } from '../path/index.ts'
import { familyOf, parseAddress } from './address.ts'
import { check } from './check.ts'
import type { Clock } from './clock.ts'
import { traversalSchema } from './traversal.ts'
import type { CarrierOptions, CloseOptions, ConnectionOptions, DevCertificateOptions, EndpointOptions, PathSpec, ServerOptions, SessionStore, TlsOptions } from './options.ts'

const MEBIBYTE = 1_048_576

/** Entries without a prototype: whatever somebody put onto Object.prototype is no option name. */
const strict = <const T extends v.ObjectEntries>(entries: T, message?: string) => v.strictObject(Object.assign(Object.create(null), entries) as T, message)

const whole = (min: number, max: number) => {
  const allowed = `a whole number from ${min} to ${max}`
  return v.pipe(v.number(allowed), v.integer(allowed), v.minValue(min, allowed), v.maxValue(max, allowed))
}
const amount = (min: number, max: number, unit: string) => {
  const allowed = `a number${unit} from ${min} to ${max}`
  return v.pipe(v.number(allowed), v.minValue(min, allowed), v.maxValue(max, allowed))
}
const names = <const T extends readonly string[]>(list: T) => v.picklist(list, list.map((name) => `'${name}'`).join(', '))
const flag = () => v.boolean('true or false')
const text = (allowed: string, max = 1024) => v.pipe(v.string(allowed), v.minLength(1, allowed), v.maxLength(max, allowed))
const callback = <T>() => v.custom<T>((value) => typeof value === 'function', 'a function')
const bytes = (min: number, max: number) =>
  v.custom<Uint8Array>((value) => value instanceof Uint8Array && value.length >= min && value.length <= max, min === max ? `a Uint8Array of ${min} bytes` : `a Uint8Array of ${min} to ${max} bytes`)

const ADDRESS = "an address like '192.0.2.7', '192.0.2.7:4433' or '[2001:db8::1]:4433'"
const address = () => v.pipe(v.string(ADDRESS), v.check((value) => parseAddress(value) !== null, ADDRESS))
const REMOTE = `${ADDRESS}, or a peer behind a relay like '203.0.113.1:4434-198.51.100.7:5000'`
const remote = () => v.pipe(v.string(REMOTE), v.check((value) => familyOf(value) !== null, REMOTE))
const PREFERRED = 'at most one ip:port of each family, such as 192.0.2.7:4433'
const isOneOfEach = (addresses: string[]): boolean => {
  const parsed = addresses.map(parseAddress)
  return parsed.every((one) => one !== null && one.port !== 0) && new Set(parsed.map((one) => one?.family)).size === parsed.length
}
const milliseconds = (max = 2_147_483_647) => amount(0, max, ' of milliseconds')

const PEM = 'PEM text or DER bytes, or a non-empty list of them'
const pemItem = v.custom<string | Uint8Array>((value) => (typeof value === 'string' || value instanceof Uint8Array) && value.length > 0, PEM)
const pem = () => v.union([pemItem, v.pipe(v.array(pemItem), v.minLength(1, PEM))], PEM)

const ALPN = "a protocol name of 1 to 255 characters, e.g. 'hq-interop', or a list of 1 to 32 such names without repeats"
const alpnItem = v.pipe(v.string(ALPN), v.minLength(1, ALPN), v.check((value) => Buffer.byteLength(value) <= 255, ALPN))
const alpn = () => v.union([alpnItem, v.pipe(v.array(alpnItem), v.minLength(1, ALPN), v.maxLength(32, ALPN), v.check((list) => new Set(list).size === list.length, ALPN))], ALPN)

const PIN = "'sha256//' and 44 base64 characters, or 64 hex digits"
const pin = v.pipe(v.string(PIN), v.regex(/^(?:sha256\/\/[A-Za-z0-9+/]{43}=|(?:[0-9a-fA-F]{2}:?){31}[0-9a-fA-F]{2})$/, PIN))

const tls = {
  alpn: v.optional(alpn()),
  cert: v.optional(pem()),
  key: v.optional(pem()),
  ca: v.optional(pem()),
  pins: v.optional(v.pipe(v.array(pin, `a list of ${PIN}`), v.maxLength(64, 'at most 64 pins'))),
  verify: v.optional(v.union([names(['default', 'none']), callback<never>()], "'default', 'none' or a function")),
  verifyTimeoutMs: v.optional(milliseconds()),
  ciphers: v.optional(v.pipe(v.array(names(['aes-128-gcm', 'aes-256-gcm', 'chacha20-poly1305'])), v.minLength(1, 'at least one cipher'))),
}

const STATUS = names(['available', 'backup'])

const pathSpec = strict({
  local: v.optional(address()),
  remote: v.optional(remote()),
  interface: v.optional(text('an interface name of 1 to 15 characters', 15)),
  status: v.optional(STATUS),
  weight: v.optional(amount(0.001, 1000, '')),
}, "an object { local, remote, interface, status, weight }")

const POLICY_NAMES: readonly unknown[] = ['manual', 'all-interfaces', 'backup', 'happy-eyeballs'] satisfies PathPolicyName[]
const POLICIES = `${POLICY_NAMES.map((name) => `'${String(name)}'`).join(', ')}, or an object { name, decide }`

const MODES = ['single', 'stagger', 'race', 'shared', 'independent'] as const

const limits = strict({
  handshakeTimeoutMs: v.optional(amount(1, 600_000, ' of milliseconds')),
  idleTimeoutMs: v.optional(milliseconds()),
  keepAliveMs: v.optional(milliseconds()),
  bidirectionalStreams: v.optional(whole(0, 1_000_000)),
  unidirectionalStreams: v.optional(whole(0, 1_000_000)),
  streamWindowBytes: v.optional(whole(16_384, 1024 * MEBIBYTE)),
  maxStreamWindowBytes: v.optional(whole(16_384, 1024 * MEBIBYTE)),
  connectionWindowBytes: v.optional(whole(16_384, 1024 * MEBIBYTE)),
  maxConnectionWindowBytes: v.optional(whole(16_384, 1024 * MEBIBYTE)),
  sendBufferBytes: v.optional(whole(4_096, 1024 * MEBIBYTE)),
  connectionSendBufferBytes: v.optional(whole(16_384, 1024 * MEBIBYTE)),
  maxAckDelayMs: v.optional(amount(0, 16_383, ' of milliseconds')),
  initialMtuBytes: v.optional(whole(1200, 65_507)),
  maxMtuBytes: v.optional(whole(1200, 65_507)),
  connectionIdBytes: v.optional(whole(0, 20)),
}, 'an object of limits')

const TRAVERSAL = traversalSchema(strict(tls, 'an object of TLS options'))

const transport = {
  pathPolicy: v.optional(v.custom<PathPolicyName | PathPolicy>(isPolicy, POLICIES)),
  multipath: v.optional(names(['auto', 'off', 'require', 'shared-space'])),
  maxPaths: v.optional(whole(1, 8)),
  scheduler: v.optional(v.unknown()), // by `scheduler.ts`
  congestion: v.optional(names(['cubic', 'newreno', 'bbr3', 'lia', 'olia', 'balia'])),
  ackPath: v.optional(names(['same', 'fastest'])),
  ackFrequency: v.optional(flag()),
  failover: v.optional(strict({ maxStallMs: v.optional(milliseconds()), abandonAfterMs: v.optional(milliseconds()) }, 'an object { maxStallMs, abandonAfterMs }')),
  limits: v.optional(limits),
  versions: v.optional(v.pipe(v.array(names(['v1', 'v2'])), v.minLength(1, 'at least one version'), v.maxLength(2, 'at most two versions'))),
  earlyData: v.optional(flag()),
  sessions: v.optional(v.custom<SessionStore>(isStore, 'a session store { get, set }')),
  maxDatagramFrameBytes: v.optional(whole(0, 65_535)),
  streamCodes: v.optional(strict({
    toCode: v.optional(callback<(reason: unknown, side: 'read' | 'write') => number | bigint>()),
    toReason: v.optional(callback<(code: bigint, side: 'read' | 'write') => unknown>()),
    cancelCode: v.optional(whole(0, Number.MAX_SAFE_INTEGER)),
  }, 'an object { toCode, toReason, cancelCode }')),
  spin: v.optional(names(['off', 'random', 'on'])),
  greaseQuicBit: v.optional(flag()),
  disableActiveMigration: v.optional(flag()),
  hystart: v.optional(flag()),
  traversal: v.optional(v.lazy((value) => (value === false ? v.literal(false) : TRAVERSAL))),
}

const ownConnection = {
  serverName: v.optional(text('a host name or IP address', 253)),
  firstVersion: v.optional(names(['v1', 'v2', 'reserved'])),
  paths: v.optional(v.pipe(v.array(pathSpec, 'a list of path specs'), v.minLength(1, 'at least one path'), v.maxLength(8, 'at most 8 paths'))),
  handshake: v.optional(v.union([
    names(MODES),
    strict({ mode: names(MODES), staggerMs: v.optional(milliseconds()), maxCandidates: v.optional(whole(1, 8)) }),
  ], MODES.map((name) => `'${name}'`).join(', ') + ', or { mode, staggerMs, maxCandidates }')),
}

const anObject = 'an object of options'

/** Of `connect`, without `signal`, and of `EndpointOptions.connection`. */
const connectionOptions = strict({ ...tls, ...transport, ...ownConnection }, anObject)

const serverOptions = strict({
  ...tls,
  ...transport,
  sni: v.optional(v.record(v.string(), strict({ cert: pem(), key: pem() }, 'an object { cert, key }'), 'an object of { cert, key } by name')),
  clientAuth: v.optional(names(['none', 'request', 'require'])),
  retry: v.optional(names(['always', 'auto', 'never'])),
  admit: v.optional(callback<never>()),
  backlog: v.optional(whole(1, 65_536)),
  maxConnections: v.optional(strict({ total: v.optional(whole(0, 1_000_000)), perAddress: v.optional(whole(0, 1_000_000)) }, 'an object { total, perAddress }')),
  multiAddressHandshake: v.optional(flag()),
  preferredAddress: v.optional(v.pipe(v.array(address()), v.check(isOneOfEach, PREFERRED))),
  newTokens: v.optional(flag()),
  halfRttData: v.optional(flag()),
}, anObject)

const buffer = () => v.optional(whole(4_096, 256 * MEBIBYTE))

/** Of endpoints with sockets and over carriers. */
const anyEndpoint = {
  server: v.optional(v.unknown()),
  connection: v.optional(v.unknown()),
  maxSegments: v.optional(whole(1, 64)),
  blockList: v.optional(v.custom<BlockList>((value) => value instanceof BlockList, 'a net.BlockList')),
  serverId: v.optional(v.union([bytes(1, 15), strict({ id: bytes(1, 15), configuration: v.optional(whole(0, 6)), encodeLength: v.optional(flag()) })], 'a Uint8Array of 1 to 15 bytes, or an object { id, configuration, encodeLength }')),
  secret: v.optional(bytes(32, 32)),
  memory: v.optional(strict({ maxBytes: v.optional(whole(MEBIBYTE, 2 ** 40)), bufferBytes: v.optional(whole(4_096, MEBIBYTE)), overcommit: v.optional(amount(1, 8, '')) }, 'an object { maxBytes, bufferBytes, overcommit }')),
  metricsIntervalMs: v.optional(amount(10, 3_600_000, ' of milliseconds')),
  qlog: v.optional(v.union([text('a folder'), callback<never>()], 'a folder or a function')),
  keylog: v.optional(v.union([text("a file or 'env'"), callback<(line: string) => void>()], "a file, 'env' or a function")),
  logger: v.optional(v.custom<object>((value) => typeof value === 'object', 'a logger { debug, info, warn, error }')),
}

const endpointOptions = strict({
  ...anyEndpoint,
  local: v.optional(v.union([address(), v.pipe(v.array(address()), v.maxLength(64, 'at most 64 addresses'))], `${ADDRESS}, or a list of them`)),
  reusePort: v.optional(flag()),
  sendBufferBytes: buffer(),
  receiveBufferBytes: buffer(),
}, anObject)

const carrierOptions = strict({
  ...anyEndpoint,
  send: callback<(burst: CarrierBurst) => number | void>(),
  // Too little is an error of its own.
  maxDatagramSizeBytes: whole(0, 2 ** 31 - 1),
  local: v.optional(address()),
  clock: v.optional(v.custom<Clock>(isClock, 'a clock { now, setTimeout, clearTimeout }')),
  seed: v.optional(whole(0, Number.MAX_SAFE_INTEGER)),
}, anObject)

const devCertificateOptions = strict({
  names: v.optional(v.pipe(v.array(text('a host name or IP address', 253)), v.minLength(1, 'at least one name'), v.maxLength(100, 'at most 100 names'))),
  kind: v.optional(names(['p256', 'ed25519'])),
  days: v.optional(whole(1, 36_500)),
}, anObject)

const closeOptions = strict({
  code: v.optional(v.custom<number | bigint>(isCode, 'a whole number from 0 to 2^62 - 1')),
  reason: v.optional(v.pipe(v.string('text of at most 1024 UTF-8 bytes'), v.check((value) => Buffer.byteLength(value) <= 1024, 'text of at most 1024 UTF-8 bytes'))),
  drainMs: v.optional(milliseconds(600_000)),
}, anObject)

/** A QUIC error code: below 2^62 (RFC 9000 §16). */
export function isCode(value: unknown): value is number | bigint {
  if (typeof value === 'bigint') return value >= 0n && value < 1n << 62n
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0
}

function isPolicy(value: unknown): boolean {
  const policy = value as Partial<PathPolicy> | null
  return POLICY_NAMES.includes(value) || (typeof policy === 'object' && policy !== null && typeof policy.name === 'string' && policy.name.length > 0 && policy.name.length <= 64 && typeof policy.decide === 'function')
}

function isClock(value: unknown): boolean {
  const clock = value as Partial<Clock> | null
  return typeof clock === 'object' && clock !== null && typeof clock.now === 'function' && typeof clock.setTimeout === 'function' && typeof clock.clearTimeout === 'function'
}

function isStore(value: unknown): boolean {
  const store = value as Partial<SessionStore> | null
  return typeof store === 'object' && store !== null && typeof store.get === 'function' && typeof store.set === 'function'
}

/** @throws QB_OPTION_INVALID QB_OPTION_UNKNOWN, as all below */
export function checkEndpoint(value: unknown, field: string): EndpointOptions {
  return check(endpointOptions, value, field) as EndpointOptions
}

export function checkCarrier(value: unknown): CarrierOptions {
  return check(carrierOptions, value, '') as CarrierOptions
}

/** Options of `connect` without its `signal`. */
export function checkConnection(value: unknown, field: string): ConnectionOptions {
  return check(connectionOptions, value, field) as ConnectionOptions
}

export function checkServer(value: unknown, field: string): ServerOptions {
  return check(serverOptions, value, field) as ServerOptions
}

export function checkTls(value: unknown, field: string): TlsOptions {
  return check(strict(tls, 'an object of TLS options'), value, field) as TlsOptions
}

export function checkPathSpec(value: unknown, field: string): PathSpec {
  return check(pathSpec, value, field) as PathSpec
}

export function checkClose(value: unknown, field: string): CloseOptions {
  return check(closeOptions, value, field) as CloseOptions
}

export function checkDevCertificate(value: unknown, field: string): DevCertificateOptions {
  return check(devCertificateOptions, value, field) as DevCertificateOptions
}
