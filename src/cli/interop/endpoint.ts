/**
 * An endpoint for a case: the options of every case, those of its row, and what the environment asks to be seen. Says which refusals mean
 * that this build does not have the case, and leaves out what only watches (qlog, key log) where the build has none.
 */
import { Endpoint, isQuicbraidError } from '../../index.ts'
import type { ConnectionOptions, EndpointOptions, Logger } from '../../index.ts'
import { CommandError, Exit } from '../exit.ts'
import { HQ_ALPN } from '../files/index.ts'
import type { Terminal } from '../terminal.ts'
import { ownOptions } from './cases.ts'
import type { InteropCase } from './cases.ts'
import type { InteropEnvironment } from './environment.ts'

/**
 * Of every case. One path: the other side has no multipath, and traces are read by tools that have none. The handshake may take as
 * long as the runner waits: three of ten datagrams are lost in some cases.
 */
export const COMMON: ConnectionOptions = { alpn: HQ_ALPN, multipath: 'off', limits: { handshakeTimeoutMs: 60_000 } }

const WATCHING = ['qlog', 'keylog'] as const

/** @throws what `Endpoint.bind` throws, but for options that only watch */
export async function bindFor(environment: InteropEnvironment, options: EndpointOptions, terminal: Terminal): Promise<Endpoint> {
  const watched: EndpointOptions = {
    ...options,
    logger: loggerOf(terminal),
    ...(environment.keylog ? { keylog: 'env' } : {}),
    ...(environment.qlog === null ? {} : { qlog: environment.qlog }),
  }
  for (;;) {
    try {
      return await Endpoint.bind(watched)
    } catch (error) {
      const name = WATCHING.find((name) => name in watched && fieldOf(error) === name)
      if (name === undefined) throw error
      terminal.note(`no ${name}: ${(error as Error).message}`)
      delete watched[name]
    }
  }
}

/** An error that says "this build does not have the case" becomes exit 127; others stay as they are. */
export function named(error: unknown, row: InteropCase): unknown {
  const field = fieldOf(error)
  if (field === null || !ownOptions(row).has(field)) return error
  return unsupported(row.name, (error as Error).message, error)
}

export function unsupported(name: string, why: string, cause?: unknown): CommandError {
  return new CommandError('QB_CASE_UNSUPPORTED', Exit.UNSUPPORTED, `case ${name} is not supported: ${why}`, { cause })
}

/** The first name in the field of an option error, below `server` and `connection`. */
function fieldOf(error: unknown): string | null {
  if (!isQuicbraidError(error) || !error.code.startsWith('QB_OPTION_') || error.field === null) return null
  return /^(?:(?:server|connection)\.)?(\w+)/.exec(error.field)?.[1] ?? null
}

function loggerOf(terminal: Terminal): Logger {
  const write = (level: string) => (message: string): void => terminal.note(`${level}: ${message}`)
  return { warn: write('warning'), error: write('error') }
}
