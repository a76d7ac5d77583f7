/**
 * Exit codes and the JSON of failures (api section 4). Knows every `QB_` code by its family, so that commands only say
 * how far they had come.
 */
import { inFlags } from './flags.ts'

export const Exit = {
  DONE: 0,
  /** Usage or option error. */
  USAGE: 1,
  /** Cannot bind, read or write here, or no native binary. */
  LOCAL: 2,
  /** Refused by TLS or policy, either side. */
  REFUSED: 3,
  /** No connection. */
  UNREACHABLE: 4,
  /** Connected, but the result is wrong or incomplete. */
  INCOMPLETE: 5,
  /** `interop`: this build does not have the test case. */
  UNSUPPORTED: 127,
  SIGINT: 130,
  SIGTERM: 143,
} as const

export type ExitCode = (typeof Exit)[keyof typeof Exit]

/** How far a command had come when something failed: the same code means "unreachable" before, "incomplete" after. */
export type Stage = 'preparing' | 'connecting' | 'connected'

export interface ErrorJson {
  code: string
  message: string
  errorCode: number | string | null
  codeName: string | null
  by: string | null
  path: number | null
}

/** A failure that a command has named itself, with its exit code. */
export class CommandError extends Error {
  readonly code: string
  readonly exit: ExitCode
  /** Facts that stand beside `error` in the JSON, e.g. what had been fetched. */
  readonly facts: object

  constructor(code: string, exit: ExitCode, message: string, more: { cause?: unknown; facts?: object } = {}) {
    super(message, more.cause === undefined ? undefined : { cause: more.cause })
    this.code = code
    this.exit = exit
    this.facts = more.facts ?? {}
  }
}

export function usageError(message: string): CommandError {
  return new CommandError('QB_OPTION_INVALID', Exit.USAGE, message)
}

/** First match wins. */
const FAMILIES: readonly (readonly [prefix: string, exit: ExitCode])[] = [
  ['QB_OPTION_', Exit.USAGE],
  ['QB_SCHEDULER_', Exit.USAGE],
  ['QB_TLS_IDENTITY', Exit.USAGE],
  ['QB_LAB_MODULE', Exit.USAGE],
  ['QB_LAB_QUEUE', Exit.UNREACHABLE],
  ['QB_BIND_', Exit.LOCAL],
  ['QB_NATIVE_', Exit.LOCAL],
  ['QB_FILE_', Exit.LOCAL],
  ['QB_TLS_', Exit.REFUSED],
  ['QB_MULTIPATH_REFUSED', Exit.REFUSED],
  ['QB_RELAY_REFUSED', Exit.REFUSED],
  ['QB_REVERSE_AUTH', Exit.REFUSED],
  ['QB_REVERSE_NAME', Exit.REFUSED],
  ['QB_REVERSE_NOT_SUPPORTED', Exit.REFUSED],
  ['QB_REVERSE_', Exit.UNREACHABLE],
  ['QB_TRAVERSAL_OFF', Exit.REFUSED],
  ['QB_TUNNEL_REFUSED', Exit.REFUSED],
  ['QB_TUNNEL_', Exit.UNREACHABLE],
  ['QB_RESOLVE_', Exit.UNREACHABLE],
  ['QB_CONNECT_', Exit.UNREACHABLE],
  ['QB_VERSION', Exit.UNREACHABLE],
  ['QB_NAT_NO_SERVER', Exit.UNREACHABLE],
  ['QB_PUNCH_', Exit.INCOMPLETE],
  ['QB_LAB_REAL', Exit.LOCAL],
]

/** The exit code for anything thrown. */
export function exitOf(error: unknown, stage: Stage): ExitCode {
  if (error instanceof CommandError) return error.exit
  const code = codeOf(error)
  const family = FAMILIES.find(([prefix]) => code.startsWith(prefix))
  if (family !== undefined) return family[1]
  if (isSystemError(error)) return Exit.LOCAL
  return stage === 'connecting' ? Exit.UNREACHABLE : Exit.INCOMPLETE
}

/** Names what was thrown for a person and for `--json`, with the exit code of its stage. */
export function asCommandError(error: unknown, stage: Stage, facts: object = {}): CommandError {
  if (error instanceof CommandError && Object.keys(facts).length === 0) return error
  return new CommandError(codeOf(error), exitOf(error, stage), messageOf(error), { cause: error, facts: { ...(error instanceof CommandError ? error.facts : {}), ...facts } })
}

/** The same work; that something cannot be bound names the option it came of. */
export async function bound<T>(option: string, work: Promise<T>): Promise<T> {
  try {
    return await work
  } catch (error) {
    if (codeOf(error) !== 'QB_BIND_FAILED') throw error
    throw new CommandError('QB_BIND_FAILED', Exit.LOCAL, `${option}: ${messageOf(error)}`, { cause: error })
  }
}

/** The `error` object of `--json`. */
export function errorJson(error: unknown): ErrorJson {
  let source = error
  while (source instanceof CommandError && hasCode(source.cause)) source = source.cause
  const facts = (typeof source === 'object' && source !== null ? source : {}) as Partial<Record<keyof ErrorJson, unknown>>
  const number = facts.errorCode
  return {
    code: codeOf(error),
    message: messageOf(error),
    errorCode: typeof number === 'bigint' ? jsonCode(number) : typeof number === 'number' || typeof number === 'string' ? number : null,
    codeName: text(facts.codeName),
    by: text(facts.by),
    path: typeof facts.path === 'number' ? facts.path : null,
  }
}

/** Node's `ENOENT` and the like become `QB_FILE_ACCESS`; what has no code at all is an internal error. */
function codeOf(error: unknown): string {
  if (hasCode(error) && error.code.startsWith('QB_')) return error.code
  return isSystemError(error) ? 'QB_FILE_ACCESS' : 'QB_INTERNAL'
}

/** In words of the command line. */
function messageOf(error: unknown): string {
  return inFlags(error instanceof Error ? error.message : String(error))
}

function hasCode(value: unknown): value is { code: string } {
  return typeof value === 'object' && value !== null && typeof (value as { code?: unknown }).code === 'string'
}

/** From a system call on a file: has an errno name and a path or call. */
function isSystemError(error: unknown): boolean {
  return error instanceof Error && hasCode(error) && /^E[A-Z0-9]+$/.test(error.code) && 'syscall' in error
}

function jsonCode(code: bigint): number | string {
  return code <= BigInt(Number.MAX_SAFE_INTEGER) ? Number(code) : String(code)
}

function text(value: unknown): string | null {
  return typeof value === 'string' ? value : null
}
