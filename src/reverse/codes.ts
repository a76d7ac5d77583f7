/** Application error codes of reverse connections (reverse.md §7), on CLOSE, REFUSE, GOAWAY and streams, and what people get of them. Decides nothing about when they are sent. */
import { ServiceError } from '../errors/index.ts'
import type { ErrorCode } from '../errors/index.ts'
import { shown } from './names.ts'

export const ReverseCode = {
  /** Orderly end. */
  NONE: 0n,
  /** A control message that nobody understands, or one that was not expected. */
  PROTOCOL: 1n,
  /** No certificate, or one that is not welcome. */
  AUTH: 2n,
  /** The certificate does not stand for this service name. */
  NAME: 3n,
  /** A limit of the public end. */
  FULL: 4n,
  /** A stream was opened by the end that may not. The core's word. */
  WRONG_WAY: 5n,
  /** HELLO, ACCEPT or the first stream credit did not come in time. */
  TIMEOUT: 6n,
  /** This end is being stopped, or its pool is drained. */
  SHUTDOWN: 7n,
  /** Too many that are not accepted yet; or a private end that cannot serve now. */
  BUSY: 8n,
} as const

/** As it stands in events and statistics. */
export type ReverseReason = 'none' | 'protocol' | 'auth' | 'name' | 'full' | 'wrong-way' | 'timeout' | 'shutdown' | 'busy'

const REASONS: ReadonlyMap<bigint, ReverseReason> = new Map<bigint, ReverseReason>([
  [ReverseCode.NONE, 'none'], [ReverseCode.PROTOCOL, 'protocol'], [ReverseCode.AUTH, 'auth'], [ReverseCode.NAME, 'name'], [ReverseCode.FULL, 'full'],
  [ReverseCode.WRONG_WAY, 'wrong-way'], [ReverseCode.TIMEOUT, 'timeout'], [ReverseCode.SHUTDOWN, 'shutdown'], [ReverseCode.BUSY, 'busy'],
])

/** What a code of the peer's says; null: it is none of ours. */
export function reasonOf(code: bigint | null | undefined): ReverseReason | null {
  return code === null || code === undefined ? null : (REASONS.get(code) ?? null)
}

/** Name of a code as people and errors have it, like `WRONG_WAY`. */
export function codeName(code: bigint): string {
  return (REASONS.get(code) ?? `0x${code.toString(16)}`).toUpperCase().replaceAll('-', '_')
}

type Told = readonly [code: ErrorCode, here: string, there: string]

/** What happened, as told by this end and by the peer. */
const TOLD: ReadonlyMap<bigint, Told> = new Map<bigint, Told>([
  [ReverseCode.PROTOCOL, ['QB_REVERSE_PROTOCOL', 'the peer said what is no message here', 'the peer does not understand this end; are both of the same version?']],
  [ReverseCode.WRONG_WAY, ['QB_REVERSE_PROTOCOL', 'the peer opened a stream although it may not', 'a stream was opened by the end that may not']],
  [ReverseCode.AUTH, ['QB_REVERSE_AUTH', 'the peer showed no certificate that is welcome', 'the public end does not accept this certificate; show one that it knows']],
  [ReverseCode.NAME, ['QB_REVERSE_NAME', 'the certificate does not stand for this name', 'the public end does not give this name to this certificate']],
  [ReverseCode.FULL, ['QB_REVERSE_FULL', 'a limit is reached', 'the public end has as many connections as it may']],
  [ReverseCode.TIMEOUT, ['QB_REVERSE_TIMEOUT', 'the peer took too long', 'the peer says that this end took too long']],
  [ReverseCode.SHUTDOWN, ['QB_REVERSE_SHUTDOWN', 'this end is being stopped', 'the peer is being stopped']],
  [ReverseCode.BUSY, ['QB_REVERSE_BUSY', 'too many connections wait to be accepted', 'the peer has too much to do; try again later']],
])

export interface ReverseErrorFacts {
  service: string
  /** The peer's words, or ours to it. @default none */
  text?: string
  by: 'local' | 'peer'
  cause?: unknown
}

/** The error of a code: REFUSE, GOAWAY or CLOSE of `by`. A code that is none of ours counts as PROTOCOL. */
export function reverseError(code: bigint, { service, text = '', by, cause }: ReverseErrorFacts): ServiceError {
  const [qb, here, there] = TOLD.get(code) ?? (TOLD.get(ReverseCode.PROTOCOL) as Told)
  const said = text === '' ? '' : ` ("${shown(text)}")`
  return new ServiceError(qb, `service ${shown(service) || '(no name)'}: ${by === 'peer' ? there : here}${said}`, { errorCode: code, codeName: codeName(code), by, layer: 'application', cause })
}
