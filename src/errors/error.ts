/**
 * The seven error classes and how to recognise them across two copies of the package.
 * Decides nothing about when they are thrown. `src/binding/error.ts` makes them of native errors.
 */
import type { HandshakeEvent } from '../connection/index.ts'

/** Stable; never renamed. */
export type ErrorCode = `QB_${string}`

/** Everything but code and message, all optional. */
export interface ErrorFacts {
  errorCode?: bigint | null
  codeName?: string | null
  by?: 'local' | 'peer' | 'timeout' | 'reset' | null
  layer?: 'application' | 'transport' | null
  path?: number | null
  field?: string | null
  value?: unknown
  cause?: unknown
  /** Of connection errors: what the handshake did until it failed. */
  handshake?: readonly HandshakeEvent[]
}

const MARK: unique symbol = Symbol.for('quicbraid.error') as never

/** Base of all. */
export class QuicbraidError extends Error {
  readonly code: ErrorCode
  /** QUIC or application code, if one went over the wire. */
  readonly errorCode: bigint | null
  /** Name of `errorCode`, e.g. `FLOW_CONTROL_ERROR`. */
  readonly codeName: string | null
  readonly by: 'local' | 'peer' | 'timeout' | 'reset' | null
  readonly layer: 'application' | 'transport' | null
  /** Path id it happened on. */
  readonly path: number | null
  /** Of option errors: the field's path, e.g. `limits.idleTimeoutMs`. */
  readonly field: string | null
  /** Of option errors: the refused value (never a key or a token). Of QB_RAW_REFUSED: `{ remote, firstByte }`. Of QB_CARRIER_TOO_SMALL: `{ size, needed }`. */
  readonly value: unknown

  constructor(code: ErrorCode, message: string, facts: ErrorFacts = {}) {
    super(message, facts.cause === undefined ? undefined : { cause: facts.cause })
    this.code = code
    this.errorCode = facts.errorCode ?? null
    this.codeName = facts.codeName ?? null
    this.by = facts.by ?? null
    this.layer = facts.layer ?? null
    this.path = facts.path ?? null
    this.field = facts.field ?? null
    this.value = facts.value
    Object.defineProperty(this, MARK, { value: true })
  }

  override get name(): string {
    return this.constructor.name
  }

  toJSON(): { code: string; message: string; errorCode: number | string | null; codeName: string | null; by: string | null; path: number | null } {
    const { code, message, codeName, by, path } = this
    return { code, message, errorCode: codeToJson(this.errorCode), codeName, by, path }
  }
}

/** An option is wrong; nothing was bound or sent. */
export class OptionError extends QuicbraidError {}

/** An endpoint cannot do what was asked. */
export class EndpointError extends QuicbraidError {}

/** A path cannot be opened, found or kept. */
export class PathError extends QuicbraidError {}

/** A connection could not be made, or has ended. */
export class ConnectionError extends QuicbraidError {
  /** What the handshake did until it failed; empty when it was complete. */
  readonly handshake: readonly HandshakeEvent[]

  constructor(code: ErrorCode, message: string, facts: ErrorFacts = {}) {
    super(code, message, facts)
    this.handshake = facts.handshake ?? []
  }
}

/** A stream (or datagram) was reset, stopped, locked or used after its end. */
export class StreamError extends QuicbraidError {
  readonly stream: bigint | null
  /** What `streamCodes.toReason` made of the code. */
  readonly reason: unknown

  constructor(code: ErrorCode, message: string, facts: ErrorFacts & { stream?: bigint | null; reason?: unknown } = {}) {
    super(code, message, facts)
    this.stream = facts.stream ?? null
    this.reason = facts.reason
  }
}

/** Traversal, tunnel, reverse, simulator, laboratory, qlog. */
export class ServiceError extends QuicbraidError {}

/** True for errors of any copy or version of this package. */
export function isQuicbraidError(value: unknown): value is QuicbraidError {
  return typeof value === 'object' && value !== null && (value as { [MARK]?: unknown })[MARK] === true
}

/** In JSON a bigint is a number below 2^53, else a decimal string. */
export function codeToJson(code: bigint | null): number | string | null {
  if (code === null) return null
  return code <= BigInt(Number.MAX_SAFE_INTEGER) ? Number(code) : String(code)
}
