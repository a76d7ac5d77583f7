/** Configurations of js-quic: their defaults, what of them contradicts itself, and the options of this package they come to (api §6). */
import type { ConnectionOptions, Limits, ServerOptions, Verify } from '../index.ts'
import { ErrorQUICConfig, ErrorQUICConnectionConfigInvalid } from './errors.ts'
import type { CodeToReason, Pems, QUICClientConfigInput, QUICConfig, QUICServerConfigInput, ReasonToCode, TLSVerifyCallback } from './types.ts'
import { collectPEMs, pemText, pemToDER } from './utils.ts'

const MEBIBYTE = 1024 * 1024
const SMALLEST_WINDOW_BYTES = 16_384
/** The longest that `limits.handshakeTimeoutMs` takes, in the place of "without limit". */
const LONGEST_HANDSHAKE_MS = 600_000

const DEFAULTS: QUICConfig = {
  verifyPeer: true,
  grease: true,
  maxIdleTimeout: 0,
  maxRecvUdpPayloadSize: 1350,
  maxSendUdpPayloadSize: 1350,
  initialMaxData: 10 * MEBIBYTE,
  initialMaxStreamDataBidiLocal: MEBIBYTE,
  initialMaxStreamDataBidiRemote: MEBIBYTE,
  initialMaxStreamDataUni: MEBIBYTE,
  initialMaxStreamsBidi: 100,
  initialMaxStreamsUni: 100,
  maxConnectionWindow: 24 * MEBIBYTE,
  maxStreamWindow: 16 * MEBIBYTE,
  enableDgram: [false, 0, 0],
  disableActiveMigration: true,
  applicationProtos: ['quic'],
  enableEarlyData: false,
  readableChunkSize: 4096,
}

export function clientConfig(config: QUICClientConfigInput = {}): QUICConfig {
  return { ...DEFAULTS, ...config }
}

export function serverConfig(config: QUICServerConfigInput): QUICConfig {
  return { ...DEFAULTS, verifyPeer: false, ...config }
}

/** A `verifyCallback` answered with this code; the peer hears of a bad certificate. */
export class RefusedByCallback extends Error {
  readonly alert: number

  constructor(alert: number) {
    super(`verifyCallback answered ${alert}`)
    this.alert = alert
  }
}

interface Converters { reasonToCode: ReasonToCode; codeToReason: CodeToReason }

export function converters(given: { reasonToCode?: ReasonToCode | undefined; codeToReason?: CodeToReason | undefined }): Converters {
  return { reasonToCode: given.reasonToCode ?? (() => 0), codeToReason: given.codeToReason ?? ((type, code) => new Error(`${type} ${code}`)) }
}

/** @throws ErrorQUICConfig ErrorQUICConnectionConfigInvalid */
export function clientOptions(config: QUICConfig): ConnectionOptions {
  return {
    ...commonOptions(config),
    verify: config.verifyPeer ? verifyOf(config) : 'none',
    // js-quic keeps no tickets, so that each connection shows its certificates.
    ...(config.enableEarlyData ? {} : { sessions: NO_SESSIONS }),
  }
}

/** @throws as `clientOptions` */
export function serverOptions(config: QUICConfig, handshakeMs: number | undefined): ServerOptions {
  if (config.key === undefined || config.cert === undefined) throw new ErrorQUICConfig('a server needs `key` and `cert`')
  const common = commonOptions(config)
  const limits = { ...common.limits, handshakeTimeoutMs: Math.min(handshakeLimit(handshakeMs ?? 0), handshakeLimit(config.maxIdleTimeout)) }
  return { ...common, limits, ...(config.verifyPeer ? { clientAuth: 'require', verify: verifyOf(config) } : { clientAuth: 'none' }) }
}

const NO_SESSIONS = { get: () => [], set: () => {} }

function commonOptions(config: QUICConfig): ConnectionOptions {
  const { key, cert, ca, keepAliveIntervalTime, maxIdleTimeout } = config
  if ((key === undefined) !== (cert === undefined)) throw new ErrorQUICConfig('`key` and `cert` go together')
  if (keepAliveIntervalTime !== undefined && maxIdleTimeout !== 0 && keepAliveIntervalTime >= maxIdleTimeout) {
    throw new ErrorQUICConnectionConfigInvalid(`keepAliveIntervalTime (${keepAliveIntervalTime}) must be less than maxIdleTimeout (${maxIdleTimeout})`)
  }
  return {
    alpn: config.applicationProtos,
    ...(key === undefined || cert === undefined ? {} : { key: firstOf(key, 'key'), cert: firstOf(cert, 'cert') }),
    ...(ca === undefined ? {} : { ca: collectPEMs(ca) }),
    limits: limitsOf(config),
    maxDatagramFrameBytes: config.enableDgram[0] ? 65_535 : 0,
    disableActiveMigration: config.disableActiveMigration,
    earlyData: config.enableEarlyData,
  }
}

function limitsOf(config: QUICConfig): Limits {
  const stream = Math.max(config.initialMaxStreamDataBidiLocal, config.initialMaxStreamDataBidiRemote, config.initialMaxStreamDataUni, SMALLEST_WINDOW_BYTES)
  const connection = Math.max(config.initialMaxData, SMALLEST_WINDOW_BYTES)
  return {
    handshakeTimeoutMs: handshakeLimit(config.maxIdleTimeout),
    idleTimeoutMs: config.maxIdleTimeout,
    keepAliveMs: config.keepAliveIntervalTime ?? 0,
    bidirectionalStreams: config.initialMaxStreamsBidi,
    unidirectionalStreams: config.initialMaxStreamsUni,
    streamWindowBytes: stream,
    maxStreamWindowBytes: Math.max(config.maxStreamWindow, stream),
    connectionWindowBytes: connection,
    maxConnectionWindowBytes: Math.max(config.maxConnectionWindow, connection),
  }
}

/** 0 and what is longer than our longest are our longest. */
function handshakeLimit(ms: number): number {
  return ms > 0 && ms < LONGEST_HANDSHAKE_MS ? ms : LONGEST_HANDSHAKE_MS
}

/** One identity: a list of one is as good as its member. */
function firstOf(pems: Pems, name: string): string {
  const list = typeof pems === 'string' || pems instanceof Uint8Array ? [pems] : pems
  const [first] = list
  if (first === undefined || list.length > 1) throw new ErrorQUICConfig(`\`${name}\` has ${list.length} entries; one is what a connection can use`)
  return pemText(first)
}

function verifyOf({ ca, verifyCallback }: QUICConfig): 'default' | Verify {
  return verifyCallback === undefined ? 'default' : judge(verifyCallback, collectPEMs(ca).map(pemToDER))
}

/** The callback as this package asks it. */
function judge(callback: TLSVerifyCallback, ca: Uint8Array[]): Verify {
  return async ({ chain }) => {
    const alert = await callback([...chain], ca)
    if (alert !== undefined) throw new RefusedByCallback(alert)
  }
}
