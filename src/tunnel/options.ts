/** Options of tunnels: types, checks, defaults. What each means stands in docs/spec/api.md §2.9 and docs/spec/tunnel.md. */
import * as v from 'valibot'
import { check, checkCall, invalidOption, parseAddress, splitPort } from '../config/index.ts'
import type { ConnectionOptions, Limits, PeerIdentity, Waiting } from '../config/index.ts'
import type { Endpoint } from '../endpoint/index.ts'
import type { BridgeReason } from './codes.ts'

/** Connections with this protocol belong to the manager of their endpoint and do not show up in `incoming()`. */
export const TUNNEL_ALPN = 'qb-tunnel/1'

/** Limits that suit tunnels (tunnel.md T53): what `open` uses where it is not told otherwise, and a server's endpoint should have in `server.limits`. */
export const TUNNEL_LIMITS: Readonly<Limits> = Object.freeze({
  idleTimeoutMs: 300_000, keepAliveMs: 25_000, bidirectionalStreams: 288, unidirectionalStreams: 0,
  streamWindowBytes: 65_536, maxStreamWindowBytes: 4_194_304, connectionWindowBytes: 2_097_152, maxConnectionWindowBytes: 33_554_432,
})

/** Bounds of a manager; what goes beyond is refused and counted. */
export interface TunnelLimits {
  /** Client tunnels. @default 1024 */
  maxTunnels: number
  /** @default 1024 */
  maxBridges: number
  /** Server: of one client certificate, or of one address. @default 256 */
  maxBridgesPerPeer: number
  /** TCP connections that wait for a stream, of one tunnel. @default 128 */
  pendingMax: number
  /** How long each may. @default 10000 */
  pendingTimeoutMs: number
  /** Server: for the handler's answer, and for the target's. @default 5000 */
  dialTimeoutMs: number
  /** Flows of UDP. @default 1024 */
  maxFlows: number
  /** Of one client tunnel; at the server of one client certificate, or of one address. @default 256 */
  maxFlowsPerPeer: number
  /** A flow that has been silent for so long ends; RFC 9298 §3.1 advises against less than two minutes. @default 120000 */
  udpIdleMs: number
  /** Client: bytes of a TCP connection that are held for sending before its reading pauses. @default 262144 */
  pauseAtBytes: number
}

const LIMITS: TunnelLimits = { maxTunnels: 1024, maxBridges: 1024, maxBridgesPerPeer: 256, pendingMax: 128, pendingTimeoutMs: 10_000, dialTimeoutMs: 5000, maxFlows: 1024, maxFlowsPerPeer: 256, udpIdleMs: 120_000, pauseAtBytes: 262_144 }
const STREAMS = 32

export interface TunnelOptions {
  endpoint: Endpoint
  /** 'header': the endpoint is one of `headerCarrier`. @default 'udp' */
  carrier?: 'udp' | 'header'
  limits?: Partial<TunnelLimits>
  /** Bridges per connection, at once. @default 32 */
  streams?: number
}

/** When a tunnel whose connection has ended dials again. */
export interface Reconnect {
  /** @default 250 */
  minMs?: number
  /** @default 30000 */
  maxMs?: number
  /** @default 2 */
  factor?: number
  /** Share of a pause that is random, 0...1. @default 0.2 */
  jitter?: number
  /** Failures in a row after which it gives up. @default Infinity */
  attempts?: number
}

export interface OpenTunnel {
  /** As of `Endpoint.connect`; on a header carrier the carrier's address of the server. */
  remote: string
  /** Port asked of the server, 1...65535. */
  port: number
  /** Name of the target as the server's handler may compare it; at most 255 bytes. @default none */
  host?: string
  /** @default '127.0.0.1:0' */
  bind?: string
  /** Resolution, path and handshake. @default 4000 */
  timeoutMs?: number
  connection?: ConnectionOptions
  /** @default off */
  reconnect?: boolean | Reconnect
}

/** What a connection for many targets needs. */
export type ConnectTunnel = Omit<OpenTunnel, 'port' | 'host' | 'bind'>

/** Where a socket is to go. */
export interface JoinTarget {
  /** 1...65535 */
  port: number
  /** As `OpenTunnel.host`. */
  host?: string
  /** Words for the socket's peer: once it is joined (null), or why it is not; null is no word, and then a reset; so it is when this throws. @default none */
  answer?: (reason: BridgeReason | null) => Uint8Array | null
}

/** What a handler is asked. */
export interface TunnelRequest {
  /** Null without a verified identity. */
  peer: PeerIdentity | null
  protocol: 'tcp' | 'udp'
  /** 0 once for a connection whose streams each name a target: any answer lets it in, none is dialled. */
  port: number
  /** What the client calls the target, for comparison only; null: it does not say. */
  host: string | null
  /** The client's address. */
  remote: string
}

/** An address to dial, or with more. */
export type TunnelTarget = string | { target: string; /** The target is told who comes, in the header of the PROXY protocol. */ proxyProtocol?: 'v2' }

/** A target ('ip:port', dialled by the server) accepts, undefined asks the next handler, a throw refuses. Nobody accepts: refused. */
export type TunnelHandler = (request: TunnelRequest) => TunnelTarget | undefined | Promise<TunnelTarget | undefined>

export interface ListenOptions {
  /** What the handler is asked about: one that was written for TCP never allows UDP by accident. @default 'tcp' */
  protocol?: 'tcp' | 'udp' | 'both'
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
const MAX_MS = 2_147_483_647

const MANAGER = strict({
  endpoint: v.unknown(),
  carrier: v.optional(v.picklist(['udp', 'header'], "'udp' or 'header'")),
  limits: v.optional(strict({
    maxTunnels: whole(1, 65_535), maxBridges: whole(1, 1_000_000), maxBridgesPerPeer: whole(1, 1_000_000), pendingMax: whole(1, 65_535),
    pendingTimeoutMs: amount(1, MAX_MS), dialTimeoutMs: amount(1, MAX_MS),
    maxFlows: whole(1, 1_000_000), maxFlowsPerPeer: whole(1, 1_000_000), udpIdleMs: amount(1, MAX_MS), pauseAtBytes: whole(4096, 67_108_864),
  }, 'an object of limits')),
  streams: whole(1, 100_000),
}, 'an object of options')

const REMOTE = "'name:port' or an address with a port"
const PORT = 'a port from 1 to 65535'
const BIND = "an address like '127.0.0.1:8080', port 0 for any"
const HOST = 'a name of 1 to 255 bytes'
const TARGET = {
  port: v.pipe(v.number(PORT), v.integer(PORT), v.minValue(1, PORT), v.maxValue(65_535, PORT)),
  host: v.optional(v.pipe(v.string(HOST), v.check((text) => text !== '' && Buffer.byteLength(text) <= 255, HOST))),
}
const SERVER = {
  remote: v.pipe(v.string(REMOTE), v.check((text) => (splitPort(text)?.port ?? 0) !== 0, REMOTE)),
  timeoutMs: amount(1, 600_000),
  connection: v.optional(v.looseObject({}, 'options of a connection')),
  reconnect: v.optional(v.union([
    v.boolean(), strict({ minMs: amount(1, MAX_MS), maxMs: amount(1, MAX_MS), factor: amount(1, 100), jitter: amount(0, 1), attempts: amount(1, Infinity) }, 'an object'),
  ], 'true, false or an object { minMs, maxMs, factor, jitter, attempts }')),
}
const OPEN = strict({ ...SERVER, ...TARGET, bind: v.optional(v.pipe(v.string(BIND), v.check((text) => parseAddress(text) !== null, BIND))) }, 'an object of options')
const CONNECT = strict(SERVER, 'an object of options')
const JOIN = strict({ ...TARGET, answer: v.optional(v.custom<NonNullable<JoinTarget['answer']>>((value) => typeof value === 'function', 'a function')) }, 'an object { port }')
const TIMEOUT_MS = 4000

export interface CheckedManager {
  carrier: 'udp' | 'header'
  limits: TunnelLimits
  streams: number
}

/** Looks at everything but the endpoint. @throws QB_OPTION_INVALID QB_OPTION_UNKNOWN */
export function checkManager(options: TunnelOptions): CheckedManager {
  if (typeof options !== 'object' || options === null) throw invalidOption('', options, 'an object with an endpoint')
  const { carrier = 'udp', limits = {}, streams = STREAMS } = check(MANAGER, options, '') as TunnelOptions
  return { carrier, limits: { ...LIMITS, ...limits }, streams }
}

export interface CheckedConnect {
  remote: string
  /** 0: sockets name their targets. */
  port: number
  host: string | null
  timeoutMs: number
  connection: ConnectionOptions
  reconnect: Required<Reconnect> | null
  signal: AbortSignal | undefined
}

export interface CheckedOpen extends CheckedConnect {
  bind: { host: string; port: number }
}

/** @throws QB_OPTION_INVALID QB_OPTION_UNKNOWN */
export function checkOpen(options: OpenTunnel & Waiting): CheckedOpen {
  if (typeof options !== 'object' || options === null) throw invalidOption('', options, 'an object { remote, port }')
  const { signal, ...rest } = options
  checkCall({ signal }, ['signal'])
  // The connection's own options are checked where the connection is made.
  const { connection = {}, ...own } = rest
  const { remote, port, host = null, bind = '127.0.0.1:0', timeoutMs = TIMEOUT_MS, reconnect = false } = check(OPEN, own, '') as OpenTunnel
  const address = parseAddress(bind) ?? { host: '127.0.0.1', port: 0 }
  return { remote, port, host, bind: { host: address.host, port: address.port }, timeoutMs, connection, reconnect: reconnecting(reconnect), signal }
}

/** The same without a listener. @throws QB_OPTION_INVALID QB_OPTION_UNKNOWN */
export function checkConnect(options: ConnectTunnel & Waiting): CheckedConnect {
  if (typeof options !== 'object' || options === null) throw invalidOption('', options, 'an object { remote }')
  const { signal, connection = {}, ...own } = options
  checkCall({ signal }, ['signal'])
  const { remote, timeoutMs = TIMEOUT_MS, reconnect = false } = check(CONNECT, own, '') as ConnectTunnel
  return { remote, port: 0, host: null, timeoutMs, connection, reconnect: reconnecting(reconnect), signal }
}

/** @throws QB_OPTION_INVALID QB_OPTION_UNKNOWN */
export function checkJoin(target: JoinTarget): JoinTarget {
  return check(JOIN, target, '') as JoinTarget
}

function reconnecting(value: boolean | Reconnect): Required<Reconnect> | null {
  if (value === false) return null
  const { minMs = 250, maxMs = 30_000, factor = 2, jitter = 0.2, attempts = Infinity } = value === true ? {} : value
  if (maxMs < minMs) throw invalidOption('reconnect.maxMs', maxMs, `a number from minMs (${minMs}) on`)
  return { minMs, maxMs, factor, jitter, attempts }
}

/** The options of a tunnel's connection: streams of the server are refused, nothing is sent before the handshake is complete, credit is bounded. */
export function connectionOf(options: ConnectionOptions, pauseAtBytes: number): ConnectionOptions {
  const limits = { ...TUNNEL_LIMITS, sendBufferBytes: pauseAtBytes, ...options.limits }
  return { ...options, alpn: TUNNEL_ALPN, earlyData: false, limits: { ...limits, bidirectionalStreams: 0, unidirectionalStreams: 0 } }
}

/** Words if the streams' windows together are larger than the connection's: a few that stall would hold up the others (tunnel.md T53). */
export function windowWarning({ limits = {} }: ConnectionOptions, streams: number): string | null {
  const { streamWindowBytes: each = 262_144, connectionWindowBytes: whole = 524_288 } = limits
  return each * streams <= whole ? null : `${streams} streams with windows of ${each} bytes have more than the connection's ${whole}: streams that stall hold up the others; raise limits.connectionWindowBytes to ${each * streams}`
}
